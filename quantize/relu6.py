"""ReLU6 in front of int8, which cuts off above 6 by itself."""

from __future__ import annotations

from typing import cast

import torch
from torch.fx import GraphModule, Node

aten = torch.ops.aten

_TOP = 6.0


def relu6_to_relu(graph: GraphModule) -> int:
    """Replace each ReLU6 by a ReLU where rounding ends no higher; return how many there were.

    int8 has no value above the range that it was given, so that a quantize behind a ReLU6 cuts off
    what a ReLU leaves. Every engine has a convolution with a ReLU as one operation; not all have
    one with a ReLU6.

    Args:
        graph: Converted, with explicit quantize nodes; changed in place.
    """
    quantize = torch.ops.quantized_decomposed.quantize_per_tensor.default
    found = 0
    for node in list(graph.graph.nodes):
        if node.target != aten.relu6.default or not node.users:
            continue
        if all(user.target == quantize and _saturates(user) for user in node.users):
            node.target = aten.relu.default
            found += 1
    if found:
        graph.recompile()
    return found


def _saturates(quantize: Node) -> bool:
    """Tell whether 6 is rounded to the highest value of int8, as all above it is."""
    scale, zero, _, highest = (float(cast(float, value)) for value in quantize.args[1:5])
    return round(_TOP / scale) + zero >= highest
