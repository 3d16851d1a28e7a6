"""int8 schemes by target, and post-training quantization."""

from __future__ import annotations

from quantize.schemes import XNNPACK_INT8, Scheme

__all__ = ["XNNPACK_INT8", "Scheme"]
