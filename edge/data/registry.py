"""Data sets by name: one word on a command line gives clips with their truth."""

from __future__ import annotations

from pathlib import Path

from edge.data.samples import ClipDataset, ClipShape
from runtime.errors import ConfigError
from runtime.options import did_you_mean

DEFAULT_LENGTH = 2000
_SYNTHETIC = {"synthetic-train": "train", "synthetic-val": "val"}


def open_dataset(
    spec: str, shape: ClipShape, *, seed: int = 0, limit: int | None = None
) -> ClipDataset:
    """Return the data set that a word names.

    Args:
        spec: `synthetic-train` or `synthetic-val`, with `:LENGTH` for another number of clips
            than 2000.
        shape: What the model asks for.
        seed: Which world of that split; 0 is the one that figures are given for.
        limit: Use the first clips only.

    Raises:
        ConfigError: The word names nothing that is known, or a number is out of range.
    """
    from edge.data.synthetic import SyntheticClips

    name, colon, length = spec.partition(":")
    if name not in _SYNTHETIC:
        raise ConfigError(_unknown(spec, name))
    count = _count(spec, length) if colon else DEFAULT_LENGTH
    if limit is not None:
        if limit < 1:
            raise ConfigError(f"a limit of {limit} clips; expected 1 or more")
        count = min(count, limit)
    return SyntheticClips(_SYNTHETIC[name], shape, length=count, seed=seed)


def _count(spec: str, length: str) -> int:
    if not (length.isascii() and length.isdigit()):
        raise ConfigError(f"data set {spec!r}: expected a number of clips behind the colon")
    return int(length)


def _unknown(spec: str, name: str) -> str:
    known = f"Choose from: {', '.join(_SYNTHETIC)} (with :LENGTH for another number of clips)"
    try:
        there = bool(spec) and Path(spec).exists()
    except (OSError, ValueError):
        there = False
    if there or "/" in spec:
        return (
            f"data set {spec[:120]!r}: folders and files cannot be read as data sets yet. {known}"
        )
    return f"data set {spec[:120]!r} is not known.{did_you_mean(name, _SYNTHETIC)} {known}"
