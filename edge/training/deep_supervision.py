"""Optional losses on the features before the last stage, in training only.

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
from runtime.errors import ConfigError


class EarlyHeads(nn.Module):
    """Heads on what a compact backbone hands to its last stage."""

    def __init__(self, model: BMViT) -> None:
        """Listen at the last block before the last stage.

        Raises:
            ConfigError: The backbone has no such place on the output's grid.
        """
        super().__init__()
        config = model.config.backbone
        if not isinstance(config, CompactConfig) or not config.strides or config.strides[-1] != 1:
            raise ConfigError(
                f"--loss-early needs a compact backbone whose last stage keeps its grid; "
                f"{model.config.variant} has none"
            )
        self._selection = model.token_selection
        channels = config.channels[-2]
        slices = num_slices(self._selection, model.out_grid[0])
        self.norm = nn.BatchNorm2d(channels)
        self.heads = DetectionHeads(
            channels, model.config.num_classes, model.out_grid[1:], model.config.heads, slices
        )
        self._kept: Tensor | None = None
        blocks = cast(nn.ModuleList, model.backbone.blocks)
        blocks[sum(config.depths[:-1]) - 1].register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        self._kept = output

    def forward(self, batch: int) -> dict[str, Tensor]:
        """Return the outputs for the clips that the model has just seen, named as the model's."""
        assert self._kept is not None, "the model has not run"
        features = torch.relu(self.norm(self._kept))  # (B*T', C, H', W')
        self._kept = None
        slices = list(features.view(batch, -1, *features.shape[1:]).unbind(1))
        where, what = select(slices, self._selection)
        return named_triplets(self.heads(merge_slices(where), merge_slices(what)), batch)
