"""What quantizing each part of a network alone does to its outputs."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edge.model.bmvit import BMViT
from edge.model.compact import CompactMViT
from edge.model.stem_mvit import StemMViT
from quantize.fake import FakeQuantize, FakeQuantizedPerChannelWeight
from quantize.graph import quiet_tools
from quantize.ptq import quantize_static
from quantize.schemes import Scheme, build_quantizer, module_of
from runtime.errors import ConfigError
from runtime.types import Floats, Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Closeness:
    """How close a network with one group in int8 stays to the float network.

    Attributes:
        group: Its name; `all` for the whole network.
        operations: Operations of the graph that were quantized for it.
        cosine: Cosine similarity of each output, over all clips and tokens; the mean of the float
            output is taken from both, or a constant offset would hide every difference.
    """

    group: str
    operations: int
    cosine: tuple[float, ...]


def group_closeness(
    graph: GraphModule,
    *,
    groups: Mapping[str, Sequence[str]],
    scheme: Scheme,
    calibration: Sequence[Floats],
    clips: Sequence[Floats],
    float_names: frozenset[str] = frozenset(),
    progress: Progress | None = None,
) -> list[Closeness]:
    """Quantize each group alone, then all of them, and compare on clips.

    Args:
        graph: The exported float graph; takes a clip (1, T, 3, H, W). It is left as it was.
        groups: Name to patterns (as for file names) of module paths in the graph.
        scheme: Where int8 goes; what it keeps in float stays so.
        calibration: Clips for the ranges.
        clips: Clips to compare on, best others than those.
        float_names: Further modules, by exact name, that stay in float32.
        progress: Told after each group.

    Returns:
        One entry a group, in their order, and `all` last.

    Raises:
        ConfigError: A group's patterns meet no operation of the graph.
    """
    truth = _outputs(graph, clips)
    found: list[Closeness] = []
    names = [*groups, "all"]
    for index, name in enumerate(names):
        others = [p for other, patterns in groups.items() if name not in (other, "all")
                  for p in patterns]  # fmt: skip
        alone = dataclasses.replace(scheme, float_modules=(*scheme.float_modules, *others))
        with quiet_tools():
            quantized = quantize_static(
                copy.deepcopy(graph),
                (torch.from_numpy(clip) for clip in calibration),
                scheme=alone,
                float_names=float_names,
            )
        operations = count_quantized(quantized)
        if not operations:
            raise ConfigError(
                f"group {name!r} ({', '.join(groups[name])}) meets no operation that is quantized; "
                f"the graph has the modules {', '.join(sorted(_modules(graph))[:8])}, ..."
            )
        cosine = tuple(
            cosine_similarity(a, b) for a, b in zip(_outputs(quantized, clips), truth, strict=True)
        )
        found.append(Closeness(group=name, operations=operations, cosine=cosine))
        if progress is not None:
            progress("comparing groups", index + 1, len(names))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """What int8 in one layer alone does to the outputs.

    Attributes:
        layer: Its path in the exported module, `model.backbone.neck.conv`.
        cost: One minus the least cosine similarity of an output, as in `Closeness`.
    """

    layer: str
    cost: float


def rank_layers(
    graph: GraphModule,
    *,
    scheme: Scheme,
    clips: Sequence[Floats],
    float_names: frozenset[str] = frozenset(),
    progress: Progress | None = None,
) -> list[LayerCost]:
    """Rank the layers by what rounding the input and the weight of each alone costs.

    That is what a layer kept in float32 saves: its output is rounded all the same where the next
    layer is in int8.

    Args:
        graph: The exported float graph; takes a clip (1, T, 3, H, W). It is left as it was.
        scheme: Where int8 goes; what it keeps in float is not ranked.
        clips: Clips for the ranges, and to compare on.
        float_names: Further modules, by exact name, that stay in float32.
        progress: Told after each layer.

    Returns:
        The convolutions and linears that int8 would take, the costliest first.
    """
    from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e

    truth = _outputs(graph, clips)
    with quiet_tools():
        quantizer = build_quantizer(scheme, float_names, training=True)
        prepared = cast(GraphModule, prepare_qat_pt2e(copy.deepcopy(graph), quantizer))
    rounding = [m for m in prepared.modules() if isinstance(m, FakeQuantize)]
    for module in rounding:
        module.enabled, module.observing = False, True
    _outputs(prepared, clips)
    for module in rounding:
        module.observing = False
    layers = _switches(prepared)
    costs: list[LayerCost] = []
    for name, switches in layers.items():
        for switch in switches:
            switch.enabled = True
        found = _outputs(prepared, clips)
        for switch in switches:
            switch.enabled = False
        cosine = min(cosine_similarity(a, b) for a, b in zip(found, truth, strict=True))
        costs.append(LayerCost(layer=name, cost=1.0 - cosine))
        if progress is not None:
            progress("ranking layers", len(costs), len(layers))
    return sorted(costs, key=lambda cost: -cost.cost)


def _switches(prepared: GraphModule) -> dict[str, list[FakeQuantize]]:
    """Return for each layer what rounds for it alone; inputs get a copy of what all readers share.

    Args:
        prepared: Prepared for training; changed in place.
    """
    layers: dict[str, list[FakeQuantize]] = {}
    for node in list(prepared.graph.nodes):
        if len(node.args) < 2 or node.op != "call_function":
            continue
        value, weight = node.args[:2]
        rounded = _rounding(prepared, weight)
        if not isinstance(rounded, FakeQuantizedPerChannelWeight):
            continue
        mine = layers.setdefault(module_of(node), [])
        mine.append(rounded)
        shared = _rounding(prepared, value)
        if shared is not None:
            own = copy.copy(shared)  # the same range, a switch of its own
            name = f"own_{node.name}"
            prepared.add_submodule(name, own)
            with prepared.graph.inserting_before(node):
                node.replace_input_with(value, prepared.graph.call_module(name, (value,)))
            mine.append(own)
    prepared.recompile()
    return layers


def _rounding(graph: GraphModule, node: object) -> FakeQuantize | None:
    """Return the module that rounds, where a node is a call of one."""
    if not isinstance(node, Node) or node.op != "call_module":
        return None
    module = graph.get_submodule(str(node.target))
    return module if isinstance(module, FakeQuantize) else None


def count_quantized(graph: GraphModule) -> int:
    """Return how many values of a converted graph are rounded to int8."""
    return sum(
        node.op == "call_function" and "quantize_per_tensor" in str(node.target)
        and "dequantize" not in str(node.target)
        for node in graph.graph.nodes
    )  # fmt: skip


def _modules(graph: GraphModule) -> set[str]:
    return {module_of(node) for node in graph.graph.nodes} - {""}


def _outputs(graph: torch.nn.Module, clips: Sequence[Floats]) -> list[npt.NDArray[np.float64]]:
    """Return each output over all clips, flattened."""
    rows: list[Sequence[Tensor]] = []
    with torch.no_grad():
        for clip in clips:
            rows.append(cast(Sequence[Tensor], graph(torch.from_numpy(clip))))
    return [
        np.concatenate([output.double().numpy().ravel() for output in outputs])
        for outputs in zip(*rows, strict=True)
    ]


def cosine_similarity(
    found: npt.NDArray[np.floating[Any]], truth: npt.NDArray[np.floating[Any]]
) -> float:
    """Return the cosine of two arrays of one shape, after taking the mean of `truth` from both."""
    centre = truth.mean(dtype=np.float64)
    a, b = (value.astype(np.float64).ravel() - centre for value in (found, truth))
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / scale if scale else float(np.array_equal(a, b))


def layer_groups(model: BMViT) -> dict[str, tuple[str, ...]]:
    """Return the groups of a compact model: stem, each block's attention and MLP, neck, heads."""
    backbone = model.backbone
    if not isinstance(backbone, CompactMViT | StemMViT):
        raise ConfigError("groups are known for pico, nano and tiny, also from scratch")
    groups: dict[str, tuple[str, ...]] = {"stem": ("model.backbone.stem*", "model.backbone.merge*")}
    if isinstance(backbone, StemMViT):
        groups = {"stem": ("model.backbone.stem*",),
                  "fusion": ("model.backbone.fusion*", "model.backbone.merge*")}  # fmt: skip
    for index in range(len(backbone.blocks)):
        base = f"model.backbone.blocks.{index}"
        # The skip and the sum behind it belong to the attention, whose branch they carry.
        groups[f"block {index} attention"] = (base, f"{base}.attention*", f"{base}.skip*")
        groups[f"block {index} MLP"] = (f"{base}.mlp*",)
    groups["neck and heads"] = ("model.backbone", "model.backbone.neck*", "model.heads.*")
    return groups
