"""What every layer shares: what a clip is, and what maps clips to outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from runtime.errors import ConfigError

Frames = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

Progress = Callable[[str, int, int], None]
"""Told of a long job: the step in words, how much of it is done, how much there is."""

MAX_SIZE = 4096
"""Largest height or width of a network's input, pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSpec:
    """What a clip is for one model: how it is sampled, resized and normalised.

    A clip is `num_frames` samples, one each `sampling_rate` frames at `fps`, resized to `height` x
    `width` pixels. Data sets give it as uint8 RGB of `frames_shape`; `runtime.preprocess.normalize`
    turns that into the float32 of `input_shape` that programs take.

    Attributes:
        num_frames: Samples of a clip.
        sampling_rate: Frames, at `fps`, from one sample to the next.
        fps: Frames a second that `sampling_rate` counts in.
        height: Rows of a sample, pixels.
        width: Columns of a sample, pixels.
        mean: Mean of each RGB channel, in units of a [0, 1] pixel.
        std: Standard deviation of each RGB channel, in the same units.

    Raises:
        ConfigError: A value is out of range.
    """

    num_frames: int
    sampling_rate: int
    fps: float
    height: int
    width: int
    mean: tuple[float, float, float] = (0.45, 0.45, 0.45)
    std: tuple[float, float, float] = (0.225, 0.225, 0.225)

    def __post_init__(self) -> None:
        limits = {"num_frames": 256, "sampling_rate": 256, "height": MAX_SIZE, "width": MAX_SIZE}
        for name, most in limits.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise ConfigError(f"{name} is {value!r}, expected a whole number from 1 to {most}")
        if not (math.isfinite(self.fps) and 0 < self.fps <= 1000):
            raise ConfigError(f"fps is {self.fps!r}, expected a number above 0, at most 1000")
        if len(self.mean) != 3 or len(self.std) != 3:
            raise ConfigError("mean and std need three values each, one per RGB channel")
        if not all(map(math.isfinite, self.mean)):
            raise ConfigError(f"mean is {self.mean}, expected finite values")
        if not all(math.isfinite(value) and value > 0 for value in self.std):
            raise ConfigError(f"std is {self.std}, expected finite values above 0")

    @property
    def period_s(self) -> float:
        """Seconds from one sample to the next."""
        return self.sampling_rate / self.fps

    @property
    def span_s(self) -> float:
        """Seconds from the first sample to the last."""
        return (self.num_frames - 1) * self.period_s

    @property
    def keyframe_index(self) -> int:
        """Index of the sample that boxes and labels belong to."""
        return self.num_frames // 2

    @property
    def frames_shape(self) -> tuple[int, int, int, int]:
        """Shape (T, H, W, 3) of the resized frames, uint8 RGB."""
        return (self.num_frames, self.height, self.width, 3)

    @property
    def input_shape(self) -> tuple[int, int, int, int, int]:
        """Shape (1, T, 3, H, W) of the float32 clip that a program takes."""
        return (1, self.num_frames, 3, self.height, self.width)


class Outputs(NamedTuple):
    """What a network says of clips, with the batch axis B first; `of` gives those of one clip.

    Attributes:
        pred_boxes: (B, N, 4) float32, cxcywh in [0, 1] of the frame.
        pred_actor: (B, N) float32, logit that somebody acts there.
        pred_actions: (B, N, C) float32, logit of each action.
    """

    pred_boxes: Floats
    pred_actor: Floats
    pred_actions: Floats

    def of(self, index: int) -> Outputs:
        """Return the outputs of one clip, without the batch axis: (N, 4), (N,) and (N, C)."""
        return Outputs(*(array[index] for array in self))


class ClipModel(Protocol):
    """Clips in, outputs out: a network in torch, a lowered graph, a program in any engine.

    The batch axis is always there. Programs take the one batch size that they were exported with,
    which is 1; models in torch take any.
    """

    def __call__(self, clips: Floats, /) -> Outputs:
        """Run the network.

        Args:
            clips: (B, T, 3, H, W) float32, C-contiguous; see `runtime.preprocess.normalize`.
        """
