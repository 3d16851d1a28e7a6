"""The engines that can run programs here, one module each; what they need is imported on use."""

from __future__ import annotations

from runtime.engines.base import EngineKind, Program
from runtime.engines.native import VULKAN, XNNPACK
from runtime.engines.onnx import ONNX
from runtime.engines.openvino import OPENVINO
from runtime.engines.tensorrt import TENSORRT

# By the word that a bundle calls them. The order is the preference: a GPU before the processor;
# on the processor the one measured to be fastest first (docs/benchmarks.md).
ENGINES: dict[str, EngineKind] = {
    "tensorrt": TENSORRT,
    "xnnpack": XNNPACK,
    "openvino": OPENVINO,
    "onnx": ONNX,
    "vulkan": VULKAN,  # last: which GPU it is, and how fast, is not known
}

__all__ = ["ENGINES", "EngineKind", "Program"]
