"""What an exported ONNX graph must be, so that TensorRT's parser takes it; checked at each export.

TensorRT cannot be installed everywhere (its libraries come with CUDA's), so the rules of its ONNX
parser are kept here as data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.errors import ExportError, UnsupportedOpError

OPSET = 18
"""The exporter's own; TensorRT 10.15's parser takes 9 to 24 and 8.5's up to 17."""

SOURCE = "https://github.com/onnx/onnx-tensorrt/blob/main/docs/operators.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """An ONNX operator of TensorRT's table that our graphs use.

    Attributes:
        used_by: `all`, `int8`, `fp16`, `compact` (with duplicate suppression), `stem` (on a
            pretrained stem, which has no `MaxPool`), or `small` (the published form of the
            network).
        restriction: What the table says beyond "supported", where it concerns us.
    """

    used_by: str
    restriction: str = ""


# All are in the tables of TensorRT 8.5 and of 10.15, so in those between. LayerNormalization is not
# in the older one; the export has none.
TENSORRT_OPERATORS: dict[str, Operator] = {
    "Add": Operator(used_by="all"),
    "Cast": Operator(used_by="fp16"),
    "Clip": Operator(used_by="compact"),
    "Concat": Operator(used_by="all"),
    "Conv": Operator(used_by="all"),
    "ConvTranspose": Operator(used_by="stem", restriction="2D or 3D, weights an initializer"),
    "DequantizeLinear": Operator(used_by="int8", restriction="`x_zero_point` must be zero"),
    "Div": Operator(used_by="all"),
    "Einsum": Operator(used_by="small", restriction="8.5: no ellipsis, diagonal or broadcasting"),
    "Erf": Operator(used_by="small"),
    "MatMul": Operator(used_by="all"),
    "MaxPool": Operator(used_by="all", restriction="2D or 3D, no `Indices`, no dilation"),
    "Min": Operator(used_by="compact"),
    "Mul": Operator(used_by="all"),
    "Pad": Operator(used_by="small"),
    "QuantizeLinear": Operator(used_by="int8", restriction="`y_zero_point` must be 0"),
    "Reciprocal": Operator(used_by="small"),
    "Relu": Operator(used_by="all"),
    "Reshape": Operator(used_by="all"),
    "Sigmoid": Operator(used_by="all"),
    "Slice": Operator(used_by="all", restriction="8.5: `axes` must be an initializer"),
    "Softmax": Operator(used_by="all"),
    "Sqrt": Operator(used_by="small"),
    "Squeeze": Operator(used_by="small", restriction="8.5: `axes` must be an initializer"),
    "Sub": Operator(used_by="all"),
    "Transpose": Operator(used_by="all"),
}

_QUANTIZING = ("QuantizeLinear", "DequantizeLinear")


def check_graph(model: Any, *, name: str) -> None:
    """Check a model by ONNX's own checker and by the rules of TensorRT's parser.

    Args:
        model: An `onnx.ModelProto`.
        name: The artifact's name, for messages.

    Raises:
        UnsupportedOpError: It has an operator that TensorRT's table does not have.
        ExportError: ONNX's checker refuses it, something constant was not folded, or its int8 is
            not what TensorRT takes.
    """
    import onnx

    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{name}: ONNX's checker refuses the graph: {_first(error)}") from error
    others = unsupported_operators(model)
    if others:
        raise UnsupportedOpError(
            f"{name} would have {', '.join(others)}, which is not in the table of the operators "
            f"that TensorRT takes ({SOURCE})"
        )
    unfolded = [node.name for node in unfolded_nodes(model)]
    if unfolded:
        raise ExportError(
            f"{name} computes {len(unfolded)} constants at each clip, {unfolded[0]} first; they "
            "were to be folded"
        )
    faults = list(quantization_faults(model))
    if faults:
        raise ExportError(f"{name}: {faults[0]}; TensorRT would refuse it")


def count_operators(model: Any) -> dict[str, int]:
    """Return how often each operator occurs, by name."""
    return dict(sorted(Counter(node.op_type for node in model.graph.node).items()))


def unsupported_operators(model: Any) -> list[str]:
    """Return operators outside TensorRT's table, and those of other domains."""
    return sorted(
        {
            f"{node.domain}.{node.op_type}" if node.domain else str(node.op_type)
            for node in model.graph.node
            if node.domain or node.op_type not in TENSORRT_OPERATORS
        }
    )


def unfolded_nodes(model: Any) -> list[Any]:
    """Return nodes whose inputs are all constants; int8 weights alone must stay as they are."""
    constants = {tensor.name for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if not all(value in constants for value in node.input if value):
            continue
        constants.update(node.output)
        # A weight of a linear is turned behind its DequantizeLinear, as TensorRT wants it.
        if node.op_type not in ("DequantizeLinear", "Transpose"):
            found.append(node)
    return found


def quantization_faults(model: Any) -> Iterator[str]:
    """Name what TensorRT's explicit quantization does not take: other types, zero points, scales.

    Weights are to have a scale for each output channel, which is their first dimension.
    """
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type not in _QUANTIZING:
            continue
        if any(value not in constants for value in node.input[1:]) or len(node.input) < 3:
            yield f"{node.name} has a scale or zero point that is no constant"
            continue
        scale, zero = (numpy_helper.to_array(constants[value]) for value in node.input[1:])
        if zero.dtype != np.int8 or zero.any():
            yield f"{node.name} has the zero point {zero.dtype} {zero.ravel()[0]}, expected int8 0"
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            yield f"{node.name} has a scale that is not positive"
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        if scale.ndim and (node.input[0] not in constants or axis != 0):
            yield f"{node.name} has a scale for each of dimension {axis}, expected weights' first"


def strip_notes(model: Any) -> None:
    """Remove where each node came from: source lines of this machine are nobody's to ship."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.value_info,
                 *graph.input, *graph.output):  # fmt: skip
        del part.metadata_props[:]
        part.ClearField("doc_string")


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
