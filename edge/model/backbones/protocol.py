"""What a backbone is to the rest of the project, and its row in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from edge.model.bmvit import BMViTConfig


@runtime_checkable
class FeatureBackbone(Protocol):
    """A module from clips to features.

    One that has `forward_slices(clip)`, the same features as T' tensors (B, C, H', W'), is exported
    without a 5D tensor; one with `steps` and `trunk` (`StepBackbone`) also shares the work of
    clips that overlap.

    Attributes:
        out_channels: Width C of the features.
        out_grid: Positions (T', H', W') of the features.
    """

    out_channels: int
    out_grid: tuple[int, int, int]

    def forward(self, clip_ncthw: Tensor) -> Tensor:
        """Map normalised RGB clips (B, 3, T, H, W) to features (B, C, T', H', W')."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """A row of the registry: one kind of backbone.

    Attributes:
        kind: What checkpoints call it.
        config: Class of its configuration, a `BackboneConfig`; its `build` gives the module.
        variants: Whole models by the names that the command line takes, with one class each.
    """

    kind: str
    config: type
    variants: Mapping[str, BMViTConfig]
