"""Read an ExecuTorch program: its instructions, and each operator that XNNPACK was handed.

The wheel has no public reader of a delegate's payload; this takes the one that its own exporter
uses, with the schema that the wheel ships (executorch 1.5).
"""

from __future__ import annotations

import json
import math
import re
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import ArtifactError

_INFINITY = re.compile(r"(:\s*)(-?)inf\b")  # the schema's compiler writes no valid JSON for it
_INPUTS = ("input_id", "input1_id", "input2_id", "filter_id", "query_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operator of a delegate.

    Attributes:
        kind: What it does, `conv 1x1`, `quantize`.
        xnn: Its name in the delegate's schema, `XNNConv2d`.
        shapes: Input and output shape, as text.
        macs: Multiply-adds.
        elements: Values of the output.
    """

    kind: str
    xnn: str
    shapes: str
    macs: int
    elements: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One step of a program.

    Attributes:
        operator: Name of an operator outside the delegates; empty for a delegate call.
        backend: Name of the delegate's backend; empty for an operator.
        nodes: Operators of the delegate, where its payload can be read.
    """

    operator: str = ""
    backend: str = ""
    nodes: tuple[Node, ...] = ()


def read_instructions(path: Path) -> dict[int, Instruction]:
    """Return the calls of a program's `forward`, by their number in it.

    Raises:
        ArtifactError: The file is not such a program.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own imports, which nobody can act on here
        return _read(path)


def _read(path: Path) -> dict[int, Instruction]:
    from executorch.exir._serialize._program import deserialize_pte_binary

    try:
        content = deserialize_pte_binary(path.read_bytes())
    except Exception as error:  # its reader raises whatever the damage leads to
        raise ArtifactError(
            f"{path} is no ExecuTorch program ({error}); export it again"
        ) from error
    program = getattr(content, "program", content)
    # Beside it there may be the methods of overlapping clips.
    plan = next((p for p in program.execution_plan if p.name == "forward"), None)
    if plan is None:
        raise ArtifactError(f"{path} has no method forward; is it a program of `edge export`?")
    found: dict[int, Instruction] = {}
    for number, step in enumerate(plan.chains[0].instructions):
        call: Any = step.instr_args
        if type(call).__name__ == "DelegateCall":
            delegate = plan.delegates[call.delegate_index]
            payload = program.backend_delegate_data[delegate.processed.index].data
            nodes = read_nodes(bytes(payload)) if delegate.id == "XnnpackBackend" else ()
            found[number] = Instruction(backend=delegate.id, nodes=nodes)
        elif type(call).__name__ == "KernelCall":
            operator = plan.operators[call.op_index]
            name = f"{operator.name}.{operator.overload}" if operator.overload else operator.name
            found[number] = Instruction(operator=name)
    return found


def read_nodes(payload: bytes) -> tuple[Node, ...]:
    """Return the operators of an XNNPACK delegate, in the order in which they run."""
    graph = _decompile(payload)
    values = [_tensor(value["xvalue_union"]) for value in graph["xvalues"]]
    tensors = {tensor["id_out"]: tensor for tensor in values}
    return tuple(_node(node, tensors) for node in graph["xnodes"])


def _decompile(payload: bytes) -> dict[str, Any]:
    from executorch.backends.xnnpack.serialization import xnnpack_graph_serialize as serial
    from executorch.exir._serialize._flatbuffer import _flatc_decompile

    header = serial.XNNHeader.from_bytes(payload[: serial.XNNHeader.EXPECTED_LENGTH])
    end = header.flatbuffer_offset + header.flatbuffer_size
    with tempfile.TemporaryDirectory(prefix="bmvit-operators-") as name:
        folder = Path(name)
        (folder / "graph.fbs").write_bytes(serial._get_schema_bytes())
        (folder / "graph.bin").write_bytes(payload[header.flatbuffer_offset : end])
        _flatc_decompile(name, str(folder / "graph.fbs"), str(folder / "graph.bin"))
        text = (folder / "graph.json").read_text(encoding="utf-8")
    graph: dict[str, Any] = json.loads(_INFINITY.sub(r"\1\2Infinity", text))
    return graph


def _tensor(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the plain part of a value: the quantized ones wrap it."""
    inner: Mapping[str, Any] = value.get("tensor_value", value)
    return inner


def _node(node: Mapping[str, Any], tensors: Mapping[int, Mapping[str, Any]]) -> Node:
    xnn, facts = str(node["xnode_union_type"]), node["xnode_union"]
    inputs = [tensors[facts[key]] for key in _INPUTS if facts.get(key) in tensors]
    output = tensors.get(facts.get("output_id", -1), {"dims": []})
    out_dims = [int(n) for n in output["dims"]]
    in_dims = [int(n) for n in inputs[0]["dims"]] if inputs else []
    elements = math.prod(out_dims)
    return Node(
        kind=_kind(xnn, facts, inputs, output),
        xnn=xnn,
        shapes=f"{'x'.join(map(str, in_dims))} -> {'x'.join(map(str, out_dims))}",
        macs=_macs(xnn, facts, inputs, elements),
        elements=elements,
    )


def _kind(
    xnn: str, facts: Mapping[str, Any], inputs: list[Mapping[str, Any]], output: Mapping[str, Any]
) -> str:
    number = _precision(output)
    if xnn in ("XNNConv2d", "XNNDepthwiseConv2d"):
        size = f"{facts['kernel_height']}x{facts['kernel_width']}"
        what = "depthwise conv" if xnn == "XNNDepthwiseConv2d" else "conv"
        return f"{what} {size} {number}"
    if xnn == "XNNConvert":
        before = _precision(inputs[0])
        if before == number:
            return f"requantize {number}"
        return "quantize" if before == "fp32" else "dequantize"
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", xnn.removeprefix("XNN").removeprefix("Static"))
    return f"{words.lower()} {number}"


def _precision(tensor: Mapping[str, Any]) -> str:
    name = str(tensor.get("datatype", "fp32")).removeprefix("xnn_datatype_")
    return "int8" if name in ("qint8", "qcint8", "quint8") else name


def _macs(
    xnn: str, facts: Mapping[str, Any], inputs: list[Mapping[str, Any]], elements: int
) -> int:
    if xnn in ("XNNConv2d", "XNNDepthwiseConv2d"):
        taps = int(facts["kernel_height"]) * int(facts["kernel_width"])
        return elements * taps * int(facts["group_input_channels"])
    if xnn in ("XNNFullyConnected", "XNNBatchMatrixMultiply") and inputs:
        return elements * int(inputs[0]["dims"][-1])
    return 0
