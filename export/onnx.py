"""ONNX programs in float32, float16 and static int8, verified by ONNX Runtime.

The graph is the one that every target gets. int8 is explicit: QuantizeLinear and DequantizeLinear
as the PT2E flow put them, weights by output channel, activations without zero points, which is the
only form that TensorRT 10 and 11 both take.
"""

from __future__ import annotations

import importlib.util
import logging
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from export.base import Lowered, OpenProgram, Precision, Progress, Target
from export.verify import opened_by
from runtime.bundle_spec import OUTPUTS
from runtime.engines.onnx import OnnxProgram
from runtime.errors import BackendUnavailableError, EdgeError, ExportError
from runtime.types import Floats

if TYPE_CHECKING:
    from torch.fx import GraphModule

    from edge.model.bmvit import BMViT

INPUT = "clip"
_TORCH = ("torch", "torchao", "executorch")  # the last for the quantizer that places int8
_ONNX = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxTarget:
    """ONNX at one precision."""

    name: str
    precision: Precision
    engine: str = "onnx"
    suffix: str = ".onnx"
    not_run: str | None = None

    def check_packages(self) -> None:
        """Check that torch, ONNX's tools and ONNX Runtime are installed.

        Raises:
            BackendUnavailableError: One is not.
        """
        wanted = (*(_TORCH if self.precision == "int8" else _TORCH[:1]), *_ONNX)
        missing = [name for name in wanted if importlib.util.find_spec(name) is None]
        if missing:
            extra = "onnx" if set(missing) <= set(_ONNX) else "export,onnx"
            raise BackendUnavailableError(
                f"target {self.name} needs {', '.join(missing)}, not installed here; run: "
                f"pip install '.[{extra}]'"
            )

    @property
    def open(self) -> OpenProgram:
        """Load a program by ONNX Runtime."""
        return open_onnx

    def lower(
        self,
        model: BMViT,
        clips: Sequence[Floats],
        *,
        float_layers: frozenset[str] = frozenset(),
        progress: Progress | None = None,
    ) -> Lowered:
        """Export, turn to the precision, and convert a model.

        Args:
            model: The float model in evaluation mode.
            clips: Clips (1, T, 3, H, W); int8 takes its ranges from all of them.
            float_layers: Layers, by their names in the exported module, that int8 leaves out
                beside those of its scheme.
            progress: Told of each step.

        Raises:
            ExportError: torch does not take the model, or the graph breaks a rule of
                `export.onnx_graph`.
            UnsupportedOpError: It has an operator that TensorRT does not have.
        """
        import torch

        from quantize.graph import export_graph, graph_outputs, quiet_tools
        from quantize.ptq import int8_graph

        with quiet_tools():
            graph = export_graph(model, torch.from_numpy(clips[0]))
            if self.precision == "int8":
                from quantize.schemes import TENSORRT_INT8

                graph = int8_graph(
                    graph,
                    model,
                    clips,
                    TENSORRT_INT8,
                    float_layers=float_layers,
                    progress=progress,
                )
            elif self.precision == "fp16":
                from export.fp16 import half_graph

                graph = half_graph(graph)
            if progress is not None:
                progress(f"converting {self.name}", 0, 1)
            program = convert(graph, clips[0], name=self.name)
        if progress is not None:
            progress(f"converting {self.name}", 1, 1)
        return Lowered(
            program=program,
            delegation=None,
            simulate=graph_outputs(graph),
            made_with=made_with(),
        )


def build(name: str, precision: Precision) -> Target:
    """Return the target; called by the registry."""
    return OnnxTarget(name=name, precision=precision)


def made_with() -> dict[str, str]:
    """Return the versions that make a program."""
    from export.onnx_graph import OPSET

    found = {name: version(name) for name in (*_TORCH[:2], *_ONNX)}
    return {**found, "opset": str(OPSET), "python": platform.python_version()}


def convert(graph: GraphModule, clip: Floats, *, name: str) -> bytes:
    """Convert an exported graph, and check what came of it.

    Args:
        graph: Takes a clip (1, T, 3, H, W), gives the three outputs.
        clip: One clip, for its shape.
        name: The artifact's name, for messages.

    Raises:
        ExportError: It cannot be converted, or the result breaks a rule of `export.onnx_graph`.
    """
    import torch

    from export.onnx_graph import OPSET, check_graph, strip_notes

    example = (torch.from_numpy(clip),)
    try:
        with _quiet_exporter():
            program = torch.onnx.export(
                torch.export.export(graph, example),
                example,
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                opset_version=OPSET,
                dynamo=True,
                optimize=True,
                external_data=False,
                verbose=False,
            )
        assert program is not None
        model = program.model_proto
        strip_notes(model)
        check_graph(model, name=name)
    except EdgeError:
        raise
    except (RuntimeError, ValueError, TypeError, torch._dynamo.exc.TorchDynamoException) as error:
        raise ExportError(
            f"{name}: torch could not convert the graph to ONNX ({type(error).__name__}: {error})"
        ) from error
    content: bytes = model.SerializeToString(deterministic=True)
    return content


open_onnx = opened_by(lambda path, _: OnnxProgram(path), "ONNX Runtime")


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporter from saying that torchvision, which nothing here uses, is not there."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
