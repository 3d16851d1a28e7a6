"""What a row costs on a device: parameters, multiply-adds, program size, int8 latency."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks._harness import Job, measure
from benchmarks._yowov2 import CLIP_SHAPE
from edge.model.baselines import TwoStage, TwoStageWithBoxes
from edge.model.bmvit import BMViT
from edge.model.complexity import count
from runtime.outputs import write_atomically

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Size and work of a network or a detector.

    Attributes:
        params: Parameters.
        macs: Multiply-adds of one result.
        trunk_macs: Those of them that are not of a pretrained stem.
    """

    params: int
    macs: int
    trunk_macs: int


def deployable(model: BMViT, boxes: int) -> BMViT:
    """Return what an engine runs: a two-stage network on so many fixed boxes, or the model."""
    if not isinstance(model, TwoStage):
        return model
    side = torch.linspace(0.05, 0.4, boxes)
    fixed = torch.stack([side, side, side + 0.3, side + 0.6], dim=1)[None]
    return TwoStageWithBoxes(model, fixed).eval()


def work_of(model: BMViT) -> Work:
    """Count a network on one clip."""
    counted = count(model, model.config.clip_shape)
    stem = counted.macs_by_module.get("backbone.stem", 0)
    return Work(params=counted.params, macs=counted.macs, trunk_macs=counted.macs - stem)


def work_of_onnx(path: Path) -> Work:
    """Count parameters and multiply-adds of an ONNX network: convolutions and matrix products."""
    import onnx
    from onnx import shape_inference

    model = shape_inference.infer_shapes(onnx.load(str(path)))
    graph = model.graph
    dims = {one.name: list(one.dims) for one in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        dims.setdefault(value.name, [one.dim_value for one in value.type.tensor_type.shape.dim])
    params = sum(
        int(np.prod(one.dims)) for one in graph.initializer
        if one.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    )  # fmt: skip
    macs = 0
    for node in graph.node:
        if node.op_type == "Conv":
            kernel = dims[node.input[1]]
            macs += int(np.prod(dims[node.output[0]])) * int(np.prod(kernel[1:]))
        elif node.op_type == "ConvTranspose":
            kernel = dims[node.input[1]]
            macs += int(np.prod(dims[node.input[0]])) * int(np.prod(kernel[1:]))
        elif node.op_type in ("MatMul", "Gemm"):
            macs += int(np.prod(dims[node.output[0]])) * dims[node.input[0]][-1]
    return Work(params=params, macs=macs, trunk_macs=macs)


def program(model: BMViT, clips: Sequence[Floats], path: Path) -> Path:
    """Lower a network to an int8 XNNPACK program, once; overlapping clips can share their steps.

    Args:
        model: In eval mode.
        clips: Calibration clips (1, T, 3, H, W).
        path: Where it is kept.
    """
    if not path.exists():
        from export.xnnpack import XnnpackExporter

        exporter = XnnpackExporter("xnnpack-int8", "int8")
        artifact = exporter.lower(model, clips)
        for line in [] if artifact.delegation is None else artifact.delegation.fallbacks:
            logger.info("%s: outside the delegate: %s", path.name, line)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, artifact.program)
    return path


def int8_detector(path: Path, frames: Sequence[npt.NDArray[np.uint8]], out: Path) -> Path:
    """Quantize a detector for ONNX Runtime, static int8 of its convolutions, once.

    Args:
        path: The float32 ONNX file, a MoveNet MultiPose.
        frames: Pictures (H, W, 3) BGR that give the ranges.
        out: Where it is kept.
    """
    if out.exists():
        return out
    from onnxruntime import quantization as ort
    from onnxruntime.quantization.shape_inference import quant_pre_process

    inputs = iter([_detector_input(path, frame) for frame in frames])
    name = _input_name(path)

    class Reader(ort.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Floats] | None:
            one = next(inputs, None)
            return None if one is None else {name: one}

    prepared = out.with_suffix(".prepared.onnx")
    quant_pre_process(str(path), str(prepared))
    part = out.with_suffix(".part.onnx")
    ort.quantize_static(
        str(prepared), str(part), Reader(), quant_format=ort.QuantFormat.QDQ,
        activation_type=ort.QuantType.QUInt8, weight_type=ort.QuantType.QInt8, per_channel=True,
        op_types_to_quantize=["Conv"],
    )  # fmt: skip
    prepared.unlink()
    part.rename(out)
    return out


def latencies(
    programs: Mapping[str, Path],
    detectors: Mapping[str, Path],
    peers: Mapping[str, Mapping[str, Path]],
    frame: npt.NDArray[np.uint8] | None,
    *,
    rounds: int,
    turn_ms: float,
    scratch: Path,
) -> dict[tuple[str, str], list[float]]:
    """Measure all programs and detectors in turn, each in a process of its own, on one thread.

    What is measured is the time of the processor: other work on the machine does not count.

    Args:
        programs: XNNPACK programs by name.
        detectors: ONNX files by the name of their engine.
        peers: What other engines run of whole networks, by name and engine.
        frame: A picture for the detectors.
        rounds: Turns of each.
        turn_ms: Length of a turn, milliseconds of the processor.
        scratch: For the detectors' input.

    Returns:
        The median of each round, milliseconds, by name and kind: `rounds` of whole clips and of
        detectors, `live` of clips that begin two samples apart; the name of a peer has that of its
        engine behind it.
    """
    jobs = [
        Job(key=(name, kind),
            content={"kind": "steps", "path": str(path.resolve()), "stride": 2,
                     "shared": kind == "live", "clock": "processor"})
        for name, path in programs.items() for kind in ("rounds", "live")
    ]  # fmt: skip
    for name, engines in peers.items():
        for engine, path in engines.items():
            content = {"kind": "engine", "engine": engine, "path": str(path.resolve()),
                       "shape": list(CLIP_SHAPE), "clock": "processor"}  # fmt: skip
            jobs.append(Job(key=(f"{name} {engine}", "rounds"), content=content))
    for engine, path in detectors.items():
        assert frame is not None, "detectors need a picture"
        tensor = _detector_input(path, frame)
        kept = scratch / f"{engine}.npy"
        np.save(kept, tensor)
        content = {"kind": "onnx", "path": str(path.resolve()), "input": str(kept.resolve()),
                   "clock": "processor"}  # fmt: skip
        jobs.append(Job(key=(engine, "rounds"), content=content))
    taken = measure(jobs, threads=1, rounds=rounds, turn_ms=turn_ms)
    result: dict[tuple[str, str], list[float]] = {}
    for key, one in taken.items():
        if one.failure:
            logger.warning("%s, %s: %s", *key, one.failure)
            continue
        result[key] = [float(np.median(times)) for times in one.rounds]
    return result


def _input_name(path: Path) -> str:
    import onnx

    return str(onnx.load(str(path), load_external_data=False).graph.input[0].name)


def _detector_input(path: Path, frame_bgr: npt.NDArray[np.uint8]) -> Floats:
    """Return a picture as MoveNet takes it: stretched, RGB, 0 - 255."""
    import onnx

    from edge.labelling.detectors import squashed

    shape: Any = onnx.load(str(path), load_external_data=False).graph.input[0].type.tensor_type
    height, width = (one.dim_value for one in shape.shape.dim[2:])
    tensor, _ = squashed(frame_bgr, (width, height), 1.0)
    return np.ascontiguousarray(tensor[:, ::-1])
