"""Which instructions for int8 arithmetic a processor has."""

from __future__ import annotations

import platform
import re
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_KNOWN = re.compile(r"\b(?:avx2|avx512_vnni|avx_vnni|amx_int8|asimddp|i8mm|sve)\b")
DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})
"""Names that Linux gives to instructions which add int8 products in 32 bits."""


def instructions(path: Path = _CPUINFO) -> frozenset[str] | None:
    """Return those of a few known names that this processor has; None where nothing tells."""
    try:
        return frozenset(_KNOWN.findall(path.read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return None


@cache
def int8_sums_overflow() -> bool:
    """Tell whether int8 kernels may add products in 16 bits here, which can overflow.

    x86 before VNNI has no other fast instruction (`vpmaddubsw`). ONNX Runtime and OpenVINO use it;
    XNNPACK does not.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    found = instructions()
    return found is not None and not found & DOT_PRODUCTS
