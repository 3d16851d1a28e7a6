"""Duplicate suppression inside the network, between neighbouring tokens.

Two tokens beside each other see nearly the same. On footage unlike that of the training both get a
middling actor logit for one person, which training cannot remove. So each token is compared with
the eight around it: where a neighbour has a higher actor logit and its box overlaps, the own logit
is lowered by `strength` times the difference. It is arithmetic on a small grid in the graph, seen
in training and run by every engine, so that decoding stays one threshold on p(actor).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Overlap (IoU) from which two boxes begin to be of one person, and above which they are.
FIRST_OVERLAP, FULL_OVERLAP = 0.5, 0.7
_STEEPNESS = 1 / (FULL_OVERLAP - FIRST_OVERLAP)
_LEAST_AREA = 1e-6


class NeighbourSuppression(nn.Module):
    """Lowers the actor logits of tokens whose box a neighbour claims with more confidence."""

    def __init__(self, strength: float, grid_hw: tuple[int, int]) -> None:
        """Take the share of the difference by which a logit falls, and rows and columns of tokens.

        No weights: two thresholds on the overlap and the strength are all there is.
        """
        super().__init__()
        self.strength = strength
        self.grid_hw = grid_hw

    def forward(self, boxes: Tensor, actor: Tensor) -> Tensor:
        """Compare each token with its neighbours in its own slice.

        Args:
            boxes: (B, N, 4) cxcywh in [0, 1]; no gradient goes into them. Token index = (slice * H
                + row) * W + column.
            actor: (B, N) logits.

        Returns:
            (B, N) logits; those of tokens without a better neighbour are unchanged.
        """
        if self.training:
            boxes = boxes.detach()
        # At most three dimensions: where channels lie behind the grid, XNNPACK (as of ExecuTorch
        # 1.5.1) cuts and joins along the wrong one.
        numbers = boxes.permute(2, 0, 1)  # (4, B, N)
        centre, side = numbers[:2], numbers[2:]
        half = side * 0.5
        # Low corners with their sign turned: then both borders of what two boxes share are minima
        # (Vulkan has no maximum).
        corners = [half - centre, half + centre]
        mine = torch.cat([*corners, side[:1] * side[1:], actor.reshape(1, *actor.shape)])
        around = _around(mine.reshape(-1, *self.grid_hw)).view(8, 6, -1)
        mine = mine.reshape(1, 6, -1)
        borders = torch.minimum(mine[:, :4], around[:, :4])
        shared = torch.relu(borders[:, :2] + borders[:, 2:])
        common = shared[:, :1] * shared[:, 1:]
        overlap = common / (mine[:, 4:5] + around[:, 4:5] - common + _LEAST_AREA)
        same = (overlap * _STEEPNESS - FIRST_OVERLAP * _STEEPNESS).clamp(0, 1)
        fall = same * torch.relu(around[:, 5:] - mine[:, 5:]) * -self.strength
        while fall.shape[0] > 1:  # a delegate takes no minimum over a dimension
            first, second = fall[: fall.shape[0] // 2], fall[fall.shape[0] // 2 :]
            fall = torch.minimum(first, second)
        return actor + fall.reshape(actor.shape)


def _around(grid: Tensor) -> Tensor:
    """Return what lies in eight directions of each place of (M, H, W), (8 * M, H, W); else 0.

    A box of 0 beyond the border has no area and overlaps nothing. Not by padding: XNNPACK takes one
    and then refuses it ("Failed to create StaticConstantPad").
    """
    rows, columns = grid.shape[1:]
    nothing = grid[:, :1] * 0
    wide = torch.cat([nothing, grid, nothing], dim=1)
    nothing = wide[:, :, :1] * 0
    wide = torch.cat([nothing, wide, nothing], dim=2)
    near = []
    for row in range(3):
        line = wide[:, row : row + rows]
        for column in range(3):
            if (row, column) != (1, 1):
                near.append(line[:, :, column : column + columns])
    return torch.cat([torch.cat(near[:4]), torch.cat(near[4:])])  # it joins at most five at once
