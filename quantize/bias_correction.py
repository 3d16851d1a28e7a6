"""Move the biases of an int8 graph so that its layers keep the float network's means.

Rounded weights and activations shift the mean of each output channel, most of all in the depthwise
convolutions of a MobileNet, and the shifts add up over the layers. A bias per channel takes a shift
out at no cost on the device (Nagel et al., "Data-Free Quantization Through Weight Equalization and
Bias Correction", ICCV 2019, section 4.2, in its form with real data).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

aten = torch.ops.aten
# The channels of what each gives.
_CHANNELS: dict[Any, int] = {aten.conv2d.default: 1, aten.linear.default: -1}


def channel_means(graph: GraphModule, clips: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the mean of each output channel of the layers that have a bias.

    Args:
        graph: A float graph that takes one clip.
        clips: The clips, of the shape it takes.

    Returns:
        By the bias's name in the graph, (C,) each.
    """
    found: dict[str, Tensor] = {}
    for node, outputs in _layer_by_layer(graph, clips):
        bias = _bias_of(node)
        if bias is not None:
            found[bias] = _means(node, outputs)
    return found


def correct_biases(
    whole: GraphModule, wanted: dict[str, Tensor], clips: Sequence[Tensor],
    parts: Sequence[GraphModule] = (),
) -> int:  # fmt: skip
    """Move the biases of quantized layers, from the first layer to the last.

    Each layer is corrected on what the corrected layers before it give.

    Args:
        whole: The converted graph; its biases are replaced.
        wanted: `channel_means` of the float graph on the same clips.
        clips: Clips that gave those means.
        parts: Converted graphs of parts of the network: their biases of the same names, likewise.

    Returns:
        Number of layers that were corrected.
    """
    moved: dict[str, Tensor] = {}
    for node, outputs in _layer_by_layer(whole, clips):
        bias = _bias_of(node)
        if bias is None or bias not in wanted or not _is_rounded(node):
            continue
        shift = wanted[bias] - _means(node, outputs)
        moved[bias] = attrgetter(bias)(whole).detach() + shift
        axis = _CHANNELS[node.target]
        shape = [1] * outputs[0].dim()
        shape[axis] = -1
        for output in outputs:
            output += shift.view(shape)
    for graph in (whole, *parts):
        for bias in {_bias_of(node) for node in graph.graph.nodes} & moved.keys():
            assert bias is not None
            owner, _, name = bias.rpartition(".")
            value = nn.Parameter(moved[bias].clone(), requires_grad=False)
            setattr(graph.get_submodule(owner), name, value)
    return len(moved)


def _layer_by_layer(
    graph: GraphModule, clips: Sequence[Tensor]
) -> Iterator[tuple[Node, list[Tensor]]]:
    """Compute each node on all clips before the next, and yield it with its results.

    The results may be changed in place: what follows is computed from them.
    """
    walkers = [Interpreter(graph) for _ in clips]
    with torch.no_grad():
        for node in graph.graph.nodes:
            if node.op == "output":
                return
            for walker, clip in zip(walkers, clips, strict=True):
                walker.env[node] = clip if node.op == "placeholder" else walker.run_node(node)
            yield node, [walker.env[node] for walker in walkers]
            for walker in walkers:
                for last in walker.user_to_last_uses.get(node, ()):
                    del walker.env[last]


def _bias_of(node: Node) -> str | None:
    """Return the name of a layer's bias; None for what is no layer or has none."""
    if node.op != "call_function" or node.target not in _CHANNELS or len(node.args) < 3:
        return None
    bias = node.args[2]
    return str(bias.target) if isinstance(bias, Node) and bias.op == "get_attr" else None


def _is_rounded(node: Node) -> bool:
    """Tell whether a layer's weight went through int8."""
    weight = node.args[1]
    return isinstance(weight, Node) and "dequantize" in str(weight.target)


def _means(node: Node, outputs: Sequence[Tensor]) -> Tensor:
    axis = _CHANNELS[node.target]
    return torch.stack(
        [one.movedim(axis, 0).flatten(1).double().mean(1) for one in outputs]
    ).mean(0).float()  # fmt: skip
