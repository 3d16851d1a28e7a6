"""ExecuTorch programs for the Core ML delegate (Apple devices), ahead of time, in float16.

coremltools converts on Linux, too; what it makes can only be compiled and run by Apple's systems.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from export.base import ExportedArtifact, Exporter, Precision
from export.executorch import PACKAGES, lower_methods, quiet_delegate

if TYPE_CHECKING:
    from quantize.graph import Method


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreMLConfig:
    """What the delegate is asked for.

    Attributes:
        least_share: Share of the multiply-adds that it must take.
        system: Oldest system that runs it, by coremltools' name; iOS16 is macOS 13 as well.
        compute_units: Where it may run, by coremltools' name; all: processor, GPU, Neural Engine.
    """

    least_share: float = 0.99
    system: str = "iOS16"
    compute_units: str = "ALL"

    def partitioner(self) -> Any:
        """Return a partitioner; coremltools must be importable."""
        import coremltools
        from executorch.backends.apple.coreml.compiler import CoreMLBackend
        from executorch.backends.apple.coreml.partition import CoreMLPartitioner

        return CoreMLPartitioner(
            compile_specs=CoreMLBackend.generate_compile_specs(
                compute_unit=coremltools.ComputeUnit[self.compute_units],
                minimum_deployment_target=coremltools.target[self.system],
                compute_precision=coremltools.precision.FLOAT16,
                # Compiling needs macOS; the device compiles when it first loads the program.
                model_type=CoreMLBackend.MODEL_TYPE.MODEL,
            )
        )


class CoreMLExporter(Exporter):
    """Core ML in float16."""

    engine = "coreml"
    suffix = ".pte"
    packages = (*PACKAGES, "coremltools")
    extras = "export,coreml"
    not_run = "Core ML runs on Apple devices only"

    def __init__(self, name: str, precision: Precision, config: CoreMLConfig | None = None) -> None:
        """Name the target, and what the delegate is asked for."""
        super().__init__(name, precision)
        self.config = config or CoreMLConfig()

    def convert(self, methods: Mapping[str, Method]) -> ExportedArtifact:
        """Lower the graph.

        Raises:
            ExportError: coremltools or the delegate does not take it.
            PartitionError: Too much of it stayed outside the delegate.
        """
        with quiet_delegate():
            return lower_methods(
                methods, self.config.partitioner, name=self.name, least=self.config.least_share,
                packages=("coremltools",),
            )  # fmt: skip
