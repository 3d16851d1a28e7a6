"""OpenVINO's own models, by OpenVINO on the processor.

A program is one file: a zip of `model.xml` and `model.bin`, the two files of OpenVINO's IR.
"""

from __future__ import annotations

import importlib.util
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from runtime.bundle_spec import OUTPUTS
from runtime.engines.base import EngineKind, Program
from runtime.errors import ArtifactError, ArtifactMismatchError, BackendUnavailableError
from runtime.instructions import int8_sums_overflow
from runtime.threads import limited_processors
from runtime.types import Floats, Outputs

INSTALL = "pip install openvino"
GRAPH, WEIGHTS = "model.xml", "model.bin"
_MAX_BYTES = 1 << 30
"""No part of a program is larger; what a zip promises beyond that is not unpacked."""


class OpenVinoProgram:
    """A loaded model."""

    shares_steps = False

    def __init__(self, path: Path, num_threads: int = 0, *, count: bool = False) -> None:
        """Load a model.

        Args:
            path: The `.ir` file.
            num_threads: Threads; 0 leaves it to OpenVINO, but for limits that it does not see.
            count: Let OpenVINO time its operators, for `operator_times`.

        Raises:
            BackendUnavailableError: OpenVINO is not installed.
            ArtifactError: The file is missing or no model that can be run.
            ArtifactMismatchError: It does not take one clip of floats and give three outputs.
        """
        try:
            import openvino
        except ImportError as error:
            raise BackendUnavailableError(
                f"{path} needs OpenVINO, which is not installed here; run: {INSTALL}"
            ) from error
        start = time.perf_counter()
        num_threads = num_threads or limited_processors()
        self._path = path
        graph, weights = _unpack(path)
        # Left to itself it takes bfloat16 where the processor has it, a hundred times further from
        # the answer that the bundle records.
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            **({"INFERENCE_NUM_THREADS": num_threads} if num_threads else {}),
            **({"PERF_COUNT": True} if count else {}),
            # Each quantized layer then runs in float32 between its rounded inputs and outputs.
            **({"LP_TRANSFORMS_MODE": False} if int8_sums_overflow() else {}),
        }
        try:
            core = openvino.Core()
            model = core.read_model(graph, weights)
            self._check(model)
            compiled = core.compile_model(model, "CPU", settings)
            self.num_threads = int(compiled.get_property("INFERENCE_NUM_THREADS"))
            self._request = compiled.create_infer_request()
        except (RuntimeError, TypeError, ValueError) as error:
            raise ArtifactError(f"{path} does not load in OpenVINO: {_reason(error)}") from error
        self.load_ms = (time.perf_counter() - start) * 1e3

    def __call__(self, clips: Floats, /, first: int = -1) -> Outputs:
        """Run one clip (1, T, 3, H, W); whole, whatever clip came before.

        Raises:
            ArtifactError: The model fails.
        """
        try:
            self._request.infer([np.ascontiguousarray(clips, dtype=np.float32)])
        except (RuntimeError, TypeError, ValueError) as error:
            raise ArtifactError(f"{self._path} failed: {_reason(error)}") from error
        # Copies: the next clip is written to the same memory.
        tensors = (self._request.get_tensor(name).data for name in OUTPUTS)
        return Outputs(*(np.array(tensor, dtype=np.float32) for tensor in tensors))

    def operator_times(self) -> list[tuple[str, str, float]]:
        """Return (name, kind, seconds) of each operator that the newest run executed."""
        return [
            (info.node_name, f"{info.node_type} ({info.exec_type})", info.real_time.total_seconds())
            for info in self._request.get_profiling_info()
            if "EXECUTED" in str(info.status).upper() and "NOT_RUN" not in str(info.status).upper()
        ]

    def _check(self, model: Any) -> None:
        """Read the shapes, and refuse a model of another kind."""
        names = {name for port in model.outputs for name in port.get_names()}
        ports = [*model.inputs, *model.outputs]
        fixed = not any(port.get_partial_shape().is_dynamic for port in ports)
        floats = all(port.get_element_type().get_type_name() == "f32" for port in ports)
        if len(model.inputs) != 1 or not set(OUTPUTS) <= names or not fixed or not floats:
            raise ArtifactMismatchError(
                f"{self._path} has {len(model.inputs)} inputs and gives "
                f"{', '.join(sorted(names)) or 'nothing'}; expected one float32 clip and "
                f"{', '.join(OUTPUTS)} of fixed sizes, as `edge export --targets openvino-int8` "
                "makes"
            )
        self.input_shape = tuple(model.inputs[0].get_shape())
        self.output_shapes = tuple(tuple(model.output(name).get_shape()) for name in OUTPUTS)


def _unpack(path: Path) -> tuple[bytes, bytes]:
    """Return a program's graph and weights.

    Raises:
        ArtifactError: The file is missing, or no such zip.
    """
    if not path.is_file():
        raise ArtifactError(f"there is no file {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {part.filename: part.file_size for part in archive.infolist()}
            if set(sizes) != {GRAPH, WEIGHTS} or max(sizes.values()) > _MAX_BYTES:
                raise ArtifactError(
                    f"{path} holds {', '.join(sorted(sizes)[:5]) or 'nothing'}; expected {GRAPH} "
                    f"and {WEIGHTS} of at most {_MAX_BYTES >> 20} MiB; export the bundle again"
                )
            return archive.read(GRAPH), archive.read(WEIGHTS)
    except (OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise ArtifactError(f"{path} cannot be read ({error}); export the bundle again") from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ArtifactError(
            f"{path} is no OpenVINO model of `edge export` ({error}); export the bundle again"
        ) from error


def _reason(error: Exception) -> str:
    """Return the last line that says something: OpenVINO begins with places in its sources."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:200]


def _missing() -> str | None:
    if importlib.util.find_spec("openvino") is None:
        return f"OpenVINO is not installed ({INSTALL})"
    return None


def _load(path: Path, num_threads: int, stride: int) -> Program:
    return OpenVinoProgram(path, num_threads)


OPENVINO = EngineKind(missing=_missing, load=_load, device="cpu", int8_overflows=True)
