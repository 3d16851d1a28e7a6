"""A camera that moves over a still picture: which window of it each sample of a clip shows.

People in a photograph do not move. A camera that pans, zooms and shakes gives the clip what film
of people who keep still has: a person is a person whatever the picture does around them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.data.samples import F32, U8
from edge.data.transforms import FILL
from runtime.errors import ConfigError

F64 = npt.NDArray[np.float64]

# How often another window is drawn where one would cut people.
_TRIES = 12
# Closer to the picture's edge than this share of it, a person goes on behind it.
_AT_EDGE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraMotion:
    """How a camera moves over a picture.

    Attributes:
        area_low: Smallest area of the window at the keyframe, as a share of the picture.
        area_high: Largest; above 1 it reaches beyond the picture.
        aspect: Largest factor between the window's aspect and the picture's.
        resting: Probability that the camera stands on a tripod and nothing moves.
        shaking: Probability that it is held and shakes, where it does not rest.
        pan: Standard deviation of its speed, widths of the window a second.
        zoom: Standard deviation of the logarithm of its magnification, per second.
        keep: A person of whose box less than this share is seen is not there.
    """

    area_low: float = 0.35
    area_high: float = 1.3
    aspect: float = 1.25
    resting: float = 0.2
    shaking: float = 0.7
    pan: float = 0.12
    zoom: float = 0.1
    keep: float = 0.6

    def __post_init__(self) -> None:
        if not 0.01 <= self.area_low <= self.area_high <= 100:
            raise ConfigError(f"area_low is {self.area_low} and area_high {self.area_high}; "
                              "expected 0.01 <= area_low <= area_high <= 100")  # fmt: skip
        if not 1 <= self.aspect <= 4:
            raise ConfigError(f"aspect is {self.aspect}, expected 1 to 4")
        for name in ("resting", "shaking", "keep"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 0 to 1")
        for name in ("pan", "zoom"):
            if not 0 <= getattr(self, name) <= 10:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 0 to 10")


def draw_windows(
    boxes: F32, times_s: F64, keyframe: int, motion: CameraMotion, random: np.random.Generator
) -> F64:
    """Draw where a camera looks.

    Args:
        boxes: (M, 4) the people, xyxy in shares of the picture.
        times_s: (T,) time of each sample, seconds from the keyframe.
        keyframe: Which sample that is.
        motion: How the camera moves.
        random: Dice.

    Returns:
        (T, 4) left, top, width and height of each sample's window in shares of the picture, which
        may reach beyond it. At the keyframe at least one of the people is seen.
    """
    window = _at_keyframe(boxes, motion, random)
    moved = np.tile(window, (len(times_s), 1))
    if random.random() < motion.resting:
        return moved
    centre = _pan(times_s, motion, random)
    if random.random() < motion.shaking:
        centre += _shake(times_s, random)
    grown = np.exp(-random.normal(0.0, motion.zoom) * times_s)
    centre -= centre[keyframe]
    size = window[2:] * grown[:, None]
    moved[:, 2:] = size
    moved[:, :2] = window[:2] + window[2:] / 2 + centre * window[2:] - size / 2
    return moved


def _at_keyframe(boxes: F32, motion: CameraMotion, random: np.random.Generator) -> F64:
    """Draw a window that sees somebody and cuts nobody by much; the whole picture where none."""
    for _ in range(_TRIES):
        area = math.exp(random.uniform(math.log(motion.area_low), math.log(motion.area_high)))
        aspect = math.exp(random.uniform(-1, 1) * math.log(motion.aspect))
        size = np.array([math.sqrt(area * aspect), math.sqrt(area / aspect)])
        free = 1.0 - size
        corner = random.uniform(np.minimum(free, 0.0), np.maximum(free, 0.0))
        window = np.concatenate([corner, size])
        shares = seen_shares(boxes, window)
        seen = shares >= motion.keep
        if seen.any() and (seen | (shares <= 0.0)).all():
            return window
    return np.array([0.0, 0.0, 1.0, 1.0])


def _pan(times_s: F64, motion: CameraMotion, random: np.random.Generator) -> F64:
    """Return where the camera goes, (T, 2) in sizes of the window: on, and to and fro."""
    speed = random.normal(0.0, motion.pan, 2)
    width = random.normal(0.0, motion.pan / 4, 2)
    turns, phase = random.uniform(0.1, 0.6, 2), random.uniform(0, 2 * math.pi, 2)
    swing = np.sin(2 * math.pi * turns * times_s[:, None] + phase)
    way: F64 = speed * times_s[:, None] + width * swing
    return way


def _shake(times_s: F64, random: np.random.Generator) -> F64:
    """Return the unrest of a hand, (T, 2) in sizes of the window."""
    width = random.uniform(0.0, 0.006, (3, 2))
    turns, phase = random.uniform(1.0, 5.0, (3, 2)), random.uniform(0, 2 * math.pi, (3, 2))
    waves = np.sin(2 * math.pi * turns * times_s[:, None, None] + phase)
    unrest: F64 = (width * waves).sum(axis=1)
    return unrest


def seen_shares(boxes: F32, window: F64) -> F64:
    """Return the share of each box's area that a window sees, (M,)."""
    inside = np.clip(boxes, np.tile(window[:2], 2), np.tile(window[:2] + window[2:], 2))
    area, seen = (np.prod(b[:, 2:] - b[:, :2], axis=1, dtype=np.float64) for b in (boxes, inside))
    shares: F64 = np.zeros(len(boxes))
    np.divide(seen, area, out=shares, where=area > 0)
    return shares


def through(boxes: F32, window: F64) -> F32:
    """Return boxes in shares of a window, cut at its edges."""
    moved = (boxes - np.tile(window[:2], 2)) / np.tile(window[2:], 2)
    return np.clip(moved, 0.0, 1.0).astype(np.float32)


def show(picture_rgb: U8, windows: F64, boxes: F32, height: int, width: int) -> U8:
    """Return what the windows show of a picture, (T, height, width, 3).

    Beyond the picture its last pixels go on; not where a person goes on behind its edge, since
    that would draw them long: there it is grey.
    """
    rows, columns = picture_rgb.shape[:2]
    # Once by area to about the result's resolution: what follows looks at four pixels only.
    shrunk_wh = [
        max(1, min(side, round(side * pixels / max(share * side, 1e-6))))
        for side, pixels, share in (
            (columns, width, windows[:, 2].min()), (rows, height, windows[:, 3].min()),
        )
    ]  # fmt: skip
    if shrunk_wh != [columns, rows]:
        picture_rgb = cv2.resize(picture_rgb, shrunk_wh, interpolation=cv2.INTER_AREA)
    cut = bool(((boxes < _AT_EDGE) | (boxes > 1 - _AT_EDGE)).any())
    border = cv2.BORDER_CONSTANT if cut else cv2.BORDER_REPLICATE
    sides, result = np.array(shrunk_wh, np.float64), np.array([width, height], np.float64)
    frames = np.empty((len(windows), height, width, 3), np.uint8)
    done: dict[bytes, int] = {}
    for index, window in enumerate(windows):
        before = done.setdefault(window.tobytes(), index)
        if before != index:
            frames[index] = frames[before]
            continue
        # Centres of pixels lie half a pixel inside, on both sides.
        step = window[2:] * sides / result
        start = window[:2] * sides + 0.5 * step - 0.5
        matrix = np.array([[step[0], 0.0, start[0]], [0.0, step[1], start[1]]])
        cv2.warpAffine(
            picture_rgb, matrix, (width, height), dst=frames[index],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=border,
            borderValue=(FILL, FILL, FILL),
        )  # fmt: skip
    return frames
