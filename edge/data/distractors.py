"""Paste things that are no people into clips, so that a model learns to be silent about them.

Film of people seldom shows animals, and a model that never saw one takes a dog for a person. A
cut-out is a PNG with transparency of one thing. It moves through the clip on a straight line, sways
as what walks does, and takes about the brightness of the place. Boxes and labels stay as they are:
it is put where it hides little of anybody.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.data.dataset import ClipDataset, WrappedDataset
from edge.data.samples import F32, U8, ClipSample
from runtime.errors import ConfigError

Floats = npt.NDArray[np.float32]

# A cut-out is kept at this many pixels on its longer side: more than any clip shows of it.
_KEPT_SIDE = 256
# Of nobody's box is a larger share covered.
_MOST_COVERED = 0.2
_TRIES = 8
_MOST_AT_ONCE = 2


class WithDistractors(WrappedDataset):
    """A data set with cut-outs in some of its clips, anew in each pass over it."""

    def __init__(self, dataset: ClipDataset, folder: Path, *, share: float, seed: int = 0) -> None:
        """Find the cut-outs.

        Args:
            dataset: The clips.
            folder: PNG files with transparency, also in folders below.
            share: How many of all clips get one or two, in [0, 1].
            seed: Of all choices.

        Raises:
            ConfigError: The folder has no PNG file, or one that is no cut-out.
        """
        super().__init__(dataset)
        self.changes_by_epoch = True
        self.share, self.seed = share, seed
        self._paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".png")
        if not self._paths:
            raise ConfigError(
                f"--distractors {folder} has no .png file; expected pictures of single things with "
                "a transparent background"
            )
        for path in self._paths:  # each is read now: training would meet it hours later
            _cut_out(path)

    def clip(self, index: int, epoch: int = 0) -> ClipSample:
        """Return clip `index` of a pass, perhaps with a cut-out or two."""
        sample = self.dataset.clip(index, epoch)
        random = np.random.default_rng([self.seed, 7, epoch, self.checked(index)])
        if random.random() >= self.share:
            return sample
        frames = sample.frames_rgb.copy()
        for _ in range(int(random.integers(1, _MOST_AT_ONCE + 1))):
            path = self._paths[int(random.integers(len(self._paths)))]
            _paste(frames, _cut_out(path), sample, random)
        return replace(sample, frames_rgb=frames)


@lru_cache(maxsize=512)
def _cut_out(path: Path) -> U8:
    """Return one cut-out, RGBA, without the empty rows and columns around it.

    Raises:
        ConfigError: It cannot be read, or has no transparency.
    """
    content = np.fromfile(path, np.uint8)
    pixels = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
    if (
        pixels is None
        or pixels.shape[2:] != (4,)
        or pixels[..., 3].min() == np.iinfo(pixels.dtype).max
    ):
        raise ConfigError(f"{path} is no picture with a transparent background; remove it from the "
                          "folder of --distractors")  # fmt: skip
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    x, y, width, height = cv2.boundingRect((pixels[..., 3] > 127).astype(np.uint8))
    if not width * height:
        raise ConfigError(f"{path} is wholly transparent; remove it from the folder of "
                          "--distractors")  # fmt: skip
    pixels = pixels[y : y + height, x : x + width]
    scale = min(1.0, _KEPT_SIDE / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    rgba: U8 = cv2.cvtColor(
        cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGRA2RGBA
    )
    return rgba


def _paste(frames: U8, cut_out: U8, sample: ClipSample, random: np.random.Generator) -> None:
    """Draw a cut-out into all frames, or into none where it would hide somebody."""
    count, rows, columns = frames.shape[:3]
    wide, high = sample.size_wh
    # Clips are squeezed to the network's size: so is what is pasted.
    squeeze = (columns / wide) / (rows / high)
    height = math.exp(random.uniform(math.log(0.1), math.log(0.7))) * rows
    width = height * cut_out.shape[1] / cut_out.shape[0] * squeeze
    if width > 0.9 * columns:
        height, width = height * 0.9 * columns / width, 0.9 * columns
    people = np.concatenate([sample.boxes, sample.inactive_persons, sample.ignored])
    steps = np.arange(count) - count // 2
    for _ in range(_TRIES):
        centre = random.uniform([0, 0.3 * rows], [columns, rows])
        speed = random.normal(0, 0.03, 2) * [columns, 0.2 * rows] * (random.random() < 0.7)
        places = centre + steps[:, None] * speed
        low, high_end = places.min(axis=0), places.max(axis=0)
        swept = np.array([low[0] - width / 2, low[1] - height / 2,
                          high_end[0] + width / 2, high_end[1] + height / 2])  # fmt: skip
        if _covered(people, swept / [columns, rows, columns, rows]) <= _MOST_COVERED:
            break
    else:
        return
    if random.random() < 0.5:
        cut_out = np.ascontiguousarray(cut_out[:, ::-1])
    colours = cut_out[..., :3].astype(np.float32)
    place = frames[count // 2][:: max(1, rows // 16), :: max(1, columns // 16)].mean() + 1.0
    ink = colours[cut_out[..., 3] > 127].mean() + 1.0
    colours *= float((place / ink) ** random.uniform(0, 0.8) * random.uniform(0.8, 1.2))
    alpha = cut_out[..., 3:].astype(np.float32) / 255.0
    layer = np.concatenate([np.clip(colours, 0, 255) * alpha, alpha], axis=2)
    if (blur := random.uniform(0, 0.012) * max(cut_out.shape[:2])) > 0.3:
        layer = cv2.GaussianBlur(layer, (0, 0), blur)
    sway, pace, phase = random.uniform(0, 0.12), random.uniform(0.3, 1.2), random.uniform(0, 6.3)
    for frame, step, centre in zip(frames, steps, places, strict=True):
        _draw(frame, layer, centre, (width, height), sway * math.sin(pace * step + phase))


def _covered(people: F32, box: npt.NDArray[np.float64]) -> float:
    """Return the largest share of a person's box that another box covers."""
    if not len(people):
        return 0.0
    low, high = np.maximum(people[:, :2], box[:2]), np.minimum(people[:, 2:], box[2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(people[:, 2:] - people[:, :2], axis=1)
    return float((shared / np.maximum(areas, 1e-6)).max())


def _draw(
    frame: U8, layer: Floats, centre: npt.NDArray[np.float64], size_wh: tuple[float, float],
    lean: float,
) -> None:  # fmt: skip
    """Draw a layer, colours times alpha and alpha, into one frame; its top leans to a side."""
    rows, columns = layer.shape[:2]
    across, down = size_wh[0] / columns, size_wh[1] / rows
    shift = -lean * size_wh[1] / rows
    matrix = np.array([
        [across, shift, centre[0] - size_wh[0] / 2 - shift * rows],
        [0.0, down, centre[1] - size_wh[1] / 2],
    ])  # fmt: skip
    small = layer
    if min(across, down) < 0.6:  # a warp alone would skip pixels
        size = (max(1, round(size_wh[0])), max(1, round(size_wh[1])))
        small = cv2.resize(layer, size, interpolation=cv2.INTER_AREA)
        matrix[:, 0] *= columns / size[0]
        matrix[:, 1] *= rows / size[1]
    drawn = cv2.warpAffine(small, matrix, frame.shape[1::-1], flags=cv2.INTER_LINEAR)
    frame[:] = np.rint(frame * (1.0 - drawn[..., 3:]) + drawn[..., :3]).clip(0, 255)
