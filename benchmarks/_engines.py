"""The engines that a user could choose: how an artifact of a network is made, and how it is run.

Nothing heavy is imported before it is called: the measuring process loads this module, and its
memory is measured.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmarks._child import run_edge
from benchmarks._store import Store
from runtime.errors import ConfigError
from runtime.options import did_you_mean

if TYPE_CHECKING:
    from benchmarks._networks import Network

Floats = npt.NDArray[np.float32]
Run = Callable[[Floats], Sequence[Floats]]

INSTALL = "pip install '.[bench]'"
OURS = "xnnpack"
FAMILIES: tuple[str, ...] = ("torch", "onnxruntime", "openvino")
INT8, FLOAT = "xnnpack-int8", "xnnpack-fp32"
_ONNX = ("torch", "onnx", "onnxscript")
_INPUT = "clip"
# What OpenVINO computes in where it is not int8.
_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32", "int8-bf16": "bf16"}
_QUANTIZED = ("Conv", "Gemm", "Add", "Mul", "MaxPool", "Relu", "Clip", "Concat", "Split", "Slice",
              "Reshape", "Transpose", "Pad")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One engine at one precision.

    Attributes:
        family: What `--against` calls it; `xnnpack` is ours.
        precision: `fp32`, `bf16`, `int8`; `int8-bf16` computes in bf16 what is not int8.
        packages: Modules that it needs, for building and for running.
    """

    family: str
    precision: str
    packages: tuple[str, ...]

    @property
    def name(self) -> str:
        """`onnxruntime-int8`."""
        return f"{self.family}-{self.precision}"

    def missing(self) -> str:
        """Return why it cannot be measured here; empty where it can."""
        lacking = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if lacking:
            return f"not measured: {INSTALL} (needs {', '.join(lacking)})"
        if "bf16" in self.precision and not has_bf16():
            return "not measured: this processor has no bfloat16 arithmetic"
        return ""


ENGINES: tuple[Engine, ...] = (
    Engine(family=OURS, precision="int8", packages=("torch", "torchao", "executorch")),
    Engine(family=OURS, precision="fp32", packages=("torch", "torchao", "executorch")),
    Engine(family="torch", precision="fp32", packages=("torch",)),
    Engine(family="onnxruntime", precision="fp32", packages=("onnxruntime", *_ONNX)),
    Engine(family="onnxruntime", precision="int8", packages=("onnxruntime", *_ONNX)),
    Engine(family="openvino", precision="fp32", packages=("openvino", *_ONNX)),
    Engine(family="openvino", precision="bf16", packages=("openvino", *_ONNX)),
    Engine(family="openvino", precision="int8", packages=("openvino", "nncf", *_ONNX)),
    Engine(family="openvino", precision="int8-bf16", packages=("openvino", "nncf", *_ONNX)),
)


def chosen_engines(against: Sequence[str]) -> list[Engine]:
    """Return ours and the engines of the named families.

    Raises:
        ConfigError: A family is not known.
    """
    for name in against:
        if name not in FAMILIES:
            raise ConfigError(
                f"--against {name!r} is not known.{did_you_mean(name, FAMILIES)} "
                f"Choose from: {', '.join(FAMILIES)}"
            )
    return [e for e in ENGINES if e.family == OURS or e.family in against]


def engine_named(name: str) -> Engine:
    """Return an engine by its name."""
    return next(engine for engine in ENGINES if engine.name == name)


