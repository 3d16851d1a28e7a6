"""Scored boxes of one picture, their overlaps, and duplicates removed.

Suppression belongs to the detectors that make labels. The model that learns from them has none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]

EPS = 1e-9


@dataclass(frozen=True, slots=True)
class Boxes:
    """Scored boxes.

    Attributes:
        xyxy: float32 (N, 4), px.
        scores: float32 (N,) in [0, 1].
    """

    xyxy: F32
    scores: F32

    def __len__(self) -> int:
        return len(self.scores)

    @staticmethod
    def none() -> Boxes:
        """Return no box."""
        return Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))

    def at(self, which: npt.NDArray[np.generic]) -> Boxes:
        """Return the boxes of an index or a mask."""
        return Boxes(self.xyxy[which], self.scores[which])

    def rounded(self) -> Boxes:
        """Return the boxes to a tenth of a pixel and a thousandth, as files keep them."""
        return Boxes(np.round(self.xyxy, 1), np.round(self.scores, 3))

    def clipped(self, width: float, height: float) -> Boxes:
        """Cut boxes at the picture's edges; what then has no area goes."""
        limits = np.array([width, height, width, height], np.float32)
        xyxy = np.clip(self.xyxy, 0, limits).astype(np.float32)
        there = (xyxy[:, 2] - xyxy[:, 0] > 1) & (xyxy[:, 3] - xyxy[:, 1] > 1)
        return Boxes(xyxy[there], self.scores[there])


def overlaps(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return the IoU of each box of `a` (N, 4) with each of `b` (M, 4): (N, M)."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inner = np.clip(high - low, 0, None).prod(axis=2)
    total = areas(a)[:, None] + areas(b)[None] - inner
    return np.asarray(inner / np.maximum(total, EPS))


def areas(xyxy: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return the area of each box."""
    return np.asarray(np.clip(xyxy[:, 2:] - xyxy[:, :2], 0, None).prod(axis=1), np.float64)


def suppress(boxes: Boxes, iou: float, *, most: int) -> Boxes:
    """Keep the surest box of each heap, the surest first."""
    order = np.argsort(-boxes.scores, kind="stable")[: 4 * most]
    boxes = boxes.at(order)
    over = overlaps(boxes.xyxy, boxes.xyxy) > iou
    keep: list[int] = []
    gone = np.zeros(len(boxes), bool)
    for index in range(len(boxes)):
        if not gone[index]:
            keep.append(index)
            gone |= over[index]
    return boxes.at(np.array(keep[:most], np.int64))
