"""The little of CUDA that an engine needs: a stream, buffers, a graph. By cuda-python, no torch."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from runtime.errors import ArtifactError
from runtime.types import Floats

try:
    from cuda.bindings import runtime as cudart

    FOUND = True
except ImportError:
    try:
        from cuda import cudart  # type: ignore[no-redef]  # its name until cuda-python 12.6.0

        FOUND = True
    except ImportError:
        FOUND = False

__all__ = ["DEVICE", "FOUND", "Buffer", "check", "cudart", "gpu", "runtime_version", "why_no_gpu"]

DEVICE = 0


def check(code: cudart.cudaError_t, doing: str) -> None:
    """Raise where CUDA did not do it.

    Raises:
        ArtifactError: It names what was being done, and CUDA's own word for what went wrong.
    """
    if code != cudart.cudaError_t.cudaSuccess:
        raise ArtifactError(f"CUDA failed at {doing}: {code.name}; `edge doctor` says what is here")


def why_no_gpu() -> str | None:
    """Say in a sentence why no GPU can be used, or None where one can."""
    try:
        code, count = cudart.cudaGetDeviceCount()
    except RuntimeError as error:  # releases up to 12.6 without a driver
        return f"no CUDA driver ({error})"
    if code != cudart.cudaError_t.cudaSuccess:
        return f"no CUDA GPU can be used ({code.name})"
    return None if count > 0 else "there is no CUDA GPU"


def gpu() -> tuple[str, str]:
    """Return the GPU's name and its compute capability, such as `8.7`."""
    code, properties = cudart.cudaGetDeviceProperties(DEVICE)
    check(code, "asking for the GPU's name")
    name = properties.name.split(b"\0")[0].decode("utf-8", "replace")
    return name, f"{properties.major}.{properties.minor}"


def runtime_version() -> str:
    """Return the version of CUDA's runtime, such as `12.6`."""
    code, number = cudart.cudaRuntimeGetVersion()
    check(code, "asking for CUDA's version")
    return f"{number // 1000}.{number % 1000 // 10}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """One tensor on the GPU and its mirror in pinned memory, which copies need not stage."""

    name: str
    device: int
    pinned: int
    host: Floats

    @classmethod
    def make(cls, name: str, shape: tuple[int, ...]) -> Buffer:
        """Take memory for a float32 tensor.

        Raises:
            ArtifactError: There is too little.
        """
        count = int(np.prod(shape))
        code, device = cudart.cudaMalloc(4 * count)
        check(code, f"taking {4 * count} bytes of GPU memory")
        code, pinned = cudart.cudaMallocHost(4 * count)
        check(code, f"taking {4 * count} bytes of pinned memory")
        memory = (ctypes.c_float * count).from_address(pinned)
        host = np.frombuffer(memoryview(memory), dtype=np.float32).reshape(shape)
        return cls(name=name, device=device, pinned=pinned, host=host)

    def upload(self, stream: cudart.cudaStream_t) -> None:
        """Begin the copy to the GPU."""
        kind = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        (code,) = cudart.cudaMemcpyAsync(self.device, self.pinned, self.host.nbytes, kind, stream)
        check(code, f"copying {self.name} to the GPU")

    def download(self, stream: cudart.cudaStream_t) -> None:
        """Begin the copy from the GPU."""
        kind = cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        (code,) = cudart.cudaMemcpyAsync(self.pinned, self.device, self.host.nbytes, kind, stream)
        check(code, f"copying {self.name} from the GPU")

    def free(self) -> None:
        """Give the memory back; nothing may use the buffer afterwards."""
        cudart.cudaFree(self.device)
        cudart.cudaFreeHost(self.pinned)
