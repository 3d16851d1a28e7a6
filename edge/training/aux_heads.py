"""Optional losses on features before the last ones, in training only.

A set of heads of its own reads them as the model's heads read the last features; the model that is
saved knows nothing of it.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from edge.model.bmvit import BMViT, named_triplets
from edge.model.compact import CompactConfig
from edge.model.heads import DetectionHeads
from edge.model.selection import merge_slices, num_slices, select
from edge.model.stem_mvit import StemMViTConfig
from edge.training.taps import Tap
from runtime.errors import ConfigError


class AuxiliaryHeads(nn.Module):
    """Heads on what a compact backbone hands to its last stage, or to its last block."""

    def __init__(self, model: BMViT) -> None:
        """Listen at the last block before the last stage, of a single stage at its last but one.

        Raises:
            ConfigError: The backbone has no such place on the output's grid.
        """
        super().__init__()
        block, channels = _place(model)
        self._selection = model.token_selection
        slices = num_slices(self._selection, model.out_grid[0])
        self.norm = nn.BatchNorm2d(channels)
        self.heads = DetectionHeads(
            channels, model.config.num_classes, model.out_grid[1:], model.config.heads, slices
        )
        blocks = cast(nn.ModuleList, model.backbone.blocks)
        self.tap = Tap(blocks[block], output=True)

    def forward(self, batch: int) -> dict[str, Tensor]:
        """Return the outputs for the clips that the model has just seen, named as the model's."""
        features = torch.relu(self.norm(self.tap.take()))  # (B*T', C, H', W')
        slices = list(features.view(batch, -1, *features.shape[1:]).unbind(1))
        where, what = select(slices, self._selection)
        return named_triplets(self.heads(merge_slices(where), merge_slices(what)), batch)


def _place(model: BMViT) -> tuple[int, int]:
    """Return which block is listened to, and the width of its output."""
    config = model.config.backbone
    keeps_grid = isinstance(config, StemMViTConfig) or (
        isinstance(config, CompactConfig) and bool(config.strides) and config.strides[-1] == 1
    )
    if keeps_grid:
        assert isinstance(config, StemMViTConfig | CompactConfig)
        if len(config.depths) > 1:
            return sum(config.depths[:-1]) - 1, config.channels[-2]
        if config.depths[0] > 1:
            return config.depths[0] - 2, config.channels[0]
    raise ConfigError(
        "--loss-aux needs a compact backbone whose last stage keeps its grid, and a block before "
        f"it; {model.config.variant} has none"
    )