def has_bf16() -> bool:
    """Tell whether the processor multiplies in bfloat16 itself."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return False
    return any(word in flags for word in ("avx512_bf16", "amx_bf16", "bf16"))


def artifact(network: Network, engine: Engine, root: Path) -> Path | str:
    """Return the file that an engine runs, or why there is none; it is built once."""
    reason = engine.missing()
    if reason:
        return reason
    store = Store(root, network.name, network.fingerprint)
    build = {"torch": _torch, OURS: _xnnpack, "onnxruntime": _onnx, "openvino": _openvino}
    try:
        return build[engine.family](network, engine.precision, store)
    except Exception as error:  # converters have kinds of their own; measure the rest
        said = " ".join(str(error).split())[:200]
        return f"not measured: building it failed ({type(error).__name__}: {said})"


def exported(network: Network, store: Store) -> Path:
    """Return the bundle that `edge export` makes of one of our networks."""

    def build(folder: Path) -> Mapping[str, Any]:
        from edge.model.bmvit import BMViT
        from edge.model.checkpoint import save_checkpoint

        assert isinstance(network.model, BMViT)
        names = [f"action {index}" for index in range(network.model.config.num_classes)]
        checkpoint = folder / "model.pt"
        save_checkpoint(checkpoint, network.model, class_names=names, trained=False, note="bench")
        run_edge(
            "export", "--model", str(checkpoint), "--targets", INT8, FLOAT, "onnx",
            "--calib-data", str(network.clips.videos),
            "--calib-clips", str(len(network.clips.calibration)), "--out", str(folder / "bundle"),
        )  # fmt: skip
        return {}

    return store.get("bundle", ("torchao", "executorch", *_ONNX), build) / "bundle"


def _torch(network: Network, precision: str, store: Store) -> Path:
    """Save the module; ours as the checkpoint that `edge export` began with."""
    import torch

    if network.config is not None:
        return exported(network, store).parent / "model.pt"

    def save(folder: Path) -> Mapping[str, Any]:
        program = torch.export.export(network.model, (network.example,))
        torch.export.save(program, folder / "network.pt2")
        return {}

    return store.get("torch", ("torch",), save) / "network.pt2"


def _xnnpack(network: Network, precision: str, store: Store) -> Path:
    if network.config is not None:
        return exported(network, store) / f"xnnpack-{precision}.pte"

    def lower(folder: Path) -> Mapping[str, Any]:
        """Lower as the tutorials do: export, quantize, hand to the partitioner."""
        import torch
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

        from quantize.ptq import quantize_static
        from quantize.schemes import Scheme

        graph: Any = torch.export.export(network.model, (network.example,)).module()
        if precision == "int8":
            scheme = Scheme(name="naive", engine="xnnpack", per_channel_weights=True,
                            activations="affine", float_modules=())  # fmt: skip
            clips = (torch.from_numpy(clip) for clip in network.clips.calibration)
            graph = quantize_static(graph, clips, scheme=scheme)
        edge = to_edge_transform_and_lower(
            torch.export.export(graph, (network.example,)),
            partitioner=[XnnpackPartitioner()],
            compile_config=EdgeCompileConfig(_check_ir_validity=False),
        )
        (folder / "network.pte").write_bytes(edge.to_executorch().buffer)
        return {}

    packages = ("torch", "torchao", "executorch")
    return store.get(f"xnnpack-{precision}", packages, lower) / "network.pte"


def _float_onnx(network: Network, store: Store) -> Path:
    """Return the float32 graph that all other engines begin with."""
    if network.config is not None:
        return exported(network, store) / "onnx-fp32.onnx"

    def export(folder: Path) -> Mapping[str, Any]:
        import torch

        torch.onnx.export(
            torch.export.export(network.model, (network.example,)), (network.example,),
            folder / "network.onnx", input_names=[_INPUT], opset_version=18, dynamo=True,
            external_data=False, verbose=False,
        )  # fmt: skip
        return {}

    return store.get("onnx", _ONNX, export) / "network.onnx"


def _onnx(network: Network, precision: str, store: Store) -> Path:
    source = _float_onnx(network, store)
    if precision == "fp32":
        return source

    def quantize(folder: Path) -> Mapping[str, Any]:
        import onnx
        from onnxruntime import quantization as ort
        from onnxruntime.quantization.shape_inference import quant_pre_process

        clips = iter(network.clips.calibration)

        class Reader(ort.CalibrationDataReader):  # type: ignore[misc]
            def get_next(self) -> dict[str, Floats] | None:
                clip = next(clips, None)
                return None if clip is None else {_INPUT: clip}

        prepared = folder / "prepared.onnx"
        quant_pre_process(str(source), str(prepared))
        graph = onnx.load(str(prepared)).graph
        dims = {weight.name: len(weight.dims) for weight in graph.initializer}
        # Faster than the default recipe in every try: unsigned activations, signed weights, and
        # attention in float. It has no int8 kernel for 3D convolutions: these stay in float too.
        ort.quantize_static(
            str(prepared), str(folder / "network.onnx"), Reader(),
            quant_format=ort.QuantFormat.QDQ, activation_type=ort.QuantType.QUInt8,
            weight_type=ort.QuantType.QInt8, per_channel=True,
            op_types_to_quantize=list(_QUANTIZED if network.config is not None else ("Conv",)),
            nodes_to_exclude=[node.name for node in graph.node
                              if node.op_type == "Conv" and dims.get(node.input[1]) == 5],
        )  # fmt: skip
        prepared.unlink()
        return {}

    return store.get("onnxruntime-int8", (*_ONNX, "onnxruntime"), quantize) / "network.onnx"


def _openvino(network: Network, precision: str, store: Store) -> Path:
    source = _float_onnx(network, store)
    int8 = precision.startswith("int8")

    def convert(folder: Path) -> Mapping[str, Any]:
        import openvino

        model = openvino.Core().read_model(source)
        if int8:
            import nncf

            clips = list(network.clips.calibration)
            # The transformer recipe for ours; networks of convolutions alone have the plain one.
            kind = nncf.ModelType.TRANSFORMER if network.config is not None else None
            model = nncf.quantize(
                model, nncf.Dataset(clips), preset=nncf.QuantizationPreset.MIXED,
                model_type=kind, subset_size=len(clips),
            )  # fmt: skip
        openvino.save_model(model, folder / "network.xml", compress_to_fp16=False)
        return {}

    name = "openvino-int8" if int8 else "openvino-fp32"
    return store.get(name, (*_ONNX, "openvino", "nncf"), convert) / "network.xml"


def delegated(path: Path) -> str:
    """Return the share of the multiply-adds in the delegate, as a bundle says it."""
    from runtime.bundle import Bundle
    from runtime.bundle_spec import BUNDLE_FILE

    if path.suffix != ".pte" or not (path.parent / BUNDLE_FILE).is_file():
        return ""
    with Bundle.load(path.parent) as bundle:
        taken = bundle.artifact(path.stem).delegated
    return f"{taken['share']:.1%} in {taken['calls']}" if taken else ""


def load(path: Path, engine: Engine, threads: int) -> Run:
    """Load an artifact in its engine; return the function that runs one input."""
    run = {"torch": _load_torch, OURS: _load_xnnpack, "onnxruntime": _load_onnx}
    if engine.family == "openvino":
        return _load_openvino(path, threads, _HINTS[engine.precision])
    return run[engine.family](path, threads)


def _load_torch(path: Path, threads: int) -> Run:
    import torch

    from benchmarks._networks import outputs_of
    from edge.model.checkpoint import load_checkpoint

    torch.set_num_threads(threads)
    stored = path.suffix == ".pt2"
    model = torch.export.load(path).module() if stored else load_checkpoint(path).model

    def run(clip: Floats) -> list[Floats]:
        with torch.inference_mode():
            return [o.numpy() for o in outputs_of(model, torch.from_numpy(clip))]

    return run


def _load_xnnpack(path: Path, threads: int) -> Run:
    from runtime._native import Engine as Native

    run: Run = Native(str(path), threads)
    return run


def _load_onnx(path: Path, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(path), sess_options=options, providers=["CPUExecutionProvider"]
    )
    return lambda clip: session.run(None, {_INPUT: clip})


def _load_openvino(path: Path, threads: int, hint: str) -> Run:
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}  # fmt: skip
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    request, outputs = compiled.create_infer_request(), compiled.outputs

    def run(clip: Floats) -> list[Floats]:
        found = request.infer({0: clip}, share_inputs=True, share_outputs=True)
        return [found[output] for output in outputs]

    return run
