"""The model: backbones, token selections, heads, variants, weights; it imports torch."""

from __future__ import annotations

from edge.model.bmvit import BMViT, BMViTConfig
from edge.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edge.model.complexity import Complexity, count
from edge.model.pretrained import load_pretrained
from edge.model.variants import VARIANTS, build_model, with_suppression

__all__ = [
    "VARIANTS",
    "BMViT",
    "BMViTConfig",
    "Checkpoint",
    "Complexity",
    "build_model",
    "count",
    "load_checkpoint",
    "load_pretrained",
    "save_checkpoint",
    "with_suppression",
]
