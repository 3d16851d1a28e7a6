"""ONNX programs, by ONNX Runtime on the processor.

Where a bundle has an XNNPACK program too, that one is chosen: it starts sooner, and shares what
overlapping clips have in common.
"""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import Any

import numpy as np

from runtime.bundle_spec import OUTPUTS
from runtime.engines.base import EngineKind, Program
from runtime.errors import ArtifactError, ArtifactMismatchError, BackendUnavailableError
from runtime.instructions import int8_sums_overflow
from runtime.threads import usable_processors
from runtime.types import Floats, Outputs

INSTALL = "pip install onnxruntime"
# What ONNX Runtime calls float32 and float16.
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxProgram:
    """A loaded graph; sizes that it leaves free are -1 in its shapes."""

    shares_steps = False

    def __init__(self, path: Path, num_threads: int = 0, profile_to: Path | None = None) -> None:
        """Load a graph.

        Args:
            path: The `.onnx` file.
            num_threads: Threads; 0 takes one for each processor that this process may use.
            profile_to: Folder for ONNX Runtime's own profile; None makes none.

        Raises:
            BackendUnavailableError: ONNX Runtime is not installed.
            ArtifactError: The file is missing or no graph that can be run.
            ArtifactMismatchError: It does not take one clip of floats and give three outputs.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise BackendUnavailableError(
                f"{path} needs ONNX Runtime, which is not installed here; run: {INSTALL}"
            ) from error
        if not path.is_file():
            raise ArtifactError(f"there is no file {path}")
        start = time.perf_counter()
        self._path = path
        self.num_threads = num_threads or usable_processors()
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = self.num_threads
        settings.log_severity_level = 4  # what it finds is said below, in one sentence
        if int8_sums_overflow():
            # Each quantized layer then runs in float32 between its rounded inputs and outputs.
            settings.add_session_config_entry("session.disable_quant_qdq", "1")
        if profile_to is not None:
            settings.enable_profiling = True
            settings.profile_file_prefix = str(profile_to / "onnxruntime")
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors share no class but this
            raise ArtifactError(
                f"{path} does not load in ONNX Runtime: {_first_line(error)}"
            ) from error
        self.input_shape = self._check_input()
        outputs = {output.name: _sizes(output.shape) for output in self._session.get_outputs()}
        # By name where they have ours, else as they come.
        self._outputs = list(OUTPUTS) if set(OUTPUTS) <= set(outputs) else list(outputs)
        if len(self._outputs) != len(OUTPUTS):
            raise ArtifactMismatchError(
                f"{path} gives {', '.join(outputs)}, expected {', '.join(OUTPUTS)}"
            )
        self.output_shapes = tuple(outputs[name] for name in self._outputs)
        self.load_ms = (time.perf_counter() - start) * 1e3

    def __call__(self, clips: Floats, /, first: int = -1) -> Outputs:
        """Run one clip (1, T, 3, H, W); whole, whatever clip came before.

        Raises:
            ArtifactError: The graph fails.
        """
        feed = {self._input: np.ascontiguousarray(clips, dtype=self._dtype)}
        try:
            outputs = self._session.run(self._outputs, feed)
        except Exception as error:
            raise ArtifactError(f"{self._path} failed: {_first_line(error)}") from error
        return Outputs(*(np.asarray(array, dtype=np.float32) for array in outputs))

    def end_profile(self) -> Path:
        """Stop profiling and return the file that ONNX Runtime wrote."""
        return Path(self._session.end_profiling())

    def _check_input(self) -> tuple[int, ...]:
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in _TYPES:
            came = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs) or "nothing"
            raise ArtifactMismatchError(
                f"{self._path} takes {came}; expected one clip of floats, as `edge export "
                "--targets onnx` makes"
            )
        self._input, self._dtype = str(inputs[0].name), _TYPES[inputs[0].type]
        return _sizes(inputs[0].shape)


def _sizes(shape: list[Any]) -> tuple[int, ...]:
    """Return sizes; one that is a name, or none, is free: -1."""
    return tuple(size if isinstance(size, int) else -1 for size in shape)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _missing() -> str | None:
    if importlib.util.find_spec("onnxruntime") is None:
        return f"ONNX Runtime is not installed ({INSTALL})"
    return None


def _load(path: Path, num_threads: int, stride: int) -> Program:
    return OnnxProgram(path, num_threads)


ONNX = EngineKind(missing=_missing, load=_load, device="cpu", int8_overflows=True)
