"""A larger compact model that computes what a trained smaller one computes, to go on from there.

Each channel becomes several equal ones, and whatever read it reads its copies in shares that sum to
one; the shares are drawn, so that copies get different gradients and part ways. Blocks that the
smaller one lacks begin as their skip. (Function-preserving growth: Net2Net, arXiv 1511.05641.)
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from edge.model.bmvit import BMViT
from edge.model.compact import CompactConfig, CompactMViT
from edge.model.compact_blocks import Block, ConvPoolingAttention
from runtime.errors import ConfigError

logger = logging.getLogger(__name__)

_LOW_SHARE, _HIGH_SHARE = 0.3, 0.7
_SAME_BACKBONE = ("num_frames", "strides", "kv_strides", "kv_pairs", "step_stages", "local_kernel",
                  "step_embedding", "patch_hw", "mlp_ratio", "taps")  # fmt: skip
_SAME_MODEL = ("heads", "num_classes", "token_selection", "mean", "std")


def grow(small: BMViT, large: BMViT, *, seed: int = 0) -> None:
    """Give `large`, freshly built, weights with which it computes what `small` does.

    At the same input size and in evaluation mode the outputs are equal but for rounding. At another
    size it is what `small` would have computed there.

    Args:
        small: With trained weights.
        large: Of the same form: all widths the same whole multiple, as many stages, no stage with
            fewer blocks.
        seed: Of the shares.

    Raises:
        ConfigError: They are not of one form; the message says where.
    """
    width = _width(small, large)
    _check_alike(small, large)
    names = _sources(small, large)
    generator = torch.Generator().manual_seed(seed)
    wanted = dict(large.state_dict())
    weights = small.state_dict()
    convolutions = {
        f"{name}.weight" for name, module in large.named_modules() if isinstance(module, nn.Conv2d)
    }
    for name, tensor in wanted.items():
        if name not in names:
            continue
        source = weights[names[name]]
        wanted[name] = _expand(
            source, tensor, name=name, divided=name in convolutions, generator=generator
        )
    large.load_state_dict(wanted)
    with torch.no_grad():
        for module in large.modules():
            if isinstance(module, ConvPoolingAttention):
                # A score sums `width` times as many equal terms; its scale falls by the root.
                norm = cast(nn.BatchNorm2d, module.k.norm)
                norm.weight.mul_(width**-0.5)
                norm.bias.mul_(width**-0.5)
        fresh = _fresh_blocks(small, large)
        for block in fresh:
            _begin_as_skip(block)
    logger.info(
        "%s grown from %s: %d times as wide, %d blocks more",
        large.config.variant, small.config.variant, width, len(fresh),
    )  # fmt: skip


def _refusal(small: BMViT, large: BMViT, reason: str) -> ConfigError:
    return ConfigError(
        f"a {large.config.variant} cannot be grown from a {small.config.variant}: {reason}"
    )


def _backbones(small: BMViT, large: BMViT) -> tuple[CompactConfig, CompactConfig]:
    before, after = small.config.backbone, large.config.backbone
    if not isinstance(before, CompactConfig) or not isinstance(after, CompactConfig):
        raise _refusal(small, large, "only models without a pretrained stem (pico-scratch, "
                       "nano-scratch, tiny-scratch) grow")  # fmt: skip
    return before, after


def _width(small: BMViT, large: BMViT) -> int:
    before, after = _backbones(small, large)
    pairs = [
        (before.stem_channels, after.stem_channels),
        (before.head_channels, after.head_channels),
        *zip(before.channels, after.channels, strict=False),
    ]
    ratios = {b / a for a, b in pairs}
    ratio = after.stem_channels // before.stem_channels
    if len(before.channels) != len(after.channels) or ratios != {float(ratio)} or ratio < 1:
        raise _refusal(
            small, large,
            f"widths {after.stem_channels}, {after.channels}, heads of {after.head_channels} are "
            f"not one whole multiple of {before.stem_channels}, {before.channels}, "
            f"{before.head_channels}",
        )  # fmt: skip
    return ratio


def _check_alike(small: BMViT, large: BMViT) -> None:
    before, after = _backbones(small, large)
    # Suppression has no weights: the larger one may have its own strength.
    strength = large.config.heads.suppression_strength
    heads = replace(small.config.heads, suppression_strength=strength)
    config = replace(small.config, heads=heads)
    fields = [(name, getattr(before, name), getattr(after, name)) for name in _SAME_BACKBONE]
    fields += [(name, getattr(config, name), getattr(large.config, name)) for name in _SAME_MODEL]
    for name, mine, theirs in fields:
        if mine != theirs:
            raise _refusal(small, large, f"{name} is {theirs}, there {mine}")
    if any(a > b for a, b in zip(before.depths, after.depths, strict=True)):
        raise _refusal(small, large, f"it has {after.depths} blocks, there {before.depths}")


def _places(depths: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return stage and place in the stage of each block."""
    return [(stage, place) for stage, depth in enumerate(depths) for place in range(depth)]


def _sources(small: BMViT, large: BMViT) -> dict[str, str]:
    """Return which weight of `small` each weight of `large` comes from; fresh ones are left out."""
    before, after = _backbones(small, large)
    old = {place: index for index, place in enumerate(_places(before.depths))}
    names: dict[str, str] = {}
    for name in large.state_dict():
        if not name.startswith("backbone.blocks."):
            names[name] = name
            continue
        index, rest = name.removeprefix("backbone.blocks.").split(".", 1)
        place = _places(after.depths)[int(index)]
        if place in old:
            names[name] = f"backbone.blocks.{old[place]}.{rest}"
    return names


def _fresh_blocks(small: BMViT, large: BMViT) -> list[Block]:
    before, after = _backbones(small, large)
    blocks = cast(CompactMViT, large.backbone).blocks
    there = set(_places(before.depths))
    return [
        cast(Block, blocks[index])
        for index, place in enumerate(_places(after.depths))
        if place not in there
    ]


def _begin_as_skip(block: Block) -> None:
    norms = [block.attention.proj.norm, block.mlp[-1].norm]
    if block.local is not None:
        norms.append(block.local.norm)
    for norm in norms:
        assert isinstance(norm, nn.BatchNorm2d)
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)


def _expand(
    source: Tensor, target: Tensor, *, name: str, divided: bool, generator: torch.Generator
) -> Tensor:
    """Repeat each channel of `source` as often as `target` has room for it."""
    result = source
    for dim in range(source.dim()):
        times, left = divmod(target.shape[dim], source.shape[dim])
        if left:
            raise ConfigError(
                f"{name} has shape {tuple(target.shape)}, which does not grow from "
                f"{tuple(source.shape)}"
            )
        if times == 1:
            continue
        result = result.repeat_interleave(times, dim)
        if divided and dim == 1:
            shape = list(result.shape)
            shape[1:2] = [source.shape[1], times]
            shares = torch.empty(shape).uniform_(_LOW_SHARE, _HIGH_SHARE, generator=generator)
            shares /= shares.sum(dim=2, keepdim=True)
            result = result * shares.flatten(1, 2)
    return result.clone()
