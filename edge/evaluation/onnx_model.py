"""An ONNX program as a model to evaluate, by ONNX Runtime on the CPU.

For judging programs made for engines that are not on this machine (TensorRT reads ONNX): the graph
is the same, its quantize and dequantize nodes too. The device's own runtime does not use this.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.bundle import OUTPUTS, BundleSpec
from runtime.errors import ArtifactError, ArtifactMismatchError, BackendUnavailableError

Floats = npt.NDArray[np.float32]
# What ONNX Runtime calls float32 and float16.
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxProgram:
    """A loaded graph: one clip in, boxes and logits out."""

    def __init__(self, path: Path, spec: BundleSpec, *, num_threads: int = 0) -> None:
        """Load a graph and check that it is one of this bundle's model.

        Args:
            path: The `.onnx` file.
            spec: What its bundle says of the model.
            num_threads: Threads; 0 is ONNX Runtime's own choice.

        Raises:
            BackendUnavailableError: ONNX Runtime is not installed.
            ArtifactError: The file is missing or no graph that can be run.
            ArtifactMismatchError: It takes or gives something else than the bundle says.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise BackendUnavailableError(
                f"{path} needs ONNX Runtime, which is not installed here; run: "
                "pip install 'bmvit-edge[onnx]'"
            ) from error
        if not path.is_file():
            raise ArtifactError(f"there is no file {path}")
        self._path, self._classes = path, len(spec.class_names)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = num_threads
        settings.log_severity_level = 4  # what it finds is said below, in one sentence
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors share no class but this
            raise ArtifactError(f"{path} cannot be loaded: {_first_line(error)}") from error
        self._input, self._dtype = self._check_input(spec.clip_shape)
        self._outputs = self._names()

    def run(self, clip: Floats) -> tuple[Floats, Floats, Floats]:
        """Run one clip (1, T, 3, H, W).

        Returns:
            Boxes (N, 4), actor logits (N,), action logits (N, C).

        Raises:
            ArtifactError: The graph fails.
            ArtifactMismatchError: It gives something else than triplets.
        """
        try:
            outputs = self._session.run(self._outputs, {self._input: clip.astype(self._dtype)})
        except Exception as error:
            raise ArtifactError(f"{self._path} failed: {_first_line(error)}") from error
        arrays = [np.asarray(array, dtype=np.float32) for array in outputs]
        boxes, actor, actions = arrays
        tokens = actor.shape[-1] if actor.ndim == 2 else -1
        expected = [(1, tokens, 4), (1, tokens), (1, tokens, self._classes)]
        if [array.shape for array in arrays] != expected:
            raise ArtifactMismatchError(
                f"{self._path} gives {', '.join(str(a.shape) for a in arrays)}, expected (1, N, 4),"
                f" (1, N), (1, N, {self._classes})"
            )
        return boxes[0], actor[0], actions[0]

    def _check_input(self, shape: Sequence[int]) -> tuple[str, Any]:
        inputs = self._session.get_inputs()
        sizes = inputs[0].shape if len(inputs) == 1 else None
        # A size that is a name, or none, is free.
        fits = sizes is not None and len(sizes) == len(shape) and all(
            not isinstance(size, int) or size == want
            for size, want in zip(sizes, shape, strict=True)
        )  # fmt: skip
        if not fits or inputs[0].type not in _TYPES:
            came = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs) or "nothing"
            raise ArtifactMismatchError(
                f"{self._path} takes {came}; its bundle says one clip {tuple(shape)} of floats"
            )
        return str(inputs[0].name), _TYPES[inputs[0].type]

    def _names(self) -> list[str]:
        """Return the outputs in our order: by name where they have ours, else as they come."""
        names = [output.name for output in self._session.get_outputs()]
        if set(OUTPUTS) <= set(names):
            return list(OUTPUTS)
        if len(names) != len(OUTPUTS):
            raise ArtifactMismatchError(
                f"{self._path} gives {', '.join(names)}, expected {', '.join(OUTPUTS)}"
            )
        return names


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
