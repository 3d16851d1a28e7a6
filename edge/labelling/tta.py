"""Test-time augmentation: many views of one picture, whole, magnified and mirrored, averaged.

The programs have fixed sizes, so a person is made larger by cutting a smaller window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.labelling.boxes import EPS, Boxes, overlaps, suppress
from edge.labelling.detectors import Detector, Image

Window = tuple[int, int, int, int]

# Windows share so much of their side, or who stands on the border would be cut in both.
_SHARED = 0.2
# A box that ends so near to an inner border is a person who was cut there.
_BORDER_PX = 3.0
_SAME_PERSON, _MAX_BOXES = 0.6, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewPlan:
    """How each picture is looked at.

    Attributes:
        scales: Magnifications; 1 is the whole picture.
        flip: Whether each look is repeated in a mirror.
        floor: Least score that is kept.
        iou: From this overlap on, boxes of two views mean one person.
    """

    scales: tuple[float, ...] = (1.0, 1.6)
    flip: bool = True
    floor: float = 0.05
    iou: float = 0.45


@dataclass(frozen=True, slots=True)
class View:
    """What one view of a picture gave.

    Attributes:
        boxes: In px of the whole picture.
        window: The part that was seen, xyxy px.
    """

    boxes: Boxes
    window: tuple[float, float, float, float]


def fuse(views: Sequence[View], *, iou: float) -> Boxes:
    """Average the boxes that several views have of one person (weighted box fusion).

    Corners are means, weighted by score. The score is half the best one and half the mean over
    all views whose window holds the person, a view that saw nothing counting as 0: a person of
    40 px that only the magnified views find is kept, and a ghost of one view sinks.

    Args:
        views: All views of the picture.
        iou: From this overlap on, boxes mean one person.

    Returns:
        The surest first.
    """
    boxes = np.concatenate([view.boxes.xyxy for view in views]).astype(np.float64)
    scores = np.concatenate([view.boxes.scores for view in views]).astype(np.float64)
    origin = np.concatenate([np.full(len(view.boxes), i) for i, view in enumerate(views)])
    means = np.zeros((len(boxes), 4))
    members: list[list[int]] = []
    for index in np.argsort(-scores, kind="stable").tolist():
        over = overlaps(boxes[index : index + 1], means[: len(members)])[0]
        # A view has a person once: its second box is someone else.
        for number, group in enumerate(members):
            if origin[index] in origin[group]:
                over[number] = 0
        best = int(over.argmax()) if len(over) else -1
        if best < 0 or over[best] < iou:
            best = len(members)
            members.append([])
        members[best].append(index)
        weights = scores[members[best]]
        means[best] = np.average(boxes[members[best]], axis=0, weights=np.maximum(weights, EPS))
    if not members:
        return Boxes.none()
    windows = np.array([view.window for view in views], np.float64)
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


def windows(size_wh: tuple[int, int], scale: float) -> list[Window]:
    """Return windows that cover a picture, each magnified so much against the whole one."""
    width, height = size_wh
    side = max(width, height) / scale
    spans = []
    for length in (width, height):
        inner = min(length, max(1, round(side)))
        count = 1
        if inner < length:
            count = int(np.ceil((length - inner * _SHARED) / (inner * (1 - _SHARED)) - 1e-9))
        starts = np.linspace(0, length - inner, max(count, 1)).round().astype(int)
        spans.append([(int(start), int(start) + inner) for start in starts])
    return [(x1, y1, x2, y2) for y1, y2 in spans[1] for x1, x2 in spans[0]]


def find_people(detector: Detector, image_bgr: Image, plan: ViewPlan) -> Boxes:
    """Look at a picture as planned and fuse what was found; boxes in px, the surest first."""
    height, width = image_bgr.shape[:2]
    views: list[View] = []
    for scale in plan.scales:
        for window in windows((width, height), scale):
            views += _views_of(detector, image_bgr, window, plan)
    # Means of boxes that each had another in their own look can come to lie over each other.
    return suppress(fuse(views, iou=plan.iou), _SAME_PERSON, most=_MAX_BOXES)


def _views_of(
    detector: Detector, image_bgr: Image, window: Window, plan: ViewPlan
) -> Sequence[View]:
    x1, y1, x2, y2 = window
    part = image_bgr[y1:y2, x1:x2]
    found = [detector.detect(part, plan.floor)]
    if plan.flip:
        mirrored = detector.detect(np.ascontiguousarray(part[:, ::-1]), plan.floor)
        left, right = mirrored.xyxy[:, 0], mirrored.xyxy[:, 2]
        xyxy = np.stack([x2 - x1 - right, mirrored.xyxy[:, 1], x2 - x1 - left,
                         mirrored.xyxy[:, 3]], axis=1)  # fmt: skip
        found.append(Boxes(xyxy.astype(np.float32), mirrored.scores))
    height, width = image_bgr.shape[:2]
    inner = np.array([x1 > 0, y1 > 0, x2 < width, y2 < height])
    borders = np.array([0, 0, x2 - x1, y2 - y1], np.float32)
    views = []
    for boxes in found:
        cut = (np.abs(boxes.xyxy - borders) < _BORDER_PX) & inner
        kept = boxes.at(~cut.any(axis=1))
        moved = kept.xyxy + np.array([x1, y1, x1, y1], np.float32)
        views.append(View(Boxes(moved, kept.scores), window))
    return views
