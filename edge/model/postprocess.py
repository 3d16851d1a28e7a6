"""Turn raw model outputs into detections: one threshold, no NMS.

The rule, the same bit for bit in `runtime/decode.py` and in C++: scores are sigmoids computed in
float64 and rounded to float32; tokens with score > conf stay, sorted by score, ties by lower token
index; boxes go from cxcywh to corners, are clipped to [0, 1] and scaled to pixels in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from runtime.errors import ConfigError, DecodeError


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipDetections:
    """Detections of one clip, best first.

    Attributes:
        xyxy: Corners in pixels, (K, 4) float32.
        actor: p(actor), (K,) float32.
        actions: p(action) of each class, (K, C) float32.
        token: Index of the token that spoke, (K,) int64.
    """

    xyxy: Tensor
    actor: Tensor
    actions: Tensor
    token: Tensor


class PostProcess(nn.Module):
    """Decode a batch of outputs at one threshold."""

    def __init__(self, conf: float) -> None:
        """Set the threshold on p(actor).

        Raises:
            ConfigError: It is not in [0, 1].
        """
        super().__init__()
        if not 0 <= conf <= 1:
            raise ConfigError(f"conf must be between 0 and 1, got {conf}")
        self.conf = conf

    @torch.no_grad()
    def forward(
        self, outputs: Mapping[str, Tensor], sizes_wh: list[tuple[int, int]]
    ) -> list[ClipDetections]:
        """Decode every clip of a batch.

        Args:
            outputs: `pred_boxes` (B, N, 4) cxcywh, `pred_actor` (B, N) logits, `pred_actions`
                (B, N, C) logits.
            sizes_wh: Width and height of each keyframe, px.

        Raises:
            DecodeError: The outputs hold NaN or infinity.
            ConfigError: There is not one size per clip.
        """
        boxes, actor, actions = (
            outputs[key].detach().to("cpu", torch.float32)
            for key in ("pred_boxes", "pred_actor", "pred_actions")
        )
        if len(sizes_wh) != boxes.shape[0]:
            raise ConfigError(f"{boxes.shape[0]} clips need as many sizes, got {len(sizes_wh)}")
        for name, value in (("boxes", boxes), ("actor", actor), ("actions", actions)):
            if not torch.isfinite(value).all():
                raise DecodeError(
                    f"pred_{name} holds NaN or infinity: the weights or the artifact are broken"
                )
        return [
            self._decode_one(boxes[i], actor[i], actions[i], size)
            for i, size in enumerate(sizes_wh)
        ]

    def _decode_one(
        self, boxes: Tensor, actor: Tensor, actions: Tensor, size_wh: tuple[int, int]
    ) -> ClipDetections:
        scores = sigmoid_f32(actor)
        # a Python float threshold would be rounded to float32 by the comparison
        kept = torch.nonzero(scores.double() > self.conf).flatten()
        order = torch.sort(scores[kept], descending=True, stable=True).indices
        token = kept[order]
        return ClipDetections(
            xyxy=to_pixels(boxes[token], size_wh),
            actor=scores[token],
            actions=sigmoid_f32(actions[token]),
            token=token,
        )


def sigmoid_f32(logits: Tensor) -> Tensor:
    """Return the sigmoid computed in float64 and rounded to float32, as every decoder here does."""
    return (1.0 / (1.0 + torch.exp(-logits.double()))).float()


def to_pixels(boxes: Tensor, size_wh: tuple[int, int]) -> Tensor:
    """Turn cxcywh in [0, 1] (K, 4) into clipped corners in pixels (K, 4), all in float32."""
    centre, half = boxes[:, :2], boxes[:, 2:] * 0.5
    corners = torch.cat([centre - half, centre + half], dim=1).clamp(0.0, 1.0)
    scale = torch.tensor([*size_wh, *size_wh], dtype=torch.float32)
    return corners * scale
