"""What the truth of a set of videos says beside its clips: where a clip lies, and whole tubes.

NumPy only: readers make these, evaluation takes them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.errors import ConfigError

I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxTable:
    """Boxes of many frames: detections where `score` is given, else the truth.

    A person with two actions is two rows, as in AVA's files.

    Attributes:
        frame: (R,) int64, which frame; any numbers, the same for detections and truth.
        label: (R,) int64, class of the box.
        xyxy: (R, 4) float64 corners, in any unit; x2 and y2 lie behind the box.
        score: (R,) float64, any finite numbers; None for the truth.

    Raises:
        ConfigError: Lengths differ, a number is not finite, or a box ends before it begins.
    """

    frame: I64
    label: I64
    xyxy: F64
    score: F64 | None = None

    def __post_init__(self) -> None:
        rows = len(self.frame)
        columns = {"label": self.label, "xyxy": self.xyxy}
        if self.score is not None:
            columns["score"] = self.score
        for name, column in {"frame": self.frame, **columns}.items():
            shape = (rows, 4) if name == "xyxy" else (rows,)
            if column.shape != shape:
                raise ConfigError(f"{name} has shape {column.shape}, expected {shape}")
        for name, column in columns.items():
            bad = np.flatnonzero(~np.isfinite(column))
            if len(bad):
                row = int(bad[0]) // (4 if name == "xyxy" else 1)
                raise ConfigError(f"{name} of row {row} is {column[row]}, expected finite numbers")
        bad = np.flatnonzero((self.xyxy[:, 2:] < self.xyxy[:, :2]).any(axis=1))
        if len(bad):
            raise ConfigError(
                f"the box of row {bad[0]} is {self.xyxy[bad[0]]}, expected x1 <= x2 and y1 <= y2; "
                "are these corners, not centre and size?"
            )

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tube:
    """One person's action in one video: the truth of video-mAP.

    Attributes:
        video: Name of the video, as in `ClipDataset.media`.
        label: Index of the action in `class_names`.
        frames: int64 (K,), ascending numbers of the video's frames, from 0.
        boxes: float32 (K, 4), xyxy in px of the original frame; one for each of `frames`.

    Raises:
        ConfigError: The arrays do not fit each other, or hold what no tube can.
    """

    video: str
    label: int
    frames: I64
    boxes: F32

    def __post_init__(self) -> None:
        count = len(self.frames)
        if self.frames.dtype != np.int64 or self.frames.shape != (count,) or not count:
            raise ConfigError(
                f"{self.video}: the frames of a tube are {_seen(self.frames)}, expected int64 (K,) "
                "with K of 1 or more"
            )
        if self.boxes.dtype != np.float32 or self.boxes.shape != (count, 4):
            raise ConfigError(
                f"{self.video}: the boxes of a tube are {_seen(self.boxes)}, expected float32 "
                f"({count}, 4)"
            )
        if self.frames[0] < 0 or not (np.diff(self.frames) > 0).all():
            raise ConfigError(
                f"{self.video}: the frames of a tube are {self.frames[:8].tolist()}..., expected "
                "numbers from 0 that ascend"
            )
        if not np.isfinite(self.boxes).all():
            raise ConfigError(f"{self.video}: a box of a tube is not finite")
        if self.label < 0:
            raise ConfigError(f"{self.video}: a tube has label {self.label}, expected 0 or more")

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPlace:
    """Where a clip lies in the videos.

    Attributes:
        video: Name of the video, as annotation files write it.
        frame: Number of the keyframe in the video, from 0.
        timestamp: Time of the keyframe, seconds, as annotation files write it: the second column
            of an AVA row. Where the files count frames, it is the frame's time from the first.
    """

    video: str
    frame: int
    timestamp: float

    def __post_init__(self) -> None:
        if not self.video or self.frame < 0 or not math.isfinite(self.timestamp):
            raise ConfigError(
                f"a clip at {self.video!r}, frame {self.frame}, {self.timestamp} s; expected a "
                "name, 0 or more, and a finite time"
            )


def _seen(array: Any) -> str:
    return f"{getattr(array, 'dtype', type(array))} {getattr(array, 'shape', '')}"
