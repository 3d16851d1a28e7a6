"""The loss of labels that name no person: at least one person of a bag does the action.

It is the negative log-likelihood of a noisy-or over the bag (multiple-instance learning: Maron and
Lozano-Perez, 1998). The gradient goes mostly to the person with the highest p(action); a bag of one
person is an ordinary label.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from edge.training.matcher import Matches
from edge.training.targets import PackedTargets

# Below it softplus(x) = exp(x) to float32, and the sum of a bag is taken in logarithms.
_TINY_LOGIT = -20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialLabels:
    """What is not known of the people whom the tokens of K pairs are matched with.

    Attributes:
        label_mask: (K, C) bool, whether the label is known.
        in_bag: (K, C) bool, whether at least one of the person's bag does it.
        ignore: (K,) bool, whether it is not known that the person acts at all.
        bag: (K,) the bag of each person, from 0; means nothing where `in_bag` is false.
        person: (K,) a number for each person of the batch.
        size: More than any of these numbers.
    """

    label_mask: Tensor
    in_bag: Tensor
    ignore: Tensor
    bag: Tensor
    person: Tensor
    size: int

    @staticmethod
    def of(targets: PackedTargets, matches: Matches) -> PartialLabels | None:
        """Return what is not known; None where every label of the batch is known."""
        if targets.label_mask is None or targets.bag_id is None:
            return None
        pair = (matches.clip, matches.person)
        label_mask, bag_id = targets.label_mask[pair], targets.bag_id[pair]
        clips, most = targets.label_mask.shape[:2]
        return PartialLabels(
            label_mask=label_mask,
            in_bag=bag_id >= 0,
            # Whoever has a label acts, whatever else is unknown.
            ignore=~(targets.labels[pair] > 0.5).any(1) & ~label_mask.all(1),
            bag=bag_id.amax(1).clamp(min=0),
            person=matches.clip * most + matches.person,
            size=clips * most,
        )


def bag_logits(logits: Tensor, member: Tensor, bag: Tensor, num_bags: int) -> Tensor:
    """Return the logit of "at least one of the bag does it", for each bag and class.

    With p = sigmoid(x): 1 - prod(1 - p) has the logit log(exp(sum softplus(x)) - 1).

    Args:
        logits: (K, C).
        member: (K, C) bool, which entries the bags are made of.
        bag: (K,) the bag of each row.
        num_bags: G.

    Returns:
        (G, C); minus infinity, without a gradient, where a bag has no entry.
    """
    shape = (num_bags, logits.shape[1])
    index = bag[:, None].expand_as(logits)
    low = torch.finfo(logits.dtype).min
    masked = logits.masked_fill(~member, low)
    highest = torch.full(shape, low, dtype=logits.dtype, device=logits.device)
    highest = highest.scatter_reduce(0, index, masked.detach(), "amax")
    empty = highest == low
    # In logarithms, for bags of which every p is tiny.
    top = highest.masked_fill(empty, 0.0)
    shares = torch.where(member, (masked - top[bag]).clamp(max=0.0).exp(), 0.0)
    summed = torch.zeros_like(highest).index_add(0, bag, shares)
    small = top + summed.masked_fill(empty, 1.0).log()
    # As it stands, for all others.
    is_tiny = highest < _TINY_LOGIT
    terms = torch.where(member, F.softplus(logits), 0.0)
    none = torch.zeros_like(highest).index_add(0, bag, terms).masked_fill(is_tiny | empty, 1.0)
    large = none + torch.log(-torch.expm1(-none))
    return torch.where(is_tiny, small, large).masked_fill(empty, -torch.inf)


def likeliest(score: Tensor, partial: PartialLabels) -> Tensor:
    """Return which pairs are of the person with the highest score of their bag, (K,) bool."""
    best = torch.full((partial.size,), -torch.inf, device=score.device)
    best = best.scatter_reduce(0, partial.bag, score, "amax")
    top = score == best[partial.bag]
    # All tokens of that person, where several answer for one.
    persons = torch.zeros(partial.size, dtype=torch.bool, device=score.device)
    persons[partial.person[top]] = True
    return persons[partial.person]


def tokens_a_person(partial: PartialLabels) -> Tensor:
    """Return for each class and bag how many tokens answer for a person on average, (G, C).

    One statement about a bag then weighs what a label of one person weighs, also where several
    tokens carry such a label.
    """
    member = partial.in_bag.float()
    counts = torch.zeros(partial.size, device=member.device)
    counts = counts.index_add(0, partial.person, torch.ones_like(partial.person).float())
    shape = (partial.size, member.shape[1])
    zeros = torch.zeros(shape, device=member.device)
    tokens = zeros.index_add(0, partial.bag, member)
    people = zeros.index_add(0, partial.bag, member / counts[partial.person][:, None])
    return tokens / people.clamp(min=1.0)
