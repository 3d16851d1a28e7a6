"""Bipartite matching of tokens and people.

The assignment of least total cost over all tokens and people of a clip, computed in every step, is
the target of the losses. The cost of a pair has an actor term and box terms, and none of actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from edge.training.boxes import cxcywh_to_xyxy, generalized_iou
from edge.training.loss_options import MatcherConfig
from edge.training.targets import PackedTargets
from runtime.errors import ConfigError, TrainingError

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """Pairs of token and person, K of them over the whole batch, on the model's device.

    Attributes:
        clip: Index of the clip of each pair, (K,) int64.
        token: Index of its token, (K,) int64.
        person: Index of its person within the clip, (K,) int64.
    """

    clip: Tensor
    token: Tensor
    person: Tensor

    def __len__(self) -> int:
        return self.token.shape[0]


class HungarianMatcher:
    """Find the assignment of least cost, for all clips of a batch."""

    def __init__(self, config: MatcherConfig | None = None) -> None:
        """Set the weights; None takes the defaults."""
        self.config = config or MatcherConfig()

    @torch.no_grad()
    def __call__(self, outputs: Mapping[str, Tensor], targets: PackedTargets) -> Matches:
        """Match tokens and people.

        Args:
            outputs: `pred_boxes` (B, N, 4) cxcywh and `pred_actor` (B, N) logits.
            targets: The people of the same B clips.

        Returns:
            min(N, people) pairs of each clip.

        Raises:
            TrainingError: A cost is NaN or infinite; the message names the clips.
            ConfigError: There are not as many targets as clips.
        """
        boxes, actor = outputs["pred_boxes"].detach(), outputs["pred_actor"].detach()
        if boxes.shape[0] != len(targets.counts):
            raise ConfigError(
                f"{boxes.shape[0]} clips need as many targets, got {len(targets.counts)}"
            )
        boxes, actor = boxes.float(), actor.float()
        cost = self.cost(boxes, actor, targets.boxes)
        # The last column finds what is not finite in clips without people.
        health = actor + boxes.sum(-1)
        # One transfer for the batch; SciPy works on the host.
        table = torch.cat([cost, health[:, :, None]], dim=2).cpu().numpy()
        return self._assign(table, targets, boxes.device)

    def cost(self, boxes: Tensor, actor: Tensor, people: Tensor) -> Tensor:
        """Return the cost of every pair, (B, N, M).

        Args:
            boxes: (B, N, 4) cxcywh.
            actor: (B, N) logits.
            people: (B, M, 4) cxcywh.
        """
        config = self.config
        token, person = boxes[:, :, None], people[:, None]
        distance = (token - person).abs().sum(-1)
        _, giou = generalized_iou(cxcywh_to_xyxy(token), cxcywh_to_xyxy(person))
        return (
            config.set_cost_class * self._actor_term(actor)[:, :, None]
            + config.set_cost_bbox * distance
            - config.set_cost_giou * giou
        )

    def _actor_term(self, actor: Tensor) -> Tensor:
        config = self.config
        probability = actor.sigmoid()
        if config.actor_cost == "probability":
            return -probability
        positive = config.alpha * (1 - probability) ** config.gamma * F.softplus(-actor)
        negative = (1 - config.alpha) * probability**config.gamma * F.softplus(actor)
        return positive - negative

    def _assign(self, table: Floats, targets: PackedTargets, device: torch.device) -> Matches:
        """Solve each clip of (B, N, M + 1) costs, the last column being no person."""
        finite = np.logical_and.reduce(np.isfinite(table), axis=1)
        pairs: list[npt.NDArray[np.int64]] = []
        bad: list[str] = []
        for clip, people in enumerate(targets.counts):
            if not (finite[clip, :people].all() and finite[clip, -1]):
                bad.append(targets.clip_ids[clip])
                continue
            token, person = linear_sum_assignment(table[clip, :, :people])
            pairs.append(np.stack([np.full_like(token, clip), token, person]))
        if bad:
            raise TrainingError(_not_finite(bad, len(targets.counts)))
        joined = np.concatenate(pairs, axis=1)
        clips, tokens, persons = torch.from_numpy(joined).to(device)
        return Matches(clip=clips, token=tokens, person=persons)


def _not_finite(bad: list[str], total: int) -> str:
    named = ", ".join(bad[:8]) + (f" and {len(bad) - 8} more" if len(bad) > 8 else "")
    return (
        f"the matching cost is NaN or infinite in {len(bad)} of the {total} clips of this batch: "
        f"{named}. The network's outputs or these targets are not finite: look at the clips, lower "
        f"--lr0, or use --precision fp32"
    )
