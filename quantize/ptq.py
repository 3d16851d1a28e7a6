"""Static int8 by torchao's PT2E flow: annotate, observe real clips, convert."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from quantize.bias_correction import channel_means, correct_biases
from quantize.graph import head_output_layers
from quantize.ranges import share_ranges
from quantize.relu6 import relu6_to_relu
from quantize.schemes import Scheme, build_quantizer
from runtime.errors import CalibrationError
from runtime.types import Floats, Progress

if TYPE_CHECKING:
    from edge.model.bmvit import BMViT

logger = logging.getLogger(__name__)

# Clips whose means the biases keep: 0.2 GB of memory each for `nano`.
BIAS_CLIPS = 16


def quantize_static(
    exported: nn.Module,
    clips: Iterable[Tensor],
    *,
    scheme: Scheme,
    float_names: frozenset[str] = frozenset(),
    total: int = 0,
    progress: Progress | None = None,
    fold_weights: bool = True,
    keep_means: bool = True,
) -> GraphModule:
    """Quantize an exported module after training.

    Args:
        exported: What `torch.export.export(...).module()` gave; takes one tensor.
        clips: Real clips of the shape it was exported with.
        scheme: Where int8 goes.
        float_names: Further modules, by exact name, that stay in float32.
        total: Number of clips, for `progress`.
        progress: Told after each clip.
        fold_weights: Store weights in int8; else as floats in front of a quantize and a dequantize.
        keep_means: Correct the biases (`bias_correction`); not for weights that were trained for
            int8, which answer well as rounded, and not as their float means.

    Returns:
        The module with explicit quantize and dequantize nodes, ready to be lowered.

    Raises:
        CalibrationError: There was no clip, or one is not finite.
    """
    whole, _ = quantize_with_parts(
        exported,
        (),
        clips,
        scheme=scheme,
        float_names=float_names,
        total=total,
        progress=progress,
        fold_weights=fold_weights,
        keep_means=keep_means,
    )
    return whole


def quantize_with_parts(
    exported: nn.Module,
    parts: Sequence[nn.Module],
    clips: Iterable[Tensor],
    *,
    scheme: Scheme,
    float_names: frozenset[str] = frozenset(),
    total: int = 0,
    progress: Progress | None = None,
    fold_weights: bool = True,
    keep_means: bool = True,
) -> tuple[GraphModule, list[GraphModule]]:
    """Quantize an exported module and, with the same ranges, the parts that it consists of.

    Args:
        exported: The whole, as for `quantize_static`.
        parts: Exported modules which, one after the other, are the whole.
        clips: As for `quantize_static`, likewise the rest.
        scheme: Where int8 goes.
        float_names: Further modules, by exact name, that stay in float32.
        total: Number of clips, for `progress`.
        progress: Told after each clip.
        fold_weights: As for `quantize_static`.
        keep_means: As for `quantize_static`.

    Returns:
        The whole, and its parts.

    Raises:
        CalibrationError: There was no clip, or one is not finite.
        ExportError: The parts are not those of this module.
    """
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    unrounded = cast(GraphModule, copy.deepcopy(exported)) if keep_means else None
    prepared = prepare_pt2e(exported, build_quantizer(scheme, float_names))
    seen = 0
    kept: list[Tensor] = []
    with torch.no_grad():
        for clip in clips:
            if not bool(torch.isfinite(clip).all()):
                raise CalibrationError(f"calibration clip {seen} holds values that are not finite")
            prepared(clip)
            seen += 1
            if unrounded is not None and len(kept) < BIAS_CLIPS:
                kept.append(clip)
            if progress is not None:
                progress("observing int8 ranges", seen, total)
    if not seen:
        raise CalibrationError("int8 needs calibration clips and got none; give --calib-data")
    pieces = [prepare_pt2e(part, build_quantizer(scheme, float_names)) for part in parts]
    if pieces:
        share_ranges(prepared, pieces)

    def converted(module: nn.Module) -> GraphModule:
        made = cast(GraphModule, convert_pt2e(module, fold_quantize=fold_weights))
        relu6_to_relu(made)
        return made

    whole, made = converted(prepared), [converted(piece) for piece in pieces]
    if unrounded is not None:
        corrected = correct_biases(whole, channel_means(unrounded, kept), kept, made)
        logger.debug("%d biases moved on %d clips", corrected, len(kept))
    return whole, made


def int8_graphs(
    graphs: Sequence[GraphModule],
    model: BMViT,
    clips: Sequence[Floats],
    scheme: Scheme,
    *,
    float_layers: frozenset[str] = frozenset(),
    fold_weights: bool = True,
    keep_means: bool = True,
    progress: Progress | None = None,
) -> list[GraphModule]:
    """Quantize the exported graph of a model, and those of its parts with the same ranges.

    The last layers of the heads stay in float32.

    Args:
        graphs: The exported float graph; behind it those of parts which, one after the other, are
            the whole.
        model: What they were exported from; names the layers that stay float32.
        clips: Clips (1, T, 3, H, W) that give the ranges.
        scheme: What is in int8, and how.
        float_layers: Further layers that stay float32.
        fold_weights: As `quantize_static` takes it.
        keep_means: Likewise.
        progress: Told after each clip.
    """
    whole, parts = quantize_with_parts(
        graphs[0],
        graphs[1:],
        (torch.from_numpy(clip) for clip in clips),
        scheme=scheme,
        float_names=head_output_layers(model) | float_layers,
        total=len(clips),
        progress=progress,
        fold_weights=fold_weights,
        keep_means=keep_means,
    )
    return [whole, *parts]
