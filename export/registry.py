"""Targets by name; a target's module is imported when it is asked for, not before."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import cast

from export.base import Precision, Target
from runtime.errors import ConfigError
from runtime.options import did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetEntry:
    """Where a target lives.

    Attributes:
        module: Dotted path of the module with `build(name, precision) -> Target`.
        precision: Which precision of it.
        extra: The optional dependency that it needs.
        label: What it is, in a few words.
    """

    module: str
    precision: Precision
    extra: str
    label: str


TARGETS: dict[str, TargetEntry] = {
    "xnnpack-int8": TargetEntry(
        module="export.xnnpack",
        precision="int8",
        extra="export",
        label="ExecuTorch XNNPACK, static int8 (any CPU)",
    ),
    "xnnpack-fp32": TargetEntry(
        module="export.xnnpack",
        precision="fp32",
        extra="export",
        label="ExecuTorch XNNPACK, float32 (any CPU)",
    ),
    "onnx-fp32": TargetEntry(
        module="export.onnx",
        precision="fp32",
        extra="onnx",
        label="ONNX, float32 (TensorRT, ONNX Runtime)",
    ),
    "onnx-fp16": TargetEntry(
        module="export.onnx",
        precision="fp16",
        extra="onnx",
        label="ONNX, float16 (TensorRT)",
    ),
    "onnx-int8": TargetEntry(
        module="export.onnx",
        precision="int8",
        extra="onnx",
        label="ONNX, static int8 with explicit Q/DQ (TensorRT, ONNX Runtime)",
    ),
    "tensorrt-fp16": TargetEntry(
        module="export.tensorrt",
        precision="fp16",
        extra="tensorrt",
        label="TensorRT engine, float16, for the NVIDIA GPU of this machine",
    ),
    "tensorrt-int8": TargetEntry(
        module="export.tensorrt",
        precision="int8",
        extra="tensorrt",
        label="TensorRT engine, static int8, for the NVIDIA GPU of this machine",
    ),
    "openvino-fp32": TargetEntry(
        module="export.openvino",
        precision="fp32",
        extra="openvino",
        label="OpenVINO, float32 (processors, x86-64 foremost)",
    ),
    "openvino-int8": TargetEntry(
        module="export.openvino",
        precision="int8",
        extra="openvino",
        label="OpenVINO, static int8 (processors, x86-64 foremost)",
    ),
    "vulkan-fp32": TargetEntry(
        module="export.vulkan",
        precision="fp32",
        extra="export",
        label="ExecuTorch Vulkan, float32 (GPUs of phones and boards)",
    ),
    "vulkan-fp16": TargetEntry(
        module="export.vulkan",
        precision="fp16",
        extra="export",
        label="ExecuTorch Vulkan, float16 (GPUs of phones and boards)",
    ),
    "vulkan-int8": TargetEntry(
        module="export.vulkan",
        precision="int8",
        extra="export",
        label="ExecuTorch Vulkan, static int8 (GPUs of phones and boards)",
    ),
    "coreml-fp16": TargetEntry(
        module="export.coreml",
        precision="fp16",
        extra="coreml",
        label="ExecuTorch Core ML, float16 (Apple devices)",
    ),
}


# What people call a target whose precision goes without saying.
ALIASES = {"coreml": "coreml-fp16", "onnx": "onnx-fp32"}


def get_target(name: str) -> Target:
    """Return the target of that name, or of that alias.

    Raises:
        ConfigError: There is none.
    """
    name = ALIASES.get(name, name)
    if name not in TARGETS:
        raise ConfigError(
            f"unknown target {name!r}.{did_you_mean(name, TARGETS)} "
            f"Choose from: {', '.join(TARGETS)}"
        )
    entry = TARGETS[name]
    module = importlib.import_module(entry.module)
    return cast(Target, module.build(name, entry.precision))
