"""Count what a delegate took: a program that runs undelegated is forty times slower in silence."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Node

from export.base import Delegation
from runtime.errors import PartitionError

MIN_SHARE = 0.95
"""Less than this share of the multiply-adds inside delegates is an error."""

_BOOKKEEPING = ("getitem", "executorch_call_delegate", "alloc")


def measure_delegation(lowered: GraphModule) -> Delegation:
    """Measure a graph in which a partitioner has put delegate calls.

    Args:
        lowered: Top graph of the edge program; each delegate is an attribute with its own graph.
    """
    inside, calls = 0, 0
    for node in lowered.graph.nodes:
        if _name(node) != "executorch_call_delegate":
            continue
        calls += 1
        delegate = getattr(lowered, str(node.args[0].target))
        inside += sum(_macs(delegate.original_module.graph.nodes))
    counts: Counter[str] = Counter()
    costs: Counter[str] = Counter()
    for node in lowered.graph.nodes:
        name = _name(node)
        if node.op != "call_function" or name in _BOOKKEEPING:
            continue
        counts[name] += 1
        costs[name] += multiply_adds(node)
    outside = sum(costs.values())
    total = inside + outside
    order = sorted(counts, key=lambda name: (-costs[name], -counts[name], name))
    return Delegation(
        share=inside / total if total else 0.0,
        calls=calls,
        multiply_adds=total,
        fallbacks=tuple(f"{name} x {counts[name]}{_cost(costs[name])}" for name in order),
    )


def check_delegation(delegation: Delegation, *, least: float = MIN_SHARE) -> None:
    """Refuse a program of which the delegate took too little.

    Raises:
        PartitionError: The share is below `least`; the message lists what stayed outside.
    """
    if delegation.share >= least:
        return
    listed = ", ".join(delegation.fallbacks[:8]) or "nothing was delegated"
    raise PartitionError(
        f"the delegate took {delegation.share:.1%} of the multiply-adds, at least {least:.0%} are "
        f"needed; outside stayed: {listed}"
    )


def multiply_adds(node: Node) -> int:
    """Return the multiply-adds of one node; 0 for anything but convolutions and matrix products."""
    name = _name(node)
    shape = _shape(node)
    if shape is None:
        return 0
    size = math.prod(shape)
    if "convolution" in name or "conv2d" in name:
        weight = _shape(node.args[1])
        return size * math.prod(weight[1:]) if weight else 0
    # Which argument's last dimension is summed over.
    summed = {"linear": 0, "addmm": 1, "mm": 0, "bmm": 0, "matmul": 0}
    parts = name.split(".")
    operation = next((word for word in parts if word in summed), None)
    if operation is None:
        return 0
    operand = _shape(node.args[summed[operation]])
    return size * operand[-1] if operand else 0


def _macs(nodes: Iterable[Node]) -> Iterable[int]:
    return (multiply_adds(node) for node in nodes if node.op == "call_function")


def _name(node: Node) -> str:
    return str(getattr(node.target, "__name__", node.target))


def _shape(value: Any) -> tuple[int, ...] | None:
    found = value.meta.get("val") if isinstance(value, Node) else None
    return tuple(int(side) for side in found.shape) if isinstance(found, Tensor) else None


def _cost(multiply_add_count: int) -> str:
    return f" ({multiply_add_count / 1e6:.2f} M multiply-adds)" if multiply_add_count else ""
