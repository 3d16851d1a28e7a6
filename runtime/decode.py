"""From the network's logits to detections: one threshold, no NMS, by the native module.

Every output token is a triplet (box, actor logit, action logits). A token is a detection when its
actor score is above `conf`; nothing else decides. Scores are computed in float64 and rounded to
float32, and compared with `conf` in float64, so that C++ and torch agree on every token; a test
holds the same in NumPy against it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.types import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """The actors of one keyframe, by falling score.

    Attributes:
        xyxy: (K, 4) float32, corners in pixels of the source frame.
        actor: (K,) float32, probability that somebody acts there.
        actions: (K, C) float32, probability of each action; they need not sum to one.
        token: (K,) int64, which output token each detection is.
    """

    xyxy: Floats
    actor: Floats
    actions: Floats
    token: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.token)


def decode(
    pred_boxes: Floats,
    pred_actor: Floats,
    pred_actions: Floats,
    *,
    conf: float,
    size_wh: tuple[int, int],
) -> Detections:
    """Keep the tokens whose actor score is above `conf`.

    Args:
        pred_boxes: (N, 4) float32, cxcywh in [0, 1].
        pred_actor: (N,) float32 logits.
        pred_actions: (N, C) float32 logits.
        conf: Threshold in [0, 1]; a score equal to it is not kept.
        size_wh: Width and height of the source frame, pixels.

    Returns:
        The detections, by falling actor score; ties by token.

    Raises:
        ConfigError: A shape or type differs, `conf` is not in [0, 1], or a size is below 1.
        DecodeError: A value is not finite.
    """
    from runtime import _native

    width, height = size_wh
    boxes, actor, actions = map(np.ascontiguousarray, (pred_boxes, pred_actor, pred_actions))
    found = _native.decode(boxes, actor, actions, conf, width, height)
    return Detections(xyxy=found[0], actor=found[1], actions=found[2], token=found[3])
