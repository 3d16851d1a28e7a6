"""Do two sets of outputs say the same once they are decoded at one θ?

Errors of boxes and logits count every token alike; what a user sees are the few above θ.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from runtime.decode import Detections, decode
from runtime.tubes import iou_matrix
from runtime.types import Outputs

MATCH_IOU = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """How many detections of the float model an artifact gives as well.

    Attributes:
        conf: θ, of both.
        expected: Detections of the float model over all clips.
        found: Detections of the artifact.
        boxes: Pairs, one to one, whose boxes overlap by an IoU of 0.5 or more.
        actions: Those of them whose likeliest action is the same.
    """

    conf: float
    expected: int
    found: int
    boxes: int
    actions: int

    def record(self) -> dict[str, float | int]:
        """Return what the bundle keeps of it."""
        return asdict(self)


def match_detections(found: Outputs, expected: Outputs, *, conf: float) -> Matched:
    """Match an artifact's detections with those of the float model, clip by clip.

    Args:
        found: The artifact's outputs over all clips: (K, N, 4), (K, N), (K, N, C).
        expected: The float model's.
        conf: θ for both.

    Raises:
        DecodeError: A value is not finite.
    """
    totals = np.zeros(4, dtype=np.int64)
    for index in range(len(found[0])):
        one, other = (_decode(outputs, index, conf) for outputs in (found, expected))
        pairs = _pairs(one, other)
        alike = [one.actions[a].argmax() == other.actions[b].argmax() for a, b in pairs]
        totals += len(other), len(one), len(pairs), sum(alike)
    wanted, came, boxes, actions = (int(total) for total in totals)
    return Matched(conf=conf, expected=wanted, found=came, boxes=boxes, actions=actions)


def _decode(outputs: Outputs, index: int, conf: float) -> Detections:
    boxes, actor, actions = (output[index] for output in outputs)
    return decode(boxes, actor, actions, conf=conf, size_wh=(1, 1))


def _pairs(found: Detections, expected: Detections) -> list[tuple[int, int]]:
    """Pair detections one to one; the float model's surest choose first."""
    overlaps = iou_matrix(found.xyxy.astype(np.float64), expected.xyxy.astype(np.float64))
    pairs: list[tuple[int, int]] = []
    for index in range(len(expected) if len(found) else 0):
        best = int(overlaps[:, index].argmax())
        if overlaps[best, index] >= MATCH_IOU:
            pairs.append((best, index))
            overlaps[best] = -1.0
    return pairs
