"""TensorRT engines by torch_tensorrt, built on the GPU that they are for.

The graph is the one that ONNX gets, in the types that it has itself: torch_tensorrt 2.13 builds
strongly typed networks and has no flags of precisions. Where there is no such GPU, or on a Jetson,
`edge build-engine` makes the engine on the device from the ONNX programs. **Not run by this
project**, which has no such GPU (docs/devices.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.base import ExportedArtifact, Exporter, versions
from runtime.engines.base import Program
from runtime.errors import BackendUnavailableError, ExportError
from runtime.tensorrt.engine import TensorRTProgram, missing

if TYPE_CHECKING:
    import torch
    from torch.fx import GraphModule

    from edge.model.bmvit import BMViT
    from quantize.graph import Method

WORKSPACE_BYTES = 1 << 30
OTHER_WAY = (
    "the other way is to export --targets onnx-fp16 onnx-int8, and edge build-engine BUNDLE on "
    "the device"
)


class TensorRTExporter(Exporter):
    """TensorRT at one precision."""

    engine = "tensorrt"
    suffix = ".engine"
    packages = ("torch", "torch_tensorrt", "tensorrt")
    extras = "export,tensorrt"
    scheme = "TENSORRT_INT8"
    half = "TENSORRT_HALF"
    engine_name = "TensorRT"

    @property
    def not_run(self) -> str | None:  # type: ignore[override]
        """Why an engine cannot be run here, though it can be built."""
        return missing()

    def check_packages(self) -> None:
        """Check that torch_tensorrt and a GPU are here.

        Raises:
            BackendUnavailableError: They are not.
        """
        try:
            super().check_packages()
        except BackendUnavailableError as error:
            raise BackendUnavailableError(f"{error}, beside CUDA; {OTHER_WAY}") from error
        import torch

        if not torch.cuda.is_available():
            raise BackendUnavailableError(
                f"target {self.name} is built on the GPU that it is for, and torch "
                f"{torch.__version__} finds none here; {OTHER_WAY}"
            )

    def quantize(
        self, graphs: Sequence[GraphModule], model: BMViT, *args: Any, **kwargs: Any
    ) -> list[GraphModule]:
        """Return the graphs in int8, each quantization and its inverse as one operation."""
        from export.tensorrt_int8 import paired_graph

        return [paired_graph(graph) for graph in super().quantize(graphs, model, *args, **kwargs)]

    def convert(self, methods: Mapping[str, Method]) -> ExportedArtifact:
        """Build the engine.

        Raises:
            ExportError: torch_tensorrt does not take the graph, or TensorRT cannot build it.
        """
        whole = methods["forward"]
        program = build_engine(whole.graph, whole.example, name=self.name)
        return ExportedArtifact(program=program, made_with=made_with())

    def load(self, path: Path, stride: int) -> Program:
        """Load an engine by the runtime's own module."""
        return TensorRTProgram(path)


def build_engine(graph: GraphModule, example: torch.Tensor, *, name: str) -> bytes:
    """Build a serialised engine of a graph on the GPU of this machine.

    Args:
        graph: Takes a clip (1, T, 3, H, W), gives the three outputs.
        example: One clip.
        name: The artifact's name, for messages.

    Raises:
        ExportError: torch_tensorrt does not take the graph, or TensorRT cannot build it.
    """
    import torch
    import torch_tensorrt
    from torch.export.passes import move_to_device_pass

    from export.tensorrt_int8 import register_converter

    register_converter()
    try:
        exported = move_to_device_pass(torch.export.export(graph, (example,)), "cuda:0")
        engine = torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine(
            exported, arg_inputs=(example.cuda(),), workspace_size=WORKSPACE_BYTES
        )
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ExportError(
            f"{name}: torch_tensorrt built no engine: {first}; {OTHER_WAY}"
        ) from error
    return bytes(engine)


def made_with() -> dict[str, str]:
    """Return the versions that make an engine, and the GPU that it is for."""
    import tensorrt
    import torch

    major, minor = torch.cuda.get_device_capability(0)
    return {
        "builder": "torch_tensorrt",
        **versions("torch", "torchao", "torch_tensorrt"),
        "tensorrt": tensorrt.__version__,
        "cuda": str(torch.version.cuda),
        "gpu": torch.cuda.get_device_name(0),
        "compute_capability": f"{major}.{minor}",
    }
