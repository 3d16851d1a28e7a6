"""Counting agrees with hand counts and with the published figures."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edge.model.complexity import count
from edge.model.mvit import MViTConfig
from edge.model.variants import build_model


def test_a_convolution_counts_as_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    result = count(model, (1, 3, 10, 12))
    assert result.params == (3 * 9 * 8 + 8) + (8 * 4 + 4)
    assert result.macs == 120 * (27 * 8 + 8 * 4)
    assert result.macs_by_module["0"] == 120 * 27 * 8
    assert result.gflops == pytest.approx(2 * result.macs / 1e9)


def test_attention_products_are_counted() -> None:
    config = MViTConfig(
        num_frames=2, height=16, width=16, depth=1, embed_dim=8, stage_starts=(), q_pool_at=(),
        kv_stride=(1, 1, 1), rel_pos_spatial=False, rel_pos_temporal=False,
    )  # fmt: skip
    result = count(config.build(), (1, 3, 2, 16, 16))
    tokens, dim = 16, 8
    linears = tokens * dim * dim * (3 + 1 + 4 + 4)
    products = 2 * tokens * tokens * dim
    pools = 3 * tokens * dim * 27
    embed = tokens * dim * 3 * 3 * 7 * 7
    assert result.macs == linears + products + pools + embed


@pytest.mark.parametrize(
    ("config", "expected_gmac"),
    [
        pytest.param(MViTConfig.published(), 64.224, id="published-16x224"),
        pytest.param(MViTConfig(), 110.0, id="detector-16x256"),
    ],
)
def test_mvitv2_s_counts_as_published(config: MViTConfig, expected_gmac: float) -> None:
    with torch.device("meta"):
        model = config.build()
    result = count(model, (1, 3, config.num_frames, config.height, config.width))
    assert result.macs / 1e9 == pytest.approx(expected_gmac, rel=2e-3)


@pytest.mark.parametrize(
    ("variant", "low", "high"),
    [
        ("pico-scratch", 0.3, 0.6),
        ("nano-scratch", 2.5, 3.5),
        ("tiny-scratch", 9.0, 13.0),
        ("pico", 2.4, 2.9),
        ("nano", 5.0, 5.8),
        ("tiny", 15.0, 16.5),
    ],
)
def test_compact_variants_keep_to_their_budget(variant: str, low: float, high: float) -> None:
    model = build_model(variant, num_classes=80, seed=0)
    result = count(model, model.config.clip_shape)
    assert low < result.gflops < high
    assert model.training
    parts = result.macs_by_module
    assert parts[""] == parts["backbone"] + parts["heads"]
    assert parts["heads"] < 0.05 * result.macs
