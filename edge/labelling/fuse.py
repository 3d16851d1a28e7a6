"""Boxes of one picture from many looks at it: duplicates of a look removed, looks averaged.

Suppression belongs to the detectors that make labels. The model that learns from them has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]

_EPS = 1e-9


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
    return np.asarray(inner / np.maximum(total, _EPS))


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


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a picture gave.

    Attributes:
        boxes: In px of the whole picture.
        window: The part that was looked at, xyxy px.
    """

    boxes: Boxes
    window: tuple[float, float, float, float]


def fuse(looks: Sequence[Look], *, iou: float) -> Boxes:
    """Average the boxes that several looks have of one person (weighted box fusion).

    Corners are means, weighted by score. The score is half the best one and half the mean over
    all looks whose window holds the person, a look that saw nothing counting as 0: a person of
    40 px that only the magnified looks find is kept, and a ghost of one look sinks.

    Args:
        looks: All looks at the picture.
        iou: From this overlap on, boxes mean one person.

    Returns:
        The surest first.
    """
    boxes = np.concatenate([look.boxes.xyxy for look in looks]).astype(np.float64)
    scores = np.concatenate([look.boxes.scores for look in looks]).astype(np.float64)
    origin = np.concatenate([np.full(len(look.boxes), i) for i, look in enumerate(looks)])
    means = np.zeros((len(boxes), 4))
    members: list[list[int]] = []
    for index in np.argsort(-scores, kind="stable").tolist():
        over = overlaps(boxes[index : index + 1], means[: len(members)])[0]
        # A look has a person once: its second box is someone else.
        for number, group in enumerate(members):
            if origin[index] in origin[group]:
                over[number] = 0
        best = int(over.argmax()) if len(over) else -1
        if best < 0 or over[best] < iou:
            best = len(members)
            members.append([])
        members[best].append(index)
        weights = scores[members[best]]
        means[best] = np.average(boxes[members[best]], axis=0, weights=np.maximum(weights, _EPS))
    if not members:
        return Boxes.none()
    windows = np.array([look.window for look in looks], np.float64)
    fused = np.array([_score(means[i], scores[group], windows) for i, group in enumerate(members)])
    order = np.argsort(-fused, kind="stable")
    return Boxes(means[order].astype(np.float32), fused[order].astype(np.float32))


def _score(
    mean: npt.NDArray[np.float64],
    scores: npt.NDArray[np.float64],
    windows: npt.NDArray[np.float64],
) -> float:
    low = np.maximum(windows[:, :2], mean[:2])
    high = np.minimum(windows[:, 2:], mean[2:])
    seen = np.clip(high - low, 0, None).prod(axis=1)
    whole = seen >= 0.9 * float((mean[2:] - mean[:2]).prod())
    return 0.5 * float(scores.max()) + 0.5 * float(scores.sum()) / max(
        int(whole.sum()), len(scores)
    )
