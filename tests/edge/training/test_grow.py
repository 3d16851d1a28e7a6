"""A larger model that begins as a smaller one: equal outputs, parted copies, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from edge.model.bmvit import BMViT
from edge.model.compact import CompactConfig
from edge.model.mvit import MViTConfig
from edge.model.variants import build_model
from edge.training.grow import grow
from runtime.errors import ConfigError

torch.set_num_threads(1)

SMALL: dict[str, Any] = {
    "height": 64, "width": 64, "stem_channels": 4, "channels": (8, 16, 24), "depths": (1, 2, 1),
    "head_channels": 8,
}  # fmt: skip
LARGE = SMALL | {
    "stem_channels": 8, "channels": (16, 32, 48), "depths": (2, 2, 2), "head_channels": 16
}  # fmt: skip


def trained(**changes: Any) -> BMViT:
    """Return a small model whose weights and statistics are those of no fresh one."""
    model = build_model("pico-scratch", num_classes=3, seed=1, **(SMALL | changes))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter += 0.5 * noise * parameter.abs().mean()
        model.train()
        for _ in range(5):
            model(torch.randn(2, *model.config.clip_shape[1:], generator=generator))
    return model.eval()


def fresh(**changes: Any) -> BMViT:
    return build_model("pico-scratch", num_classes=3, seed=3, **(LARGE | changes)).eval()


@pytest.mark.parametrize("times", [1, 2, 3])
def test_it_computes_what_the_smaller_one_does(times: int) -> None:
    small = trained()
    large = fresh(
        stem_channels=4 * times,
        channels=tuple(c * times for c in SMALL["channels"]),
        head_channels=8 * times,
    )
    grow(small, large)
    clip = torch.randn(2, *small.config.clip_shape[1:])
    with torch.no_grad():
        before, after = small(clip), large(clip)
    for name, value in before.items():
        assert value.std() > 1e-3
        torch.testing.assert_close(after[name], value, atol=2e-5, rtol=1e-4)


def test_copies_part_ways_and_new_blocks_learn() -> None:
    small, large = trained(), fresh()
    grow(small, large)
    large.train()
    outputs = large(torch.randn(2, *small.config.clip_shape[1:]))
    sum(value.square().mean() for value in outputs.values()).backward()
    gradient = large.backbone.blocks[0].mlp[0].conv.weight.grad
    twins = gradient[0::2], gradient[1::2]
    assert not torch.allclose(*twins, rtol=0.05)
    fresh_block = large.backbone.blocks[1]
    assert fresh_block.mlp[-1].norm.weight.grad.abs().sum() > 0


def test_it_may_see_a_larger_picture() -> None:
    small, large = trained(), fresh(height=96, width=128)
    grow(small, large)
    with torch.no_grad():
        outputs = large(torch.randn(large.config.clip_shape))
    assert all(bool(torch.isfinite(value).all()) for value in outputs.values())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channels": (16, 32, 64)}, "not one whole multiple"),
        ({"stem_channels": 4}, "not one whole multiple"),
        ({"depths": (1, 1, 1)}, "blocks"),
        ({"taps": 1}, "taps is 1, there 3"),
        ({"token_selection": "centre"}, "token_selection"),
    ],
)
def test_another_form_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        grow(trained(), fresh(**changes))


def test_only_compact_models_grow() -> None:
    class Other(nn.Module):
        def __init__(self, model: BMViT) -> None:
            super().__init__()
            self.config = replace(model.config, backbone=MViTConfig())

    with pytest.raises(ConfigError, match="only models without a pretrained stem"):
        grow(trained(), Other(fresh()))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a nano cannot be grown from a pico"):
        grow(build_model("pico", num_classes=2), build_model("nano", num_classes=2))


def test_nano_grows_from_pico() -> None:
    pico, nano = (build_model(f"{name}-scratch", num_classes=2) for name in ("pico", "nano"))
    grow(pico, nano)
    assert isinstance(nano.config.backbone, CompactConfig)
    with pytest.raises(ConfigError, match="not one whole multiple"):
        grow(nano, build_model("tiny-scratch", num_classes=2))
