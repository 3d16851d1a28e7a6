"""TensorRT engines by torch_tensorrt, built on the GPU that they are for.

The graph is the one that ONNX gets, in the types that it has itself: torch_tensorrt 2.13 builds
strongly typed networks and has no flags of precisions. Where there is no such GPU, or on a Jetson,
`edge build-engine` makes the engine on the device from the ONNX programs. **Not run by this
project**, which has no such GPU (docs/devices.md).
"""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from export.base import Lowered, OpenProgram, Precision, Progress, Target
from export.verify import opened_by
from runtime.errors import BackendUnavailableError, ExportError
from runtime.tensorrt.engine import TensorRTProgram, missing
from runtime.types import Floats

if TYPE_CHECKING:
    import torch
    from torch.fx import GraphModule

    from edge.model.bmvit import BMViT

PACKAGES = ("torch", "torch_tensorrt", "tensorrt")
INT8_PACKAGES = ("torchao", "executorch")  # the latter for the quantizer that places int8
WORKSPACE_BYTES = 1 << 30
OTHER_WAY = (
    "the other way is to export --targets onnx-fp16 onnx-int8, and edge build-engine BUNDLE on "
    "the device"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRTTarget:
    """TensorRT at one precision."""

    name: str
    precision: Precision
    engine: str = "tensorrt"
    suffix: str = ".engine"

    @property
    def not_run(self) -> str | None:
        """Why an engine cannot be run here, though it can be built."""
        return missing()

    def check_packages(self) -> None:
        """Check that torch_tensorrt and a GPU are here.

        Raises:
            BackendUnavailableError: They are not.
        """
        wanted = PACKAGES + (INT8_PACKAGES if self.precision == "int8" else ())
        lacking = [name for name in wanted if importlib.util.find_spec(name) is None]
        if lacking:
            raise BackendUnavailableError(
                f"target {self.name} needs {', '.join(lacking)}, not installed here (pip install "
                f"'.[export,tensorrt]', beside CUDA); {OTHER_WAY}"
            )
        import torch

        if not torch.cuda.is_available():
            raise BackendUnavailableError(
                f"target {self.name} is built on the GPU that it is for, and torch "
                f"{torch.__version__} finds none here; {OTHER_WAY}"
            )

    @property
    def open(self) -> OpenProgram:
        """Load an engine by the runtime's own module."""
        return open_engine

    def lower(
        self,
        model: BMViT,
        clips: Sequence[Floats],
        *,
        float_layers: frozenset[str] = frozenset(),
        progress: Progress | None = None,
    ) -> Lowered:
        """Export, turn to the precision, and build.

        Args:
            model: The float model in evaluation mode.
            clips: Clips (1, T, 3, H, W); int8 takes its ranges from all of them.
            float_layers: Layers, by their names in the exported module, that int8 leaves out
                beside those of its scheme.
            progress: Told of each step.

        Raises:
            ExportError: torch_tensorrt does not take the graph, or TensorRT cannot build it.
        """
        import torch

        from quantize.graph import graph_outputs, quiet_tools

        with quiet_tools():
            graph = precise_graph(model, clips, self.precision, float_layers, progress)
            if progress is not None:
                progress(f"building {self.name}", 0, 1)
            program = build_engine(graph, torch.from_numpy(clips[0]), name=self.name)
        if progress is not None:
            progress(f"building {self.name}", 1, 1)
        return Lowered(
            program=program,
            delegation=None,
            simulate=graph_outputs(graph),
            made_with=made_with(),
        )


def build(name: str, precision: Precision) -> Target:
    """Return the target; called by the registry."""
    return TensorRTTarget(name=name, precision=precision)


def precise_graph(
    model: BMViT,
    clips: Sequence[Floats],
    precision: Precision,
    float_layers: frozenset[str] = frozenset(),
    progress: Progress | None = None,
) -> GraphModule:
    """Return the exported graph with its types written into it, as torch_tensorrt takes it.

    Args:
        model: The float model in evaluation mode.
        clips: Clips (1, T, 3, H, W); int8 takes its ranges from all of them.
        precision: `fp16` or `int8`.
        float_layers: Layers that int8 leaves out beside those of its scheme.
        progress: Told of each step.

    Raises:
        ExportError: The graph cannot be turned to it.
    """
    import torch

    from quantize.graph import export_graph

    graph = export_graph(model, torch.from_numpy(clips[0]))
    if precision == "fp16":
        from export.fp16 import half_graph

        return half_graph(graph)
    from export.tensorrt_int8 import paired_graph
    from quantize.ptq import int8_graph
    from quantize.schemes import TENSORRT_INT8

    return paired_graph(
        int8_graph(graph, model, clips, TENSORRT_INT8, float_layers=float_layers, progress=progress)
    )


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

    found = {"builder": "torch_tensorrt", "python": platform.python_version()}
    for package in ("torch", "torchao", "torch_tensorrt"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    major, minor = torch.cuda.get_device_capability(0)
    return {
        **found,
        "tensorrt": tensorrt.__version__,
        "cuda": str(torch.version.cuda),
        "gpu": torch.cuda.get_device_name(0),
        "compute_capability": f"{major}.{minor}",
    }


open_engine = opened_by(lambda path, _: TensorRTProgram(path), "TensorRT")
