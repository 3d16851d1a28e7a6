"""ExecuTorch programs for the Vulkan delegate (GPUs of phones and boards), ahead of time.

The graph is the one that every target gets, its batches stacked (`export.batch_to_height`). float16
is a choice of the delegate's, for every value between input and output. int8 is the scheme of
XNNPACK: each convolution between quantized values becomes one int8 operation of the delegate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from export.base import Lowered, OpenProgram, Precision, Progress, Target
from export.executorch import check_executorch, lower_methods, made_with, quiet_delegate
from runtime.errors import BackendUnavailableError
from runtime.types import Floats

if TYPE_CHECKING:
    from edge.model.bmvit import BMViT

NOT_RUN = "the ExecuTorch package holds no Vulkan engine"


@dataclass(frozen=True, slots=True, kw_only=True)
class VulkanConfig:
    """What the delegate is asked for.

    Attributes:
        least_share: Share of the multiply-adds that it must take.
    """

    least_share: float = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class VulkanTarget:
    """Vulkan at one precision."""

    name: str
    precision: Precision
    config: VulkanConfig = VulkanConfig()
    engine: str = "vulkan"
    suffix: str = ".pte"
    not_run: str | None = NOT_RUN

    def check_packages(self) -> None:
        """Check that torch, torchao and ExecuTorch are installed.

        Raises:
            BackendUnavailableError: One is not.
        """
        check_executorch(self.name)

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
        """Export, stack batches, quantize where asked, and lower a model.

        Args:
            model: The float model in evaluation mode.
            clips: Clips (1, T, 3, H, W); int8 takes its ranges from all of them.
            float_layers: Layers, by their names in the exported module, that int8 leaves out
                beside those of its scheme.
            progress: Told of each step.

        Raises:
            ExportError: torch or the delegate does not take the model.
            PartitionError: Too much of it stayed outside the delegate.
        """
        import torch

        from export.batch_to_height import stack_batches
        from quantize.graph import Method, export_graph, graph_outputs, quiet_tools
        from quantize.ptq import int8_graph

        example = torch.from_numpy(clips[0])
        with quiet_tools():
            graph = stack_batches(
                export_graph(model, example), full_constants=self.precision == "int8"
            )
            if self.precision == "int8":
                from quantize.schemes import XNNPACK_INT8

                graph = int8_graph(
                    graph,
                    model,
                    clips,
                    XNNPACK_INT8,
                    float_layers=float_layers,
                    progress=progress,
                )
            if progress is not None:
                progress(f"lowering {self.name}", 0, 1)
            with quiet_delegate():
                from executorch.backends.vulkan.partitioner.vulkan_partitioner import (
                    VulkanPartitioner,
                )

                emitted = lower_methods(
                    {"forward": Method(graph=graph, example=example)},
                    lambda: VulkanPartitioner({"force_fp16": self.precision == "fp16"}),
                    name=self.name,
                    least=self.config.least_share,
                )
            if self.precision == "fp16":
                from export.fp16 import ALL_HALF, half_graph

                graph = half_graph(graph, ALL_HALF)
        if progress is not None:
            progress(f"lowering {self.name}", 1, 1)
        return Lowered(
            program=emitted.program,
            finish=emitted.finish,
            delegation=emitted.delegations["forward"],
            simulate=graph_outputs(graph),
            made_with=made_with(),
        )


def build(name: str, precision: Precision) -> Target:
    """Return the target; called by the registry."""
    return VulkanTarget(name=name, precision=precision)
