"""TensorFlow's SAME padding in XNNPACK: kernels without the zeros that made it even.

A convolution of stride 2 from TensorFlow pads below and to the right only. PyTorch pads evenly, so
that the graph has a 4x4 kernel whose first row and column are zero (`edge.model.stems.SameConv`).
XNNPACK takes any padding, and has fast depth-wise kernels for 3x3 and not for 4x4: on AVX-512
VNNI such layers took a quarter of `nano`'s time. So where a delegate is written, those zeros are
left out and the padding is given as it is. The sums are the same ones without their zero terms.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from torch import Tensor
from torch.fx import Node

from export.quick_lowering import replaced

_KERNEL_DIMS = 4


@contextmanager
def uneven_padding() -> Iterator[None]:
    """Let XNNPACK delegates that are made inside pad unevenly where zeros in a kernel say so."""
    from executorch.backends.xnnpack.operators import node_visitor, op_conv2d

    visitor = node_visitor._node_visitor_dict["aten.convolution.default"]
    define_node = visitor.define_node
    shape_of, param_of = node_visitor.get_shape, node_visitor.get_param_tensor

    def define(self: Any, node: Node, graph: Any, ids: Any, handle: int) -> None:
        weight = _zero_padded(self, node, param_of)
        if weight is None:
            define_node(self, node, graph, ids, handle)
            return
        kernel, source = weight

        def shape(one: Node) -> Any:
            found = shape_of(one)
            return [*found[:2], found[2] - 1, found[3] - 1] if one is kernel else found

        def param(program: Any, one: Node) -> Tensor | None:
            found = cast("Tensor | None", param_of(program, one))
            return _without_zeros(found) if one is source and found is not None else found

        with (
            replaced(node_visitor, "get_shape", shape),
            replaced(op_conv2d, "get_shape", shape),
            replaced(node_visitor, "get_param_tensor", param),
        ):
            define_node(self, node, graph, ids, handle)
        convolution = graph.xnodes[-1].xnode_union
        convolution.padding_top = convolution.padding_left = 0

    with replaced(visitor, "define_node", define):
        yield


def _zero_padded(visitor: Any, node: Node, param_of: Any) -> tuple[Node, Node] | None:
    """Return the kernel's node and where its numbers are, if its first row and column are zero.

    Only of convolutions that pad by one and step by two.
    """
    from executorch.backends.xnnpack.operators.quant_params import QuantParams

    _, kernel, _, stride, padding, dilation, transposed = node.args[:7]
    plain = not transposed and set(cast("list[int]", dilation)) == {1}
    if not plain or set(cast("list[int]", stride)) != {2} or set(cast("list[int]", padding)) != {1}:
        return None
    assert isinstance(kernel, Node)
    quantized = QuantParams.from_weights(kernel, visitor.exported_program)
    source = kernel if quantized is None else quantized.q_input
    weight = param_of(visitor.exported_program, source)
    if weight is None or weight.dim() != _KERNEL_DIMS or min(weight.shape[2:]) < 2:
        return None
    border = bool(weight[:, :, 0].any()) or bool(weight[:, :, :, 0].any())
    return None if border else (kernel, source)


def _without_zeros(weight: Tensor) -> Tensor:
    return weight[:, :, 1:, 1:].contiguous()
