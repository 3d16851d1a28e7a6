"""Row of the compact multiscale vision transformer on a pretrained stem."""

from __future__ import annotations

from edge.model.backbones.protocol import Backbone
from edge.model.bmvit import BackboneConfig, BMViTConfig
from edge.model.heads import HeadConfig
from edge.model.stem_mvit import STEM_VARIANTS, StemMViTConfig

# The published stems take RGB scaled to [-1, 1].
STEM_MEAN = STEM_STD = (0.5, 0.5, 0.5)

# Real people fill much of a frame: many tokens that lie far apart see one of them.
STEM_HEADS = HeadConfig(suppression_strength=8.0, suppression="all")


def on_stem(name: str, backbone: BackboneConfig) -> BMViTConfig:
    """Return the model around a backbone that begins with a published stem."""
    return BMViTConfig(
        variant=name, backbone=backbone, num_classes=1, token_selection="centre_mean",
        heads=STEM_HEADS, mean=STEM_MEAN, std=STEM_STD,
    )  # fmt: skip


BACKBONE = Backbone(
    kind="stem-mvit",
    config=StemMViTConfig,
    variants={name: on_stem(name, config) for name, config in STEM_VARIANTS.items()},
)
