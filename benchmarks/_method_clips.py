"""Clips in YOWOv2's form: sixteen frames that end at the keyframe, changed as it publishes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edge.data.clips import resize_frames
from edge.data.dataset import ClipDataset, WrappedDataset
from edge.data.samples import ClipSample
from edge.data.transforms import Colours, Window, crop, flip, recolour, resize
from runtime.errors import ConfigError
from runtime.types import ClipSpec

Frames = npt.NDArray[np.uint8]

# Of its augmentation: how far each side of the window moves, as a share of the frame; the largest
# factors on saturation and brightness; the largest turn of the colour circle; its frame steps.
JITTER = 0.2
SATURATION = EXPOSURE = 1.5
HUE = 0.1
TRAIN_STEPS = (1, 2)
# Whoever is a sliver at the edge is not there; its own rule is a pixel of the network's input.
_KEEP = 1e-3


class EndingClips(WrappedDataset):
    """The same keyframes, each the newest frame of its clip; before the video its first repeats."""

    def __init__(
        self, dataset: ClipDataset, num_frames: int, size: int, *, augment: bool = False,
        seed: int = 0,
    ) -> None:  # fmt: skip
        """Stand in front of keyframes of videos.

        Args:
            dataset: Gives the truth of each keyframe, and the videos.
            num_frames: Frames of a clip, one after the other.
            size: Rows and columns of a clip, pixels.
            augment: Change clips as YOWOv2 does in training, anew in each pass.
            seed: Of these changes.
        """
        super().__init__(dataset)
        self.num_frames, self.size = num_frames, size
        self.augment, self.seed = augment, seed
        self.changes_by_epoch = augment
        self._newest: tuple[str, Frames] | None = None

    def clip(self, index: int, epoch: int = 0) -> ClipSample:
        """Return clip `index`, where it changes as pass `epoch` changes it.

        Raises:
            ConfigError: It lies in no video.
            CaptureError: Its video cannot be decoded.
        """
        sample, place = self.without_frames(index), self.where(index)
        if sample is None or place is None:
            raise ConfigError(f"clip {index} lies in no video, expected a keyframe of one")
        random = np.random.default_rng([self.seed, epoch, index])
        step = int(random.choice(TRAIN_STEPS)) if self.augment else 1
        video = self._video(place.video)
        numbers = place.frame + step * np.arange(1 - self.num_frames, 1)
        sample = replace(sample, frames_rgb=video[numbers.clip(0, len(video) - 1)])
        if not self.augment:
            return resize(sample, self.size, self.size)
        return changed(sample, self.size, random)

    def _video(self, name: str) -> Frames:
        """Return the frames of a video, (F, H, W, 3) RGB, in its own size."""
        if self._newest is None or self._newest[0] != name:
            media = self.media[name]
            count, (width, height) = media.num_frames, media.size_wh
            whole = ClipSpec(
                num_frames=count, sampling_rate=1, fps=media.fps, height=height, width=width
            )
            frames = media.read_at_frame(count // 2, whole)
            self._newest = name, resize_frames(frames, height, width)
        return self._newest[1]


def changed(sample: ClipSample, size: int, random: np.random.Generator) -> ClipSample:
    """Move each side of the frame, resize, mirror, and change colours, as YOWOv2 publishes it.

    Its colours are changed in HSV; here by one matrix, with the same factors.
    """
    rows, columns = sample.frames_rgb.shape[1:3]
    wide, high = int(columns * JITTER), int(rows * JITTER)
    left, right = random.integers(-wide, wide + 1, 2).tolist()
    top, bottom = random.integers(-high, high + 1, 2).tolist()
    window = Window(x=left, y=top, width=columns - left - right, height=rows - top - bottom)
    sample = crop(sample, window, keep=_KEEP, height=size, width=size)
    if random.random() < 0.5:
        sample = flip(sample)
    return recolour(sample, Colours(
        saturation=_factor(SATURATION, random), brightness=_factor(EXPOSURE, random),
        hue=random.uniform(-HUE, HUE),
    ))  # fmt: skip


def _factor(most: float, random: np.random.Generator) -> float:
    """Return a factor from 1 to `most`, or as often one over it."""
    return math.exp((1 if random.random() < 0.5 else -1) * math.log(random.uniform(1.0, most)))
