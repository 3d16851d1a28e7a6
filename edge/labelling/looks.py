"""Many looks at one picture: whole, in magnified windows, and each in a mirror.

The programs have fixed sizes, so a person is made larger by cutting a smaller window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.labelling.detectors import Detector, Image
from edge.labelling.fuse import Boxes, Look, fuse, suppress

Window = tuple[int, int, int, int]

# Windows share so much of their side, or who stands on the border would be cut in both.
_SHARED = 0.2
# A box that ends so near to an inner border is a person who was cut there.
_BORDER_PX = 3.0
_SAME_PERSON, _MAX_BOXES = 0.6, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class LookPlan:
    """How each picture is looked at.

    Attributes:
        scales: Magnifications; 1 is the whole picture.
        flip: Whether each look is repeated in a mirror.
        floor: Least score that is kept.
        iou: From this overlap on, boxes of two looks mean one person.
    """

    scales: tuple[float, ...] = (1.0, 1.6)
    flip: bool = True
    floor: float = 0.05
    iou: float = 0.45


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


def find_people(detector: Detector, image_bgr: Image, plan: LookPlan) -> Boxes:
    """Look at a picture as planned and fuse what was found; boxes in px, the surest first."""
    height, width = image_bgr.shape[:2]
    looks: list[Look] = []
    for scale in plan.scales:
        for window in windows((width, height), scale):
            looks += _look(detector, image_bgr, window, plan)
    # Means of boxes that each had another in their own look can come to lie over each other.
    return suppress(fuse(looks, iou=plan.iou), _SAME_PERSON, most=_MAX_BOXES)


def _look(detector: Detector, image_bgr: Image, window: Window, plan: LookPlan) -> Sequence[Look]:
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
    looks = []
    for boxes in found:
        cut = (np.abs(boxes.xyxy - borders) < _BORDER_PX) & inner
        kept = boxes.at(~cut.any(axis=1))
        moved = kept.xyxy + np.array([x1, y1, x1, y1], np.float32)
        looks.append(Look(Boxes(moved, kept.scores), window))
    return looks
