"""A second set of heads with several tokens a person, in training only.

With one token a person, few of the tokens of a clip have a target for box and actions. The second
heads read the same features and are matched to people one to many, so that more tokens learn. They
are not part of the saved model. (One-to-many beside one-to-one assignment: H-DETR, arXiv
2207.13080; YOLOv10, arXiv 2405.14458.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from edge.model.bmvit import BMViT, named_triplets
from edge.model.heads import DetectionHeads, HeadConfig, reference_logits
from edge.model.selection import num_slices
from edge.training.matcher import HungarianMatcher, Matches
from edge.training.taps import Tap
from edge.training.targets import PackedTargets

MOST_TOKENS = 8
"""Most tokens of one person."""
MEAN_TOKENS = 4
"""What their losses are divided by, about as many as a person has; a constant, so that a batch may
be cut into pieces as one likes."""


class OneToManyHeads(nn.Module):
    """Heads like the model's own, on what the model's own read."""

    def __init__(self, model: BMViT) -> None:
        """Listen at the model's heads."""
        super().__init__()
        slices = num_slices(model.token_selection, model.out_grid[0])
        self.heads = DetectionHeads(
            cast(int, model.backbone.out_channels),
            model.config.num_classes,
            model.out_grid[1:],
            model.config.heads,
            slices,
        )
        # From --init these begin with what the model's own heads know.
        self.heads.load_state_dict(model.heads.state_dict())
        self.tap = Tap(model.heads)

    def forward(self, batch: int) -> dict[str, Tensor]:
        """Return the outputs for the clips that the model has just seen, named as the model's."""
        return named_triplets(self.heads(*self.tap.take()), batch)


class OneToManyMatcher:
    """Give each person the tokens that lie on them, the cheapest first, up to `most`."""

    def __init__(self, matcher: HungarianMatcher, most: int = MOST_TOKENS) -> None:
        """Take the cost of another matcher."""
        self.matcher, self.most = matcher, most

    @torch.no_grad()
    def __call__(
        self, outputs: Mapping[str, Tensor], targets: PackedTargets, centres: Tensor
    ) -> Matches:
        """Match tokens and people.

        Args:
            outputs: `pred_boxes` (B, N, 4) cxcywh and `pred_actor` (B, N) logits.
            targets: The people of the same clips.
            centres: (N, 2) x and y of each token's own place in [0, 1].

        Returns:
            Pairs; a person has at least one token unless a nearer person takes it, a token has at
            most one person.
        """
        people = targets.boxes
        most = people.shape[1]
        if most == 0:
            empty = torch.zeros(0, dtype=torch.int64, device=people.device)
            return Matches(clip=empty, token=empty, person=empty)
        boxes, actor = outputs["pred_boxes"].detach(), outputs["pred_actor"].detach()
        cost = self.matcher.cost(boxes.float(), actor.float(), people)  # (B, N, M)
        away = (centres[None, :, None] - people[:, None, :, :2]).abs() * 2  # (B, N, M, 2)
        inside = (away <= people[:, None, :, 2:]).all(-1)
        # Places outside come behind all places inside, the nearest first.
        cost = torch.where(inside, cost, 1e3 + 1e3 * away.sum(-1))
        count = inside.sum(1).clamp(1, self.most)  # (B, M)
        there = (
            torch.arange(most, device=people.device)
            < torch.tensor(targets.counts, device=people.device)[:, None]
        )
        rank = cost.argsort(dim=1).argsort(dim=1)
        chosen = (rank < count[:, None]) & there[:, None]
        cost = cost.masked_fill(~chosen, torch.inf)
        best, person = cost.min(dim=2)  # (B, N)
        clip, token = torch.isfinite(best).nonzero(as_tuple=True)
        return Matches(clip=clip, token=token, person=person[clip, token])


def token_centres(model: BMViT) -> Tensor:
    """Return x and y of each token's own place, (N, 2) in [0, 1]."""
    slices = num_slices(model.token_selection, model.out_grid[0])
    reference = reference_logits(model.out_grid[1:], HeadConfig(), slices).sigmoid()
    return reference[:, :2].permute(0, 2, 3, 1).reshape(-1, 2)
