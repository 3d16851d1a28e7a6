"""The converted int8 graph in the one form that torch_tensorrt turns into TensorRT's own Q/DQ.

torch_tensorrt 2.13 has no converter for PT2E's `quantized_decomposed` operations. It has one for a
quantize-and-dequantize pair, reached through an operation that NVIDIA's quantizer registers. Here
such a pair is an operation of our own, so that the other quantizer need not be installed.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from runtime.errors import ExportError

_BOUND = 127  # of TensorRT's int8: it has a scale, and no zero point


def _round(values: Tensor, amax: Tensor) -> Tensor:
    """Round to int8 and back; `amax` is 127 scales, for all or for each output channel."""
    scale = amax / _BOUND
    return (values * (1.0 / scale)).round().clamp(-_BOUND - 1, _BOUND) * scale


def _define() -> Any:
    library: Any = torch.library.Library("bmvit_edge", "DEF")  # type: ignore[no-untyped-call]
    # The tag keeps constant folding off the weights: folded, they would be float32 in TensorRT.
    library.define(
        "fake_int8(Tensor values, Tensor amax) -> Tensor",
        tags=(torch.Tag.nondeterministic_seeded,),
    )
    library.impl("fake_int8", _round, "CompositeExplicitAutograd")
    return library


_LIBRARY = _define()
FAKE_INT8 = torch.ops.bmvit_edge.fake_int8.default


def paired_graph(graph: GraphModule) -> GraphModule:
    """Return a converted PT2E graph with each quantization and its inverse as one operation.

    Args:
        graph: Symmetric, weights by output channel; it is left as it was.

    Raises:
        ExportError: It has a zero point, or int8 that is not turned back at once.
    """
    result = copy.deepcopy(graph)
    ops: Any = torch.ops.quantized_decomposed
    quantize = ops.quantize_per_tensor.default
    by_tensor, by_channel = ops.dequantize_per_tensor.default, ops.dequantize_per_channel.default
    for count, node in enumerate(list(result.graph.nodes)):
        if node.target not in (by_tensor, by_channel):
            continue
        source = node.args[0]
        if node.target == by_tensor and node.args[2] != 0:
            raise ExportError(f"{node.name} has the zero point {node.args[2]}, expected 0")
        with result.graph.inserting_before(node):
            if source.op == "get_attr":
                values, amax = _weight(result, node, count)
            elif source.target == quantize and source.args[1] == node.args[1]:
                values = source.args[0]
                amax = _constant(result, f"amax_{count}", torch.tensor(node.args[1] * _BOUND))
            else:
                raise ExportError(f"{node.name} takes int8 from {source.name}, expected a Q before")
            pair = result.graph.call_function(FAKE_INT8, (values, amax))
        node.replace_all_uses_with(pair)
        result.graph.erase_node(node)
    result.graph.eliminate_dead_code()
    left = [n.name for n in result.graph.nodes if "quantized_decomposed" in str(n.target)]
    if left:
        raise ExportError(f"{left[0]} quantizes what is not turned back")
    result.delete_all_unused_submodules()
    result.recompile()
    return result


def _weight(graph: GraphModule, node: Node, count: int) -> tuple[Node, Node]:
    """Return int8 constants as float32, and 127 of their scales."""
    args: list[Any] = [_value(graph, a) if isinstance(a, Node) else a for a in node.args]
    integers, scale = args[0], torch.as_tensor(args[1], dtype=torch.float32)
    if torch.as_tensor(args[2]).any() or (scale.ndim and args[3] != 0):
        raise ExportError(f"{node.name} has a zero point, or scales not by output channel")
    # One scale is a scalar to TensorRT, also where it is that of the one output channel.
    shape = () if scale.numel() == 1 else (-1, *[1] * (integers.ndim - 1))
    scale = scale.reshape(shape)
    values = _constant(graph, f"float_{count}", integers.to(torch.float32) * scale)
    return values, _constant(graph, f"amax_{count}", scale * _BOUND)


def _value(graph: GraphModule, node: Node) -> Tensor:
    path, _, name = str(node.target).rpartition(".")
    found = getattr(graph.get_submodule(path), name)
    assert isinstance(found, Tensor)
    return found.detach()


def _constant(graph: GraphModule, name: str, value: Tensor) -> Node:
    graph.register_buffer(name, value.to(torch.float32))
    return graph.graph.get_attr(name)


def register_converter() -> None:
    """Teach torch_tensorrt the operation, by its own converter of such pairs."""
    from torch_tensorrt.dynamo._SourceIR import SourceIR
    from torch_tensorrt.dynamo.conversion import impl
    from torch_tensorrt.dynamo.conversion._ConverterRegistry import (
        DYNAMO_ATEN_CONVERTERS,
        dynamo_tensorrt_converter,
    )

    if FAKE_INT8 in DYNAMO_ATEN_CONVERTERS:
        return

    @dynamo_tensorrt_converter(FAKE_INT8)  # type: ignore[untyped-decorator]
    def convert(ctx: Any, target: Any, args: Any, kwargs: Any, name: str) -> Any:
        # 8 bits, none of an exponent: int8.
        return impl.quantize.quantize(ctx, target, SourceIR.ATEN, name, args[0], args[1], 8, 0)
