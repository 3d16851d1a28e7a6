"""Two stages: somebody else's person boxes, RoIAlign on the space-time features, action head.

As in the published two-stage recipe of MViTv2: the features are averaged over time, each box is
pooled by RoIAlign and a maximum over its bins, and a head gives one logit an action. Whether a box
is an actor is the detector's score; the actions alone are learned.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edge.model.baselines.roi_align import roi_align
from edge.model.bmvit import BMViT, BMViTConfig
from edge.model.heads import TokenMLP

ROI_SIZE = 7
_LEAST_SCORE = 1e-4


class TwoStage(BMViT):
    """Clips and boxes in, one triplet per box out; the same outputs as `BMViT` for K boxes."""

    def __init__(self, config: BMViTConfig) -> None:
        """Build the model with random weights; of `config.heads` the action head is taken."""
        super().__init__(config)
        self.suppression = None
        head: TokenMLP = self.heads.actions
        del self.heads
        self.action_head = head

    def forward(  # type: ignore[override]
        self, clip_ncthw: Tensor, boxes_xyxy: Tensor, scores: Tensor
    ) -> dict[str, Tensor]:
        """Predict the actions of boxes.

        Args:
            clip_ncthw: Normalised RGB clips (B, 3, T, H, W), float32.
            boxes_xyxy: (B, K, 4) corners in [0, 1]; rows of nobody are zero.
            scores: (B, K) the detector's scores in [0, 1]; 0 for nobody.
        """
        return self.triplets_of(self._slices(clip_ncthw), boxes_xyxy, scores)

    def triplets_of(
        self, slices: Sequence[Tensor], boxes_xyxy: Tensor, scores: Tensor
    ) -> dict[str, Tensor]:
        """Turn T' temporal slices (B, C, H', W') and boxes into what `forward` returns."""
        mean = slices[0]
        for one in slices[1:]:
            mean = mean + one
        mean = mean * (1.0 / len(slices))
        batch, count = boxes_xyxy.shape[:2]
        bins = roi_align(mean.to(boxes_xyxy.dtype), boxes_xyxy, size=ROI_SIZE)
        pooled = bins.flatten(3).amax(-1)  # (B, K, C)
        tokens = pooled.reshape(batch * count, -1, 1, 1)
        actions = self.action_head(tokens).reshape(batch, count, -1)
        low, high = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
        return {
            "pred_boxes": torch.cat([(low + high) / 2, high - low], dim=-1),
            "pred_actor": scores.clamp(_LEAST_SCORE, 1 - _LEAST_SCORE).logit(),
            "pred_actions": actions,
        }


class TwoStageWithBoxes(BMViT):
    """A two-stage model on fixed boxes: what is exported, since an engine takes a clip alone.

    The work is that of any other K boxes; a program for a device takes them as a second input.
    """

    boxes_xyxy: Tensor
    scores: Tensor

    def __init__(self, model: TwoStage, boxes_xyxy: Tensor) -> None:
        """Take a trained model and boxes (1, K, 4)."""
        nn.Module.__init__(self)
        self.config, self.backbone = model.config, model.backbone
        self.out_grid, self.token_selection = model.out_grid, model.token_selection
        self.two_stage = model
        self.register_buffer("boxes_xyxy", boxes_xyxy)
        self.register_buffer("scores", torch.full(boxes_xyxy.shape[:2], 0.9))

    def triplets(self, slices: Sequence[Tensor]) -> dict[str, Tensor]:
        """Turn T' temporal slices of one clip into the triplets of the boxes."""
        return self.two_stage.triplets_of(slices, self.boxes_xyxy, self.scores)
