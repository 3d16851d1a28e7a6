"""The set criterion: losses of the tokens that are matched to people, and of all others.

Every loss is a sum over the batch divided by the number of people in it, over all processes, so
that a clip with one person weighs no more than a sixth of a clip with six, however the batch was
cut into pieces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from edge.training.bags import PartialLabels, bag_logits, likeliest, tokens_a_person
from edge.training.boxes import cxcywh_to_xyxy, generalized_iou, share_inside
from edge.training.loss_options import CriterionConfig, LossForm
from edge.training.matcher import HungarianMatcher, Matches
from edge.training.targets import PackedTargets


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """What one batch costs.

    Attributes:
        total: The weighted sum, to be differentiated.
        parts: Each loss without its weight, detached.
        matches: Which tokens answered for whom.
    """

    total: Tensor
    parts: dict[str, Tensor]
    matches: Matches


class SetCriterion:
    """Match, then compare."""

    def __init__(
        self, matcher: HungarianMatcher | None = None, config: CriterionConfig | None = None
    ) -> None:
        """Take a matcher and the weights; None takes the defaults of either."""
        self.matcher = matcher or HungarianMatcher()
        self.config = config or CriterionConfig()

    def __call__(
        self,
        outputs: Mapping[str, Tensor],
        targets: PackedTargets,
        *,
        num_people: float | None = None,
    ) -> Losses:
        """Return the losses of a batch.

        Args:
            outputs: `pred_boxes` (B, N, 4) cxcywh, `pred_actor` (B, N) logits, `pred_actions`
                (B, N, C) logits, of any float type.
            targets: The people of the same clips.
            num_people: What the sums are divided by (at least 1); None takes this batch's own
                people. Processes and accumulated parts of a batch share one number.

        Raises:
            TrainingError: An output is not finite; the message names the clips.
        """
        outputs = {name: value.float() for name, value in outputs.items()}
        matches = self.matcher(outputs, targets)
        people = targets.num_people if num_people is None else num_people
        return self.weigh(outputs, targets, matches, num_people=people)

    def weigh(
        self,
        outputs: Mapping[str, Tensor],
        targets: PackedTargets,
        matches: Matches,
        *,
        num_people: float,
    ) -> Losses:
        """Return the losses of a batch of matched tokens; arguments as above."""
        parts = self.compare(outputs, targets, matches)
        scale = 1.0 / max(1.0, num_people)
        parts = {name: value * scale for name, value in parts.items()}
        config = self.config
        total = (
            config.loss_actor * parts["actor"]
            + config.loss_bbox * parts["bbox"]
            + config.loss_giou * parts["giou"]
            + config.loss_action * parts["action"]
        )
        detached = {name: value.detach() for name, value in parts.items()}
        return Losses(total=total, parts=detached, matches=matches)

    def compare(
        self, outputs: Mapping[str, Tensor], targets: PackedTargets, matches: Matches
    ) -> dict[str, Tensor]:
        """Return the sum of each loss over a batch of matched tokens."""
        pair = (matches.clip, matches.token)
        boxes, actions = outputs["pred_boxes"][pair], outputs["pred_actions"][pair]
        wanted_boxes = targets.boxes[matches.clip, matches.person]
        wanted_actions = targets.labels[matches.clip, matches.person]
        _, giou = generalized_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(wanted_boxes))
        partial = PartialLabels.of(targets, matches)
        return {
            "actor": self._actor_loss(outputs, targets, pair, partial),
            "bbox": (boxes - wanted_boxes).abs().sum(),
            "giou": (1 - giou).sum(),
            "action": self._action_loss(actions, wanted_actions, partial),
        }

    def _action_loss(self, logits: Tensor, wanted: Tensor, partial: PartialLabels | None) -> Tensor:
        """Return the sum over what is known of each person, and over what is known of bags."""
        config = self.config
        if partial is None:
            return self._weighed(logits, wanted).sum()
        if config.weak_loss == "copy":
            wanted = torch.maximum(wanted, partial.in_bag.to(wanted.dtype))
            return (self._weighed(logits, wanted) * (partial.label_mask | partial.in_bag)).sum()
        loss = (self._weighed(logits, wanted) * partial.label_mask).sum()
        bags = bag_logits(logits, partial.in_bag, partial.bag, partial.size)
        there = torch.isfinite(bags)
        bags = bags.masked_fill(~there, 0.0)
        loss_of_bags = self._weighed(bags, torch.ones_like(bags)) * tokens_a_person(partial)
        return loss + (loss_of_bags * there).sum()

    def _weighed(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """Return the loss of each logit (K, C), positives by the weight of their class."""
        config = self.config
        loss = _classify(logits, wanted, config.action_loss, config)
        if config.class_weights:
            weights = torch.tensor(config.class_weights, device=loss.device)
            loss = torch.where(wanted > 0.5, loss * weights, loss)
        return loss

    def _actor_loss(
        self,
        outputs: Mapping[str, Tensor],
        targets: PackedTargets,
        pair: tuple[Tensor, Tensor],
        partial: PartialLabels | None,
    ) -> Tensor:
        config = self.config
        actor = outputs["pred_actor"]
        wanted = torch.zeros_like(actor)
        wanted[pair] = 1.0
        loss = _classify(actor, wanted, config.actor_loss, config)
        weight = torch.ones_like(actor)
        if config.actor_loss == "bce":
            weight.fill_(config.eos_coef)
        if config.duplicate_weight != 1.0:
            covers = _covers_somebody(outputs["pred_boxes"].detach(), targets)
            weight = torch.where(covers, weight * config.duplicate_weight, weight)
        if targets.ignored is not None:
            on_ignored = _covers_ignored(outputs["pred_boxes"].detach(), targets, targets.ignored)
            weight = weight.masked_fill(on_ignored, 0.0)
        weight[pair] = 1.0
        if partial is not None and config.weak_loss == "mil":
            # Of people who may act, the likeliest of each bag is a positive; others have no loss.
            actions = outputs["pred_actions"][pair].detach()
            doing = torch.where(partial.in_bag, actions.sigmoid(), -1.0).amax(1)
            score = torch.where(doing >= 0, actor[pair].detach().sigmoid() * doing, -1.0)
            chosen = likeliest(score, partial) & (score >= 0)
            weight[pair] = (~partial.ignore | chosen).to(weight.dtype)
        return (loss * weight).sum()


def _covers_somebody(boxes: Tensor, targets: PackedTargets) -> Tensor:
    """Return whether each token's box overlaps somebody by half or more, (B, N) bool."""
    if targets.boxes.shape[1] == 0:
        return torch.zeros(boxes.shape[:2], dtype=torch.bool, device=boxes.device)
    # Padding has no area and so overlaps nothing.
    iou, _ = generalized_iou(
        cxcywh_to_xyxy(boxes)[:, :, None], cxcywh_to_xyxy(targets.boxes)[:, None]
    )
    return iou.amax(-1) >= 0.5


def _covers_ignored(boxes: Tensor, targets: PackedTargets, ignored: Tensor) -> Tensor:
    """Return whether each token's box is on somebody of whom nothing is known, (B, N) bool.

    Such a box overlaps them by half or more, or lies in them with 0.7 of its own area, as the box
    of an upper body does; and it overlaps nobody who is known by half or more.
    """
    own, others = cxcywh_to_xyxy(boxes)[:, :, None], cxcywh_to_xyxy(ignored)[:, None]
    iou, _ = generalized_iou(own, others)
    on_them = (iou >= 0.5) | (share_inside(own, others) >= 0.7)
    return on_them.any(-1) & ~_covers_somebody(boxes, targets)


def _classify(logits: Tensor, wanted: Tensor, form: LossForm, config: CriterionConfig) -> Tensor:
    """Return the element-wise loss of logits against 0/1 targets."""
    loss = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    if form == "bce":
        return loss
    probability = logits.sigmoid()
    wrong = probability * (1 - wanted) + (1 - probability) * wanted
    balance = config.alpha * wanted + (1 - config.alpha) * (1 - wanted)
    return balance * wrong**config.gamma * loss
