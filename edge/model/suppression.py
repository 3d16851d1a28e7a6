"""Duplicate suppression inside the network, between all tokens of a clip.

Several tokens see the same person. Each compares itself with all others: where another token has a
higher actor logit and its box overlaps, the own logit is lowered by `strength` times the
difference, at most by `MOST_FALL`. It is arithmetic on an N x N table in the graph, seen in
training and run by every engine, so that decoding stays one threshold on p(actor): no loop over
boxes and no sorting.

`neighbour_suppression.py` has the same between the eight neighbours of a token, which is less work
and enough where people are small: somebody who fills half of the frame is seen by tokens that lie
far apart.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edge.model.neighbour_suppression import FIRST_OVERLAP, FULL_OVERLAP

_STEEPNESS = 1 / (FULL_OVERLAP - FIRST_OVERLAP)
_LEAST_AREA = 1e-6
# Gradients grow with the strength. Afterwards a higher one parts tokens that are nearly equal.
MOST_IN_TRAINING = 8.0
# A logit falls by no more: further down it says nothing, and rounding would be multiplied. A whole
# number: PT2E makes tensors of fractions, and torch's ONNX exporter takes no clamp by a tensor.
MOST_FALL = 8


class PairSuppression(nn.Module):
    """Lowers the actor logits of tokens whose box another token claims with more confidence."""

    def __init__(self, strength: float) -> None:
        """Take the share of the difference by which a logit falls; there are no weights."""
        super().__init__()
        self.strength = strength

    def forward(self, boxes: Tensor, actor: Tensor) -> Tensor:
        """Compare each token with all others of its clip.

        Args:
            boxes: (B, N, 4) cxcywh in [0, 1]; no gradient goes into them.
            actor: (B, N) logits.

        Returns:
            (B, N) logits; those of tokens without a better overlapping one are unchanged.
        """
        strength = self.strength
        if self.training:
            boxes = boxes.detach()
            strength = min(strength, MOST_IN_TRAINING)
        batch, tokens = actor.shape
        cx, cy, w, h = (boxes[:, :, i : i + 1] for i in range(4))
        common: Tensor | None = None
        # Low corners with their sign turned: then both borders of what two boxes share are minima
        # (Vulkan has no maximum).
        for centre, side in ((cx, w), (cy, h)):
            half = side * 0.5
            low, high = half - centre, half + centre
            shared = torch.relu(
                torch.minimum(low, _across(low)) + torch.minimum(high, _across(high))
            )
            common = shared if common is None else common * shared
        assert common is not None
        area = w * h
        overlap = common / (area + _across(area) - common + _LEAST_AREA)
        same = (overlap * _STEEPNESS - FIRST_OVERLAP * _STEEPNESS).clamp(0, 1)
        mine = actor.reshape(batch, tokens, 1)
        fall = same * (torch.relu(_across(mine) - mine) * -strength).clamp(-MOST_FALL, 0)
        return actor + least_of(fall).reshape(batch, tokens)


def _across(column: Tensor) -> Tensor:
    """Turn (B, N, 1) into (B, 1, N)."""
    return column.reshape(column.shape[0], 1, column.shape[1])


def least_of(table: Tensor) -> Tensor:
    """Return the minimum over the last dimension, (B, N, 1): a delegate takes no reduction to it.

    The dimension is cut into as many equal parts as its smallest prime factor, and so on.
    """
    while table.shape[2] > 1:
        size = table.shape[2]
        parts = next(p for p in range(2, size + 1) if size % p == 0)
        width = size // parts
        least = table[:, :, :width]
        for part in range(1, parts):
            least = torch.minimum(least, table[:, :, part * width : (part + 1) * width])
        table = least
    return table
