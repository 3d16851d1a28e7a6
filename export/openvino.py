"""OpenVINO programs in float32 and static int8, made and verified by OpenVINO itself.

The graph is the one that every target gets, int8 by the scheme of XNNPACK. ExecuTorch has a
delegate for OpenVINO; why it is not the way taken is in docs/adr/0016-more-engines.md.
"""

from __future__ import annotations

import importlib.util
import io
import platform
import re
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from export.base import Lowered, OpenProgram, Precision, Progress, Target
from export.verify import opened_by
from runtime.bundle_spec import OUTPUTS
from runtime.engines.openvino import GRAPH, WEIGHTS, OpenVinoProgram
from runtime.errors import BackendUnavailableError, ExportError
from runtime.types import Floats

if TYPE_CHECKING:
    from torch.fx import GraphModule

    from edge.model.bmvit import BMViT

_TORCH = ("torch", "torchao", "executorch")  # the last for the quantizer that places int8


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVinoTarget:
    """OpenVINO at one precision."""

    name: str
    precision: Precision
    engine: str = "openvino"
    suffix: str = ".ir"
    not_run: str | None = None

    def check_packages(self) -> None:
        """Check that torch and OpenVINO, for int8 the quantizer as well, are installed.

        Raises:
            BackendUnavailableError: One is not.
        """
        wanted = (*(_TORCH if self.precision == "int8" else _TORCH[:1]), "openvino")
        missing = [name for name in wanted if importlib.util.find_spec(name) is None]
        if missing:
            raise BackendUnavailableError(
                f"target {self.name} needs {', '.join(missing)}, not installed here; run: "
                "pip install '.[export,openvino]'"
            )

    @property
    def open(self) -> OpenProgram:
        """Load a program by OpenVINO."""
        return open_openvino

    def lower(
        self,
        model: BMViT,
        clips: Sequence[Floats],
        *,
        float_layers: frozenset[str] = frozenset(),
        progress: Progress | None = None,
    ) -> Lowered:
        """Export, quantize where asked, and convert a model.

        Args:
            model: The float model in evaluation mode.
            clips: Clips (1, T, 3, H, W); int8 takes its ranges from all of them.
            float_layers: Layers, by their names in the exported module, that int8 leaves out
                beside those of its scheme.
            progress: Told of each step.

        Raises:
            ExportError: torch or OpenVINO does not take the model.
        """
        import torch

        from quantize.graph import export_graph, graph_outputs, quiet_tools
        from quantize.ptq import int8_graph

        with quiet_tools():
            graph = export_graph(model, torch.from_numpy(clips[0]))
            if self.precision == "int8":
                from quantize.schemes import XNNPACK_INT8

                graph = int8_graph(
                    graph,
                    model,
                    clips,
                    XNNPACK_INT8,
                    float_layers=float_layers,
                    # Its converter makes a FakeQuantize of a quantize with its dequantize.
                    fold_weights=False,
                    progress=progress,
                )
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
    return OpenVinoTarget(name=name, precision=precision)


def made_with() -> dict[str, str]:
    """Return the versions that make a program."""
    found = {name: version(name) for name in (*_TORCH[:2], "openvino")}
    return {**found, "python": platform.python_version()}


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


open_openvino = opened_by(lambda path, _: OpenVinoProgram(path), "OpenVINO")
