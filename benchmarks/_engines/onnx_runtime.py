"""ONNX Runtime on the processor: float32, and static int8 with explicit quantize/dequantize."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._engines.base import Floats, Run

if TYPE_CHECKING:
    from benchmarks._engines.artifacts import Store
    from benchmarks._engines.networks import Network

OPSET = 18
_EXPORT = ("torch", "onnx", "onnxscript")
INPUT = "clip"
_QUANTIZED = ["Conv", "Gemm", "Add", "Mul", "MaxPool", "Relu", "Clip", "Concat", "Split", "Slice",
              "Reshape", "Transpose", "Pad"]  # fmt: skip


def build(network: Network, precision: str, store: Store) -> Path:
    """Export to ONNX, and quantize where asked."""
    source = export_onnx(network, store)
    if precision == "fp32":
        return source

    def quantize(folder: Path) -> Mapping[str, Any]:
        quantize_static(network, source, folder / "network.onnx")
        return {}

    return store.get("onnxruntime-int8", (*_EXPORT, "onnxruntime"), quantize) / "network.onnx"


def export_onnx(network: Network, store: Store) -> Path:
    """Return the network as ONNX, the same graph that every engine gets."""

    def export(folder: Path) -> Mapping[str, Any]:
        import torch

        torch.onnx.export(
            torch.export.export(network.graph, (network.example,)),
            (network.example,),
            folder / "network.onnx",
            input_names=[INPUT],
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        return {"opset": OPSET}

    return store.get("onnx", _EXPORT, export) / "network.onnx"


def load(path: Path, precision: str, threads: int) -> Run:
    """Load a model with all graph optimisations, and as many threads as the others have."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(
        str(path), sess_options=options, providers=["CPUExecutionProvider"]
    )

    def run(clip: Floats) -> list[Floats]:
        outputs: list[Floats] = session.run(None, {INPUT: clip})
        return outputs

    return run


def quantize_static(
    network: Network,
    source: Path,
    target: Path,
    *,
    kinds: Sequence[str] = _QUANTIZED,
    weight_dims: int | None = None,
) -> None:
    """Quantize an ONNX model with the ranges of the network's clips.

    Args:
        network: Its calibration clips are used.
        source: The float model.
        target: File to write.
        kinds: Operators to quantize.
        weight_dims: Leave convolutions alone whose weight has another number of dimensions.
    """
    import onnx
    from onnxruntime import quantization as ort
    from onnxruntime.quantization.shape_inference import quant_pre_process

    clips = iter(network.clips.calibration)

    class Reader(ort.CalibrationDataReader):  # type: ignore[misc]
        """Gives the calibration clips, one at a time."""

        def get_next(self) -> dict[str, Floats] | None:
            """Return the next clip, None behind the last."""
            clip = next(clips, None)
            return None if clip is None else {INPUT: clip}

    prepared = target.with_name("prepared.onnx")
    quant_pre_process(str(source), str(prepared))
    graph = onnx.load(str(prepared)).graph
    dims = {weight.name: len(weight.dims) for weight in graph.initializer}
    # Faster than the default recipe in every try on `nano`: unsigned activations, signed weights
    # (signed ones take twice as long), and attention in float.
    ort.quantize_static(
        str(prepared),
        str(target),
        Reader(),
        quant_format=ort.QuantFormat.QDQ,
        activation_type=ort.QuantType.QUInt8,
        weight_type=ort.QuantType.QInt8,
        per_channel=True,
        op_types_to_quantize=list(kinds),
        nodes_to_exclude=[
            node.name
            for node in graph.node
            if node.op_type == "Conv" and weight_dims not in (None, dims.get(node.input[1]))
        ],
    )
    prepared.unlink()
