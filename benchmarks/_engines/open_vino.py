"""OpenVINO on the processor: float32, bfloat16, and int8 by NNCF's transformer recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._engines.base import Floats, Run
from benchmarks._engines.onnx_runtime import export_onnx

if TYPE_CHECKING:
    from benchmarks._engines.artifacts import Store
    from benchmarks._engines.networks import Network

_PACKAGES = ("torch", "onnx", "onnxscript", "openvino")
# What the operations that are not int8 compute in.
_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32", "int8-bf16": "bf16"}


def build(network: Network, precision: str, store: Store) -> Path:
    """Convert the ONNX model, and quantize where asked; bf16 is a setting of the float model."""
    source = export_onnx(network, store)

    def convert(folder: Path) -> Mapping[str, Any]:
        import openvino

        model = openvino.Core().read_model(source)
        openvino.save_model(model, folder / "network.xml", compress_to_fp16=False)
        return {}

    def quantize(folder: Path) -> Mapping[str, Any]:
        import nncf
        import openvino

        clips = list(network.clips.calibration)
        model = nncf.quantize(
            openvino.Core().read_model(source),
            nncf.Dataset(clips),
            preset=nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(clips),
        )
        openvino.save_model(model, folder / "network.xml", compress_to_fp16=False)
        return {}

    if precision.startswith("int8"):
        return store.get("openvino-int8", (*_PACKAGES, "nncf"), quantize) / "network.xml"
    return store.get("openvino-fp32", _PACKAGES, convert) / "network.xml"


def load(path: Path, precision: str, threads: int) -> Run:
    """Compile for the processor, one stream, for the least latency."""
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(
        path,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
        },
    )
    request = compiled.create_infer_request()
    outputs = compiled.outputs

    def run(clip: Floats) -> list[Floats]:
        found = request.infer({0: clip}, share_inputs=True, share_outputs=True)
        return [found[output] for output in outputs]

    return run
