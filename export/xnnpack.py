"""ExecuTorch programs for the XNNPACK delegate, in float32 and in static int8."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.base import ExportedArtifact, Exporter, Precision
from export.executorch import PACKAGES, lower_methods, native_engine
from runtime.engines.base import Program

if TYPE_CHECKING:
    from edge.model.bmvit import BMViT
    from quantize.graph import Method


class XnnpackExporter(Exporter):
    """XNNPACK; the program also has the methods by which overlapping clips share their steps."""

    engine = "xnnpack"
    suffix = ".pte"
    packages = PACKAGES

    def __init__(self, name: str, precision: Precision, *, shares_steps: bool = True) -> None:
        """Name the target; without `shares_steps` the program has the method `forward` alone."""
        super().__init__(name, precision)
        self.shares_steps = shares_steps

    def check_packages(self) -> None:
        """Check the packages, and that the native runtime is built.

        Raises:
            BackendUnavailableError: One is missing.
        """
        super().check_packages()
        native_engine()

    def export(self, model: BMViT, example: Any) -> dict[str, Method]:
        """Return the graph of the whole, and of its parts where it has some."""
        from quantize.graph import export_methods

        return (
            export_methods(model, example) if self.shares_steps else super().export(model, example)
        )

    def convert(self, methods: Mapping[str, Method]) -> ExportedArtifact:
        """Lower graphs to one program with a delegate call for each method.

        Raises:
            ExportError: The delegate does not take a graph.
            PartitionError: Too much of it stayed outside the delegate.
        """
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

        from export.transpose_pass import shortest_layouts
        from export.uneven_padding import uneven_padding

        with shortest_layouts(), uneven_padding():
            return lower_methods(methods, XnnpackPartitioner, name=self.name)

    def load(self, path: Path, stride: int) -> Program:
        """Load a program by the native runtime."""
        program: Program = native_engine()(str(path), 0, stride)
        return program
