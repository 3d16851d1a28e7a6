"""ExecuTorch programs, by the native module."""

from __future__ import annotations

from pathlib import Path

from runtime.engines.base import EngineKind, Program


def _xnnpack_missing() -> str | None:
    from runtime import _native

    backends = _native.info()["backends"]
    return None if "XnnpackBackend" in backends else f"this build has only {backends}"


def _load(path: Path, num_threads: int, stride: int) -> Program:
    from runtime import _native

    return _native.Engine(path, num_threads, stride)


def _vulkan_missing() -> str | None:
    from runtime import _native
    from runtime.backend_library import VARIABLE

    if "VulkanBackend" in _native.info()["backends"]:
        return None
    return (
        "no Vulkan backend is loaded (--backend-library libexecutorch_backend_vulkan.so, or "
        f"{VARIABLE})"
    )


XNNPACK = EngineKind(missing=_xnnpack_missing, load=_load, device="cpu")
VULKAN = EngineKind(missing=_vulkan_missing, load=_load, device="vulkan")
