"""The actions of the world, and which of them only time tells apart."""

from __future__ import annotations

CLASS_NAMES: tuple[str, ...] = (
    "walk forward",
    "walk backward",
    "sit down",
    "stand up",
    "pick up",
    "put down",
    "wave",
    "raise hand",
    "turn left",
    "turn right",
    "run",
    "jump",
    "clap",
    "punch",
    "kick",
    "throw",
    "fall",
    "phone",
)

INDEX: dict[str, int] = {name: index for index, name in enumerate(CLASS_NAMES)}

# The keyframe of one is, pixel for pixel, the keyframe of a clip of the other (`Scene.twin`).
TIME_PAIRS: tuple[tuple[str, str], ...] = (
    ("walk forward", "walk backward"),
    ("sit down", "stand up"),
    ("pick up", "put down"),
    ("wave", "raise hand"),
    ("turn left", "turn right"),
)

TWIN: dict[str, str] = {a: b for a, b in TIME_PAIRS} | {b: a for a, b in TIME_PAIRS}
