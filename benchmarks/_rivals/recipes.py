"""The rival in each engine: the same graph for all, and for int8 what suits a 3D network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._engines.base import Engine, engine_named
from benchmarks._engines.onnx_runtime import export_onnx, quantize_static
from benchmarks._rivals.cells import Floats

if TYPE_CHECKING:
    from benchmarks._engines.artifacts import Store
    from benchmarks._engines.networks import Clips, Network

SEED = 20
RIVAL = "YOWOv2-Nano"
ENGINES: tuple[Engine, ...] = tuple(
    engine_named(name)
    for name in (
        "torch-fp32", "onnxruntime-fp32", "onnxruntime-int8", "openvino-fp32", "openvino-bf16",
        "openvino-int8", "openvino-int8-bf16",
    )
)  # fmt: skip
_ONNX = ("torch", "onnx", "onnxscript")
_CONV_2D_WEIGHT = 4  # dimensions


def rival_network(num_classes: int, *, calib_data: Path | None, calib_clips: int) -> Network:
    """Return YOWOv2-Nano with its clips: those of `nano`, as it takes them."""
    import torch

    from benchmarks._engines.networks import Network
    from benchmarks._rivals.random_weights import build_rival

    clips = rival_clips(calib_data, calib_clips)
    model = build_rival(num_classes, [torch.from_numpy(c) for c in clips.calibration], seed=SEED)
    return Network(RIVAL, model, clips, naive=True)


def rival_clips(calib_data: Path | None, count: int) -> Clips:
    """Read or draw clips (1, 16, 3, 224, 224), values 0 to 255, one frame of the video each."""
    from benchmarks._engines.networks import Clips, load_clips
    from benchmarks._rivals.yowov2 import NUM_FRAMES, SIZE
    from edge.model.bmvit import with_overrides
    from edge.model.variants import variant_config

    config = with_overrides(
        variant_config("nano"), num_frames=NUM_FRAMES, sampling_rate=1, height=SIZE, width=SIZE
    )
    read = load_clips(config, calib_data=calib_data, count=count)
    mean, std = (
        np.array(value, np.float32).reshape(3, 1, 1) for value in (config.mean, config.std)
    )

    def raw(clips: tuple[Floats, ...]) -> tuple[Floats, ...]:
        return tuple(np.rint((clip * std + mean) * 255.0).astype(np.float32) for clip in clips)

    return Clips(
        calibration=raw(read.calibration), held_out=raw(read.held_out[:1]), origin=read.origin
    )


def rival_shape(network: Network) -> dict[str, Any]:
    """Return what a pipeline needs to know of the rival's network: frames, side, strides."""
    from benchmarks._rivals.yowov2 import STRIDES

    _, num_frames, _, size, _ = network.clips.held_out[0].shape
    return {"num_frames": num_frames, "size": size, "strides": STRIDES}


def rival_facts(network: Network) -> list[str]:
    """Return what was built against what is published, for the report."""
    from benchmarks._rivals import yowov2
    from edge.model.complexity import count

    classes = yowov2.PUBLISHED_CLASSES
    shape = (1, yowov2.NUM_FRAMES, 3, yowov2.SIZE, yowov2.SIZE)
    whole = count(yowov2.YOWOv2Nano(classes), shape)
    return [
        f"{RIVAL} is written anew from its description: {whole.params / 1e6:.2f} M parameters "
        f"({yowov2.PUBLISHED_MPARAMS} published) and {whole.macs / 1e9:.2f} G multiply-adds with "
        f"{classes} classes ({yowov2.PUBLISHED_GMAC} published, norms and poolings counted too), "
        f"{network.gflop:.2f} GFLOP with the classes measured here.",
    ]


def build(network: Network, engine: Engine, store: Store) -> Path:
    """Build the rival's artifact for an engine, or find it built; return its file."""
    if engine.name == "onnxruntime-int8":
        return _onnxruntime_int8(network, store)
    if engine.family == "openvino" and engine.precision.startswith("int8"):
        return _openvino_int8(network, store)
    return engine.load_module().build(network, engine.precision, store)


def _openvino_int8(network: Network, store: Store) -> Path:
    source = export_onnx(network, store)

    def quantize(folder: Path) -> Mapping[str, Any]:
        import nncf
        import openvino

        clips = list(network.clips.calibration)
        # Not the transformer recipe that `nano` gets: this one is made for convolutions. MIXED,
        # since the activations are mostly leaky; it was no slower than PERFORMANCE.
        model = nncf.quantize(
            openvino.Core().read_model(source),
            nncf.Dataset(clips),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(clips),
        )
        openvino.save_model(model, folder / "network.xml", compress_to_fp16=False)
        return {}

    return store.get("openvino-int8", (*_ONNX, "openvino", "nncf"), quantize) / "network.xml"


def _onnxruntime_int8(network: Network, store: Store) -> Path:
    source = export_onnx(network, store)

    def quantize(folder: Path) -> Mapping[str, Any]:
        # It has no int8 kernel for 3D convolutions: every recipe that gives them quantizers took
        # longer than float.
        quantize_static(
            network, source, folder / "network.onnx", kinds=["Conv"], weight_dims=_CONV_2D_WEIGHT
        )
        return {}

    return store.get("onnxruntime-int8", (*_ONNX, "onnxruntime"), quantize) / "network.onnx"
