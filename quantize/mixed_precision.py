"""Which layers int8 leaves in float32 beside those of the scheme, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.errors import ConfigError
from runtime.options import did_you_mean
from runtime.types import Floats, Progress

if TYPE_CHECKING:
    from edge.model.bmvit import BMViT

_RANKING_CLIPS = 8  # the order of the costs settles after a few


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatLayers:
    """Layers that stay in float32.

    Attributes:
        names: Their paths in the exported module, `model.backbone.neck.conv`.
        lines: How they were chosen.
    """

    names: frozenset[str] = frozenset()
    lines: tuple[str, ...] = field(default=())


def choose_float_layers(
    model: BMViT,
    wanted: Sequence[str],
    clips: Sequence[Floats],
    *,
    progress: Progress | None = None,
) -> FloatLayers:
    """Return the layers that a user names, or the costliest ones.

    Args:
        model: The float model.
        wanted: Names of layers in the model, `backbone.neck.conv`; or one number N: the N layers
            that cost most when each alone is in int8.
        clips: Calibration clips (1, T, 3, H, W).
        progress: Told after each layer that is ranked.

    Raises:
        ConfigError: There is no such layer, or not as many.
    """
    if not wanted:
        return FloatLayers()
    if len(wanted) == 1 and wanted[0].isascii() and wanted[0].isdigit():
        return _costliest(model, int(wanted[0]), clips, progress)
    known = int8_layers(model)
    for name in wanted:
        if name not in known:
            raise ConfigError(
                f"--float-layers names {name!r}, which is no layer that int8 takes."
                f"{did_you_mean(name, known)} There are {', '.join(known[:6])}, ...; a number N "
                "takes the N that cost most"
            )
    return FloatLayers(names=frozenset(f"model.{name}" for name in wanted))


def int8_layers(model: BMViT) -> list[str]:
    """Return the names of the layers of a model that have a weight in int8."""
    from torch import nn

    from quantize.graph import head_output_layers
    from quantize.rewrite import rewrite_for_export
    from quantize.schemes import XNNPACK_INT8

    float_names = head_output_layers(model)
    return [
        name
        for name, module in rewrite_for_export(model).named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
        and f"model.{name}" not in float_names
        and not XNNPACK_INT8.keeps_float(f"model.{name}")
    ]


def _costliest(
    model: BMViT, count: int, clips: Sequence[Floats], progress: Progress | None
) -> FloatLayers:
    import torch

    from quantize.graph import export_graph, head_output_layers, quiet_tools
    from quantize.schemes import XNNPACK_INT8
    from quantize.sensitivity import rank_layers

    layers = int8_layers(model)
    if not 1 <= count <= len(layers):
        raise ConfigError(f"--float-layers is {count}, expected 1 to {len(layers)}, or names")
    some = clips[:: max(1, len(clips) // _RANKING_CLIPS)][:_RANKING_CLIPS]
    with quiet_tools():
        graph = export_graph(model, torch.from_numpy(some[0]))
    ranked = rank_layers(
        graph,
        scheme=XNNPACK_INT8,
        clips=some,
        float_names=head_output_layers(model),
        progress=progress,
    )
    worst = ranked[:count]
    costs = ", ".join(f"{cost.layer.removeprefix('model.')} {cost.cost:.2g}" for cost in worst)
    line = f"kept in float32, by one minus cosine of int8 in that layer alone: {costs}"
    return FloatLayers(names=frozenset(cost.layer for cost in worst), lines=(line,))
