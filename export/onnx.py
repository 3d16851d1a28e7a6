"""ONNX programs in float32, float16 and static int8, verified by ONNX Runtime.

The graph is the one that every target gets. int8 is explicit: QuantizeLinear and DequantizeLinear
as the PT2E flow put them, weights by output channel, activations without zero points, which is the
only form that TensorRT 10 and 11 both take. In a strongly typed network the type of a scale is that
of the floats beside it: both are float32 here, attention included. float16 for both may be faster
on a GPU; ONNX Runtime 1.32 then fuses what it has in float32 only, and does not load the graph.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from export.base import ExportedArtifact, Exporter, versions
from runtime.bundle_spec import OUTPUTS
from runtime.engines.base import Program
from runtime.engines.onnx import OnnxProgram
from runtime.errors import EdgeError, ExportError
from runtime.types import Floats

if TYPE_CHECKING:
    from torch.fx import GraphModule

    from quantize.graph import Method

INPUT = "clip"
_ONNX = ("onnx", "onnxscript", "onnxruntime")


class OnnxExporter(Exporter):
    """ONNX at one precision."""

    engine = "onnx"
    suffix = ".onnx"
    packages = ("torch", *_ONNX)
    extras = "export,onnx"
    scheme = "TENSORRT_INT8"
    half = "TENSORRT_HALF"
    engine_name = "ONNX Runtime"

    def convert(self, methods: Mapping[str, Method]) -> ExportedArtifact:
        """Convert the graph.

        Raises:
            ExportError: It cannot be converted, or breaks a rule of `export.onnx_graph`.
            UnsupportedOpError: It has an operator that TensorRT does not have.
        """
        whole = methods["forward"]
        program = convert(whole.graph, whole.example.numpy(), name=self.name)
        return ExportedArtifact(program=program, made_with=made_with())

    def load(self, path: Path, stride: int) -> Program:
        """Load a program by ONNX Runtime."""
        return OnnxProgram(path)


def made_with() -> dict[str, str]:
    """Return the versions that make a program."""
    from export.onnx_graph import OPSET

    return {**versions("torch", "torchao", *_ONNX), "opset": str(OPSET)}


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
