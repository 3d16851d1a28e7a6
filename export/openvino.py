"""OpenVINO programs in float32 and static int8, made and verified by OpenVINO itself.

The graph is the one that every target gets, int8 by the scheme of XNNPACK. ExecuTorch has a
delegate for OpenVINO; why it is not the way taken is in docs/adr/0016-more-engines.md.
"""

from __future__ import annotations

import io
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from export.base import ExportedArtifact, Exporter, versions
from runtime.bundle_spec import OUTPUTS
from runtime.engines.base import Program
from runtime.engines.openvino import GRAPH, WEIGHTS, OpenVinoProgram
from runtime.errors import ExportError
from runtime.types import Floats

if TYPE_CHECKING:
    from torch.fx import GraphModule

    from quantize.graph import Method


class OpenVinoExporter(Exporter):
    """OpenVINO at one precision."""

    engine = "openvino"
    suffix = ".ir"
    packages = ("torch", "openvino")
    extras = "export,openvino"
    # Its converter makes a FakeQuantize of a quantize with its dequantize.
    fold_weights = False
    engine_name = "OpenVINO"

    def convert(self, methods: Mapping[str, Method]) -> ExportedArtifact:
        """Convert the graph.

        Raises:
            ExportError: OpenVINO does not take it.
        """
        whole = methods["forward"]
        program = convert(whole.graph, whole.example.numpy(), name=self.name)
        return ExportedArtifact(program=program, made_with=versions("torch", "torchao", "openvino"))

    def load(self, path: Path, stride: int) -> Program:
        """Load a program by OpenVINO."""
        return OpenVinoProgram(path)


def convert(graph: GraphModule, clip: Floats, *, name: str) -> bytes:
    """Convert an exported graph to the two files of OpenVINO's IR, in one zip.

    Args:
        graph: Takes a clip (1, T, 3, H, W), gives the three outputs.
        clip: One clip, for its shape.
        name: The artifact's name, for messages.

    Raises:
        ExportError: It cannot be converted.
    """
    import openvino
    import torch

    try:
        program = torch.export.export(graph, (torch.from_numpy(clip),))
        model = openvino.convert_model(program)
        model.reshape(list(clip.shape))  # it comes with free sizes
        model.inputs[0].get_tensor().set_names({"clip"})
        for port, output in zip(model.outputs, OUTPUTS, strict=True):
            port.get_tensor().set_names({output})
        with tempfile.TemporaryDirectory(prefix="bmvit-openvino-") as folder:
            path = Path(folder) / GRAPH
            openvino.save_model(model, str(path), compress_to_fp16=False)
            parts = {GRAPH: path.read_bytes(), WEIGHTS: path.with_name(WEIGHTS).read_bytes()}
    except Exception as error:  # its converter raises RuntimeError, ValueError and its own kinds
        text = re.sub(r"\s+", " ", str(error))[:300]
        raise ExportError(
            f"{name}: OpenVINO could not convert the graph ({type(error).__name__}: {text})"
        ) from error
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, content in parts.items():
            # A fixed date, so that the same model gives the same file.
            archive.writestr(zipfile.ZipInfo(part), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()
