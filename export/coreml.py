"""ExecuTorch programs for the Core ML delegate (Apple devices), ahead of time, in float16.

coremltools converts on Linux, too; what it makes can only be compiled and run by Apple's systems.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from export.base import Lowered, OpenProgram, Precision, Progress, Target
from export.executorch import check_executorch, lower_methods, made_with, quiet_delegate
from runtime.errors import BackendUnavailableError
from runtime.types import Floats

if TYPE_CHECKING:
    from edge.model.bmvit import BMViT

NOT_RUN = "Core ML runs on Apple devices only"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreMLTarget:
    """Core ML in float16."""

    name: str
    precision: Precision
    config: CoreMLConfig = CoreMLConfig()
    engine: str = "coreml"
    suffix: str = ".pte"
    not_run: str | None = NOT_RUN

    def check_packages(self) -> None:
        """Check that torch, torchao, ExecuTorch and coremltools are installed.

        Raises:
            BackendUnavailableError: One is not.
        """
        check_executorch(self.name)
        if importlib.util.find_spec("coremltools") is None:
            raise BackendUnavailableError(
                f"target {self.name} needs coremltools, not installed here; run: "
                "pip install '.[export,coreml]'"
            )

    @property
    def open(self) -> OpenProgram:
        """Refuse: there is no engine for it here.

        Raises:
            BackendUnavailableError: Always.
        """
        raise BackendUnavailableError(f"{self.name} cannot be run here: {self.not_run}")

    def lower(
        self,
        model: BMViT,
        clips: Sequence[Floats],
        *,
        float_layers: frozenset[str] = frozenset(),
        progress: Progress | None = None,
    ) -> Lowered:
        """Export and lower a model.

        Args:
            model: The float model in evaluation mode.
            clips: Clips (1, T, 3, H, W); the first is the example.
            float_layers: Of no meaning here: nothing is in int8.
            progress: Told of each step.

        Raises:
            ExportError: torch, coremltools or the delegate does not take the model.
            PartitionError: Too much of it stayed outside the delegate.
        """
        import torch

        from export.fp16 import ALL_HALF, half_graph
        from quantize.graph import Method, export_graph, graph_outputs, quiet_tools

        example = torch.from_numpy(clips[0])
        with quiet_tools():
            graph = export_graph(model, example)
            if progress is not None:
                progress(f"lowering {self.name}", 0, 1)
            with quiet_delegate():
                emitted = lower_methods(
                    {"forward": Method(graph=graph, example=example)},
                    self.config.partitioner,
                    name=self.name,
                    least=self.config.least_share,
                )
            simulated = half_graph(graph, ALL_HALF)
        if progress is not None:
            progress(f"lowering {self.name}", 1, 1)
        return Lowered(
            program=emitted.program,
            finish=emitted.finish,
            delegation=emitted.delegations["forward"],
            simulate=graph_outputs(simulated),
            made_with=made_with("coremltools"),
        )


def build(name: str, precision: Precision) -> Target:
    """Return the target; called by the registry."""
    return CoreMLTarget(name=name, precision=precision)
