"""Targets by name; a target's module is imported when it is asked for, not before.

A new target is one row here, a module with its `Exporter`, and an optional dependency in
`pyproject.toml` where it needs one.
"""

from __future__ import annotations

import importlib
from typing import NamedTuple, cast

from export.base import Exporter, Precision
from runtime.errors import ConfigError
from runtime.options import did_you_mean


class TargetEntry(NamedTuple):
    """Where a target lives.

    Attributes:
        exporter: Dotted path of its `Exporter`, which is called with name and precision.
        label: What it is, in a few words.
    """

    exporter: str
    label: str


# The precision is the last word of the name.
TARGETS: dict[str, TargetEntry] = {
    name: TargetEntry(*row)
    for name, *row in (
        ("xnnpack-int8", "export.xnnpack.XnnpackExporter",
         "ExecuTorch XNNPACK, static int8 (any CPU)"),
        ("xnnpack-fp32", "export.xnnpack.XnnpackExporter",
         "ExecuTorch XNNPACK, float32 (any CPU)"),
        ("onnx-fp32", "export.onnx.OnnxExporter", "ONNX, float32 (TensorRT, ONNX Runtime)"),
        ("onnx-fp16", "export.onnx.OnnxExporter", "ONNX, float16 (TensorRT)"),
        ("onnx-int8", "export.onnx.OnnxExporter",
         "ONNX, static int8 with explicit Q/DQ (TensorRT, ONNX Runtime)"),
        ("tensorrt-fp16", "export.tensorrt.TensorRTExporter",
         "TensorRT engine, float16, for the NVIDIA GPU of this machine"),
        ("tensorrt-int8", "export.tensorrt.TensorRTExporter",
         "TensorRT engine, static int8, for the NVIDIA GPU of this machine"),
        ("openvino-fp32", "export.openvino.OpenVinoExporter",
         "OpenVINO, float32 (processors, x86-64 foremost)"),
        ("openvino-int8", "export.openvino.OpenVinoExporter",
         "OpenVINO, static int8 (processors, x86-64 foremost)"),
        ("vulkan-fp32", "export.vulkan.VulkanExporter",
         "ExecuTorch Vulkan, float32 (GPUs of phones and boards)"),
        ("vulkan-fp16", "export.vulkan.VulkanExporter",
         "ExecuTorch Vulkan, float16 (GPUs of phones and boards)"),
        ("vulkan-int8", "export.vulkan.VulkanExporter",
         "ExecuTorch Vulkan, static int8 (GPUs of phones and boards)"),
        ("coreml-fp16", "export.coreml.CoreMLExporter",
         "ExecuTorch Core ML, float16 (Apple devices)"),
    )
}  # fmt: skip

# What people call a target whose precision goes without saying.
ALIASES = {"coreml": "coreml-fp16", "onnx": "onnx-fp32"}


def get_target(name: str) -> Exporter:
    """Return the exporter of the target of that name, or of that alias.

    Raises:
        ConfigError: There is none.
    """
    name = ALIASES.get(name, name)
    if name not in TARGETS:
        raise ConfigError(
            f"unknown target {name!r}.{did_you_mean(name, TARGETS)} "
            f"Choose from: {', '.join(TARGETS)}"
        )
    module, _, kind = TARGETS[name].exporter.rpartition(".")
    build = getattr(importlib.import_module(module), kind)
    return cast(Exporter, build(name, cast(Precision, name.rpartition("-")[2])))
