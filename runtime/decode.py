"""From the network's logits to detections: one threshold, no NMS. Twin of the native decode.

Every output token is a triplet (box, actor logit, action logits). A token is a detection when its
actor score is above `conf`; nothing else decides. Scores are computed in float64 and rounded to
float32, and compared with `conf` in float64, so that NumPy, C++ and torch agree on every token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.errors import ConfigError, DecodeError

Floats = npt.NDArray[np.float32]


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
    if not 0.0 <= conf <= 1.0:
        raise ConfigError(f"conf is {conf}, expected a value in [0, 1]")
    width, height = size_wh
    if width < 1 or height < 1:
        raise ConfigError(f"size_wh is {size_wh}, expected at least 1 pixel each")
    _check(pred_boxes, pred_actor, pred_actions)
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


def _check(pred_boxes: Floats, pred_actor: Floats, pred_actions: Floats) -> None:
    tokens = len(pred_actor) if pred_actor.ndim == 1 else -1
    fits = pred_boxes.shape == (tokens, 4) and pred_actions.shape[:1] == (tokens,)
    if not fits or pred_actions.ndim != 2:
        raise ConfigError(
            f"got pred_boxes {pred_boxes.shape}, pred_actor {pred_actor.shape}, pred_actions "
            f"{pred_actions.shape}; expected (N, 4), (N,), (N, C)"
        )
    values = {"pred_boxes": pred_boxes, "pred_actor": pred_actor, "pred_actions": pred_actions}
    for name, value in values.items():
        if value.dtype != np.float32:
            raise ConfigError(f"got {name} as {value.dtype}, expected float32")
        bad = np.flatnonzero(~np.isfinite(value))
        if len(bad):
            raise DecodeError(
                f"{name} holds {value.flat[bad[0]]} at {bad[0]}: the engine computed nonsense; "
                "export again, or choose another artifact"
            )
