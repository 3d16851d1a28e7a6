"""An exported graph in float16, but where that is too coarse; said by casts in the graph itself.

A strongly typed TensorRT network computes in the types that it is given, so they are placed here,
and not by a flag of a builder. The clip and the three outputs stay float32.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from quantize.schemes import module_of
from runtime.types import ClipModel, Floats, Outputs

# They move values and change none, so they take the type that comes.
_MOVES = frozenset(
    ("alias", "cat", "contiguous", "expand", "flatten", "getitem", "index", "max_pool2d", "pad",
     "permute", "relu", "relu6", "reshape", "select", "slice", "squeeze", "stack", "transpose",
     "unbind", "unsqueeze", "view")
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfRules:
    """What stays in float32.

    Attributes:
        float_modules: Patterns (as for file names) of module paths in the exported graph.
        float_operations: Names of operations, wherever they are.
    """

    float_modules: tuple[str, ...] = ("*heads", "*heads.box*", "*suppression", "*norm*")
    float_operations: tuple[str, ...] = ("softmax",)

    def keeps_float(self, node: Node) -> bool:
        """Tell whether an operation stays in float32."""
        module = module_of(node)
        return _operation(node) in self.float_operations or any(
            fnmatchcase(module, pattern) for pattern in self.float_modules
        )


# A norm squares its input, which float16 ends at 256; sums of exponentials want more digits; a box
# is a place in the frame to a fraction of a pixel, and float16 near 1 has steps of 1/2048 or more.
TENSORRT_HALF = HalfRules()

# What an engine does that has no such choice: its inner values are float16, every one.
ALL_HALF = HalfRules(float_modules=(), float_operations=())


def half_graph(graph: GraphModule, rules: HalfRules = TENSORRT_HALF) -> GraphModule:
    """Return a graph that computes in float16, weights included.

    Args:
        graph: An exported graph in float32; it is left as it was.
        rules: What stays in float32.
    """
    result = copy.deepcopy(graph)
    casts: dict[tuple[Node, torch.dtype], Node] = {}
    types: dict[Node, torch.dtype] = {}
    for node in list(result.graph.nodes):
        if node.op == "output":
            wanted = torch.float32
        elif node.op != "call_function" or not _is_float(node):
            if _is_float(node):
                types[node] = torch.float32
            continue
        elif _operation(node) in _MOVES and node.all_input_nodes:
            sources = {types[value] for value in node.all_input_nodes if value in types}
            wanted = torch.float16 if sources == {torch.float16} else torch.float32
        else:
            wanted = torch.float32 if rules.keeps_float(node) else torch.float16
        for value in node.all_input_nodes:
            if types.get(value, wanted) != wanted:
                if (value, wanted) not in casts:
                    casts[value, wanted] = _cast(result, value, wanted, before=node)
                node.replace_input_with(value, casts[value, wanted])
        types[node] = wanted
    result.graph.lint()
    result.delete_all_unused_submodules()
    result.recompile()
    return result


def _cast(graph: GraphModule, value: Node, to: torch.dtype, *, before: Node) -> Node:
    """Return a value in another type: a weight is stored so, anything else is turned."""
    with graph.graph.inserting_before(before):
        if value.op != "get_attr":
            return graph.graph.call_function(torch.ops.aten.to.dtype, (value, to))
        path, _, name = str(value.target).rpartition(".")
        owner = graph.get_submodule(path)
        tensor = getattr(owner, name)
        assert isinstance(tensor, Tensor)
        owner.register_buffer(f"{name}_half", tensor.detach().to(to))
        return graph.graph.get_attr(f"{value.target}_half")


def _is_float(node: Node) -> bool:
    value = node.meta.get("val")
    if isinstance(value, (tuple, list)) and value:
        value = value[0]
    return isinstance(value, Tensor) and value.dtype == torch.float32


def _operation(node: Node) -> str:
    """Return the bare name of an operation: `softmax` of `aten.softmax.int`."""
    name = str(getattr(node.target, "__name__", node.target))
    return name.split(".")[0]


def toward_zero(values: Tensor) -> Tensor:
    """Return the float16 next to each value in the direction of zero, as float32."""
    halves = values.to(torch.float16)
    beyond = halves.float().abs() > values.abs()
    # The bits of a float16 without its sign count up with its size; infinity comes behind 65504.
    bits = halves.view(torch.int16)
    return torch.where(beyond, bits - 1, bits).view(torch.float16).float()


class HalvesTowardZero(torch.fx.Interpreter):
    """Run a float32 graph as a driver does that cuts each value off at float16.

    Nothing says which way a GPU rounds: Mesa's software Vulkan cuts off, which moves outputs six
    times as far as rounding to nearest. A program in float16 has to be let pass on both.
    """

    def run_node(self, n: Node) -> Any:
        """Run an operation and cut off what it gives; weights were rounded at export."""
        result = super().run_node(n)
        if n.op == "get_attr":
            return _mapped(result, lambda value: value.to(torch.float16).float())
        return _mapped(result, toward_zero) if n.op != "output" else result


def half_outputs_toward_zero(graph: GraphModule) -> ClipModel:
    """Return a float32 graph as a function of the clip that cuts each value off at float16."""

    def run(clips: Floats) -> Outputs:
        with torch.no_grad():
            found = HalvesTowardZero(graph).run(torch.from_numpy(clips))
        return Outputs(*(tensor.numpy() for tensor in found))

    return run


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, (tuple, list)):
        return type(value)(_mapped(part, change) for part in value)
    if isinstance(value, Tensor) and value.dtype == torch.float32:
        return change(value)
    return value
