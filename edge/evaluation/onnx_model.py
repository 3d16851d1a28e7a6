"""An ONNX graph that was put beside a bundle, as one more form of the bundle's model.

For graphs that the bundle does not list, other tools' quantized forms of the same network for
instance; a listed one is loaded as the device loads it, with its SHA-256 and self-test.
"""

from __future__ import annotations

from pathlib import Path

from runtime.bundle_spec import BundleSpec
from runtime.engines.onnx import OnnxProgram
from runtime.errors import ArtifactMismatchError
from runtime.types import ClipModel, Floats, Outputs


def open_beside(path: Path, spec: BundleSpec, *, num_threads: int = 0) -> ClipModel:
    """Load a graph, and check that it takes this bundle's clips.

    Args:
        path: The `.onnx` file.
        spec: What the bundle says of the model.
        num_threads: Threads; 0 takes one for each processor.

    Returns:
        The graph, for one clip at a time.

    Raises:
        BackendUnavailableError: ONNX Runtime is not installed.
        ArtifactError: The file is missing or no graph that can be run.
        ArtifactMismatchError: It takes or gives something else than the bundle says.
    """
    program = OnnxProgram(path, num_threads)
    sizes, wanted = program.input_shape, spec.clip.input_shape
    # A size of -1 is free.
    if len(sizes) != len(wanted) or any(
        size not in (-1, want) for size, want in zip(sizes, wanted, strict=True)
    ):
        raise ArtifactMismatchError(f"{path} takes {sizes}; its bundle says one clip {wanted}")
    classes = len(spec.class_names)

    def run(clips: Floats) -> Outputs:
        arrays = program(clips)
        tokens = arrays.pred_actor.shape[-1] if arrays.pred_actor.ndim == 2 else -1
        expected = [(1, tokens, 4), (1, tokens), (1, tokens, classes)]
        if [array.shape for array in arrays] != expected:
            raise ArtifactMismatchError(
                f"{path} gives {', '.join(str(a.shape) for a in arrays)}, expected (1, N, 4), "
                f"(1, N), (1, N, {classes})"
            )
        return arrays

    return run
