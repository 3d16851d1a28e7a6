"""The weights that the export makes of a model, as functions of the model's own.

int8 weights are rounded after BatchNorm went into them, a pooling convolution's taps are rounded
each, before their sum, and a stem's kernel gets a row and a column of zeros where its padding is
uneven. Training has to round the same values, and the gradient must reach weights and norms
through the folding.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.model.bmvit import BMViT
from edge.model.compact import CompactMViT
from edge.model.compact_blocks import ConvPoolingAttention
from edge.model.compact_layers import ConvNorm, PoolConv
from edge.model.stem_mvit import StemMViT
from edge.model.stems import SameConv
from runtime.errors import ConfigError


def folded_weights(model: BMViT) -> dict[str, Tensor]:
    """Return the weights of the folded form of a compact model, by their names there.

    The gradient passes to the weights of `model`; the statistics of its norms are constants.

    Raises:
        ConfigError: The model is of a kind whose layers the export rewrites in other ways.
    """
    if not isinstance(model.backbone, CompactMViT | StemMViT):
        raise ConfigError(
            "--qat trains pico, nano and tiny, with a pretrained stem or from scratch, got "
            f"{model.config.variant!r}"
        )
    weights: dict[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    scales = {
        f"{name}.k": module.scale
        for name, module in model.named_modules()
        if isinstance(module, ConvPoolingAttention)
    }
    for name, module in model.named_modules():
        if isinstance(module, ConvNorm):
            scale, shift = _affine(module.norm, scales.get(name, 1.0))
            weights[f"{name}.conv.weight"] = module.conv.weight * scale[:, None, None, None]
            weights[f"{name}.conv.bias"] = shift
        elif isinstance(module, PoolConv):
            scale, shift = _affine(module.norm)
            for index, tap in enumerate(module.taps):
                weight = cast(Tensor, tap.weight)
                weights[f"{name}.taps.{index}.weight"] = weight * scale[:, None, None, None]
            weights[f"{name}.taps.{len(module.taps) // 2}.bias"] = shift
        elif isinstance(module, SameConv) and module.uneven:
            weights[f"{name}.conv.weight"] = functional.pad(module.conv.weight, (1, 0, 1, 0))
    return weights


def _affine(norm: nn.Module, factor: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return scale and shift of an evaluated BatchNorm, by the export's order of operations.

    `factor` goes into the norm first, as the scale of attention goes into that of the keys.
    """
    assert isinstance(norm, nn.BatchNorm2d)
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    scale = (norm.weight * factor) / torch.sqrt(variance + norm.eps)
    return scale, norm.bias * factor - mean * scale
