"""Row of the published MViTv2-S, its last stage kept at stride 16."""

from __future__ import annotations

from edge.model.backbones.protocol import Backbone
from edge.model.bmvit import BMViTConfig
from edge.model.heads import HeadConfig
from edge.model.mvit import MViTConfig

BACKBONE = Backbone(
    kind="mvit",
    config=MViTConfig,
    variants={
        "small": BMViTConfig(
            variant="small", backbone=MViTConfig(), num_classes=1, heads=HeadConfig(num_layers=3)
        )
    },
)
