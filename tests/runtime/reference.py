"""What the native module computes, in NumPy: slow, and plain to read."""

from __future__ import annotations

import numpy as np

from runtime.decode import Detections
from runtime.types import Floats


def decode_reference(
    pred_boxes: Floats,
    pred_actor: Floats,
    pred_actions: Floats,
    *,
    conf: float,
    size_wh: tuple[int, int],
) -> Detections:
    """Keep the tokens whose actor score is above `conf`; arguments as of `runtime.decode`."""
    width, height = size_wh
    score = _sigmoid(pred_actor)
    kept = np.flatnonzero(score.astype(np.float64) > conf)
    token = kept[np.argsort(-score[kept], kind="stable")].astype(np.int64)
    size = np.array([width, height], dtype=np.float32)
    centre, half = pred_boxes[token, :2], pred_boxes[token, 2:] * np.float32(0.5)
    corners = np.concatenate(
        [np.clip(centre - half, 0, 1) * size, np.clip(centre + half, 0, 1) * size], axis=1
    )
    return Detections(
        xyxy=corners, actor=score[token], actions=_sigmoid(pred_actions[token]), token=token
    )


def _sigmoid(logits: Floats) -> Floats:
    with np.errstate(over="ignore"):  # exp(large) is inf, and 1 / inf the right answer
        result: Floats = (1.0 / (1.0 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
    return result
