"""Fewer transposes inside an XNNPACK delegate: the same values, moved once.

ExecuTorch's XNNPACK backend lays out each operator by itself. A tensor on its way from a
convolution (channels last) into a matrix product passes a transpose to channels first, a reshape, a
transpose to tokens and another reshape, which together move nothing; where heads are split it is
quantized and dequantized in between, to the very same numbers. In `nano` these are 150 of 400
operators and a tenth of the time.

Here each such chain is replaced by the shortest one with the same effect. It is found from the
effect itself: the chain is applied to the numbers 0, 1, 2, ... and whatever order comes out is
rebuilt. Nothing is computed otherwise, so the program's answers stay equal bit for bit.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from export.quick_lowering import replaced

if TYPE_CHECKING:
    from executorch.backends.xnnpack.serialization.xnnpack_graph_schema import XNNGraph, XNode

Order = npt.NDArray[np.int64]
Number = tuple[Any, ...]
"""Data type and quantization of a tensor."""
Step = tuple[str, tuple[int, ...]]
""" "reshape" and the new shape, or "transpose" and the permutation."""

_LAYOUT = ("XNNStaticTranspose", "XNNStaticReshape")
_MOST_DIMENSIONS = 6  # of XNNPACK's tensors


@dataclass(frozen=True, slots=True)
class _Chain:
    """How a tensor comes from another: by its order, and the numbers that it passed through."""

    root: int
    order: Order
    numbers: tuple[Number, ...]


@contextmanager
def shortest_layouts() -> Iterator[None]:
    """Let XNNPACK delegates that are made inside have the shortest chains of layout operators."""
    from executorch.backends.xnnpack import xnnpack_preprocess

    serialize = xnnpack_preprocess.serialize_xnnpack_binary

    def shortened(graph: XNNGraph, constants: bytearray) -> bytes:
        content: bytes = serialize(shorten(graph), constants)
        return content

    with replaced(xnnpack_preprocess, "serialize_xnnpack_binary", shortened):
        yield


def shorten(graph: XNNGraph) -> XNNGraph:
    """Return a graph with the same effect and as few layout operators as possible."""
    return _Shortener(graph).run()


class _Shortener:
    """Copies a graph operator by operator; layout operators appear where they are needed."""

    def __init__(self, graph: XNNGraph) -> None:
        self.graph = copy.deepcopy(graph)
        self.values = {_tensor(v).id_out: v for v in self.graph.xvalues}
        self.maker = {n.xnode_union.output_id: n for n in self.graph.xnodes}
        self.nodes: list[XNode] = []
        self.made: dict[tuple[Any, ...], int] = {}
        self.next_id = max(self.values) + 1

    def run(self) -> XNNGraph:
        for node in self.graph.xnodes:
            if self._moves(node):
                continue
            self.handle = node.debug_handle
            operator = node.xnode_union
            for field in dataclasses.fields(operator):
                if field.name.endswith("_id") and field.name != "output_id":
                    value = getattr(operator, field.name)
                    setattr(operator, field.name, self._provide(value))
            self.nodes.append(node)
        for output in self.graph.output_ids:
            self._provide(output, into=output)
        self.graph.xnodes = self.nodes
        self._drop_unused_values()
        return self.graph

    def _moves(self, node: XNode) -> bool:
        """Tell whether an operator only moves values, or takes them to another number format."""
        operator = node.xnode_union
        kind = type(operator).__name__
        if kind == "XNNConvert":  # a dynamic quantization has more to it than these fields
            return all(_is_static(self.values[v]) for v in (operator.input_id, operator.output_id))
        return kind in _LAYOUT

    def _provide(self, value: int, into: int | None = None) -> int:
        """Return a value equal to the given one, made by the shortest chain."""
        if value not in self.maker or not self._moves(self.maker[value]):
            return value
        chain = self._chain(value)
        numbers = _without_round_trips(chain.numbers)
        shape = _shape(self.values[value])
        steps = shortest_steps(chain.order, _shape(self.values[chain.root]))
        # Moving a quarter of the bytes: at the first number format of one byte, if there is one.
        place = next((i for i, number in enumerate(numbers) if number[0] != "fp32"), 0)
        plan: list[tuple[str, Any]] = [("convert", n) for n in numbers[1 : place + 1]]
        plan += steps
        plan += [("convert", n) for n in numbers[place + 1 :]]
        current, form = chain.root, _shape(self.values[chain.root])
        for index, (kind, argument) in enumerate(plan):
            last = index == len(plan) - 1
            form = _after(kind, argument, form)
            key = (current, kind, argument)
            if last and into is not None:
                current = self._emit(current, kind, argument, form, into)
            elif key in self.made:
                current = self.made[key]
            else:
                current = self.made[key] = self._emit(current, kind, argument, form, None)
        assert form == shape or not plan
        if into is not None and current != into:
            raise AssertionError("an output of a delegate is its input, moved nowhere")
        return current

    def _chain(self, value: int) -> _Chain:
        """Follow a value back to the operator that computes it."""
        back: list[Any] = []
        numbers = [self._number(value)]
        root = value
        while root in self.maker and self._moves(self.maker[root]):
            operator = self.maker[root].xnode_union
            root = operator.input_id
            if type(operator).__name__ in _LAYOUT:
                back.append(operator)
            else:
                numbers.append(self._number(root))
        shape = _shape(self.values[root])
        order: Order = np.arange(math.prod(shape)).reshape(shape)
        for operator in reversed(back):
            if type(operator).__name__ == "XNNStaticTranspose":
                order = order.transpose(operator.perm)
            else:
                # The operator's own shape may leave a side open.
                order = order.reshape(_shape(self.values[operator.output_id]))
        return _Chain(root, order, tuple(reversed(numbers)))

    def _number(self, value: int) -> Number:
        return _number(self.values[value])

    def _emit(
        self, source: int, kind: str, argument: Any, shape: tuple[int, ...], into: int | None
    ) -> int:
        from executorch.backends.xnnpack.serialization import xnnpack_graph_schema as schema

        number = argument if kind == "convert" else self._number(source)
        output = self._new_value(source, number, shape) if into is None else into
        operator: Any
        if kind == "convert":
            operator = schema.XNNConvert(input_id=source, output_id=output, flags=0)
        elif kind == "reshape":
            operator = schema.XNNStaticReshape(
                num_dims=len(shape), new_shape=list(shape), input_id=source, output_id=output,
                flags=0,
            )  # fmt: skip
        else:
            operator = schema.XNNStaticTranspose(
                num_dims=len(argument), perm=list(argument), input_id=source, output_id=output,
                flags=0,
            )  # fmt: skip
        self.nodes.append(schema.XNode(xnode_union=operator, debug_handle=self.handle))
        return output

    def _new_value(self, like: int, number: Number, shape: tuple[int, ...]) -> int:
        """Add a value of that number format, which some value of the graph has already."""
        pattern = next(v for v in self.graph.xvalues if _number(v) == number)
        value = copy.deepcopy(pattern)
        tensor = _tensor(value)
        tensor.num_dims, tensor.dims = len(shape), list(shape)
        tensor.id_out, tensor.flags = self.next_id, 0
        tensor.external_id, tensor.constant_buffer_idx = _INVALID, 0
        self.next_id += 1
        self.values[tensor.id_out] = value
        self.graph.xvalues.append(value)
        return int(tensor.id_out)

    def _drop_unused_values(self) -> None:
        used = {*self.graph.input_ids, *self.graph.output_ids}
        for node in self.graph.xnodes:
            operator = node.xnode_union
            names = [f.name for f in dataclasses.fields(operator) if f.name.endswith("_id")]
            used.update(getattr(operator, name) for name in names)
        self.graph.xvalues = [v for v in self.graph.xvalues if _tensor(v).id_out in used]


def shortest_steps(order: Order, shape: tuple[int, ...]) -> list[Step]:
    """Return the fewest reshapes and transposes that bring 0, 1, 2, ... into an order.

    Args:
        order: Which place of the source each place of the result comes from, shaped as the result.
        shape: Shape of the source.
    """
    flat = order.reshape(-1)
    if np.array_equal(flat, np.arange(flat.size)):
        return [] if order.shape == shape else [("reshape", order.shape)]
    source = np.arange(flat.size).reshape(shape)
    for perm in itertools.permutations(range(len(shape))):  # of the source as it is
        if np.array_equal(source.transpose(perm).reshape(-1), flat):
            moved = tuple(shape[axis] for axis in perm)
            steps: list[Step] = [("transpose", perm)]
            return steps if moved == order.shape else [*steps, ("reshape", order.shape)]
    for perm in itertools.permutations(range(order.ndim)):  # straight to the result's shape
        before = order.transpose(perm)
        if np.array_equal(before.reshape(-1), np.arange(flat.size)):
            inverse = tuple(int(axis) for axis in np.argsort(perm))
            return [("reshape", before.shape), ("transpose", inverse)]
    sizes, strides = _radix(flat)
    axes = sorted(range(len(sizes)), key=lambda axis: -strides[axis])
    split = tuple(sizes[axis] for axis in axes)
    perm = tuple(axes.index(axis) for axis in range(len(sizes)))
    moved = tuple(sizes)
    steps = [("reshape", split), ("transpose", perm)]
    found = np.arange(flat.size).reshape(split).transpose(perm)
    if len(split) > _MOST_DIMENSIONS or not np.array_equal(found.reshape(-1), flat):
        raise AssertionError(f"no chain found from {shape} to {order.shape}")
    return steps if moved == order.shape else [*steps, ("reshape", order.shape)]


def _radix(flat: Order) -> tuple[list[int], list[int]]:
    """Return sizes and strides, outermost first, of an order that comes from axes changing places.

    From the innermost: how far the order goes in equal steps, and then how those runs go on.
    """
    sizes: list[int] = []
    strides: list[int] = []
    rest = flat
    while rest.size > 1:
        stride = int(rest[1] - rest[0])
        same = np.flatnonzero(np.diff(rest) != stride)
        size = int(same[0]) + 1 if same.size else int(rest.size)
        sizes.insert(0, size)
        strides.insert(0, stride)
        rest = rest[::size]
    return sizes, strides


def _without_round_trips(numbers: tuple[Number, ...]) -> tuple[Number, ...]:
    """Leave out what takes int8 to float and back to the same int8: it changes no value."""
    found: list[Number] = []
    for number in numbers:
        if len(found) >= 2 and found[-1][0] == "fp32" and found[-2] == number:
            found.pop()
            continue
        if not found or found[-1] != number:
            found.append(number)
    return tuple(found)


def _after(kind: str, argument: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    if kind == "reshape":
        return tuple(argument)
    if kind == "transpose":
        return tuple(shape[axis] for axis in argument)
    return shape


def _tensor(value: Any) -> Any:
    """Return the plain part of a value: the quantized ones wrap it."""
    inner = value.xvalue_union
    return getattr(inner, "tensor_value", inner)


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(_tensor(value).dims)


def _number(value: Any) -> Number:
    tensor, inner = _tensor(value), value.xvalue_union
    name = tensor.datatype.name.removeprefix("xnn_datatype_")
    quant = getattr(inner, "quant_params", None)
    if quant is None:
        return (name,)
    if type(quant).__name__ == "PerTensorQuant":
        return (name, quant.scale, quant.zero_point)
    return (name, type(quant).__name__, tensor.id_out)


def _is_static(value: Any) -> bool:
    return _number(value)[0] == "fp32" or (
        type(getattr(value.xvalue_union, "quant_params", None)).__name__ == "PerTensorQuant"
    )


_INVALID = 2**32 - 1
