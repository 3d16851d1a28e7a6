"""Row of the compact multiscale vision transformer without a pretrained stem."""

from __future__ import annotations

from edge.model.backbones.protocol import Backbone
from edge.model.bmvit import BMViTConfig
from edge.model.compact import COMPACT_VARIANTS, CompactConfig

BACKBONE = Backbone(
    kind="compact",
    config=CompactConfig,
    variants={
        f"{name}-scratch": BMViTConfig(variant=f"{name}-scratch", backbone=config, num_classes=1)
        for name, config in COMPACT_VARIANTS.items()
    },
)
