"""ExecuTorch programs for the XNNPACK delegate, in float32 and in static int8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from export.base import Lowered, OpenProgram, Precision, Progress, Target
from export.executorch import check_executorch, lower_methods, made_with
from export.verify import native_engine, open_program
from runtime.types import Floats

if TYPE_CHECKING:
    from edge.model.bmvit import BMViT
    from quantize.graph import Method


@dataclass(frozen=True, slots=True, kw_only=True)
class XnnpackTarget:
    """XNNPACK at one precision."""

    name: str
    precision: Precision
    engine: str = "xnnpack"
    suffix: str = ".pte"
    not_run: str | None = None

    def check_packages(self) -> None:
        """Check that torch, torchao, ExecuTorch and the native runtime are installed.

        Raises:
            BackendUnavailableError: One is not.
        """
        check_executorch(self.name)
        native_engine()

    @property
    def open(self) -> OpenProgram:
        """Load a program by the native runtime."""
        return open_program

    def lower(
        self,
        model: BMViT,
        clips: Sequence[Floats],
        *,
        float_layers: frozenset[str] = frozenset(),
        progress: Progress | None = None,
    ) -> Lowered:
        """Export, quantize where asked, and lower a model.

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

        from export.transpose_pass import shortest_layouts
        from export.uneven_padding import uneven_padding
        from quantize.graph import export_methods, graph_outputs, quiet_tools

        with quiet_tools():
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import (
                XnnpackPartitioner,
            )

            methods = export_methods(model, torch.from_numpy(clips[0]))
            if self.precision == "int8":
                methods = self._quantize(model, methods, clips, float_layers, progress)
            if progress is not None:
                progress(f"lowering {self.name}", 0, 1)
            with shortest_layouts(), uneven_padding():
                emitted = lower_methods(methods, XnnpackPartitioner, name=self.name)
        if progress is not None:
            progress(f"lowering {self.name}", 1, 1)
        return Lowered(
            program=emitted.program,
            finish=emitted.finish,
            delegation=emitted.delegations.pop("forward"),
            methods=emitted.delegations,
            simulate=graph_outputs(methods["forward"].graph),
            made_with=made_with(),
        )

    def _quantize(
        self,
        model: BMViT,
        methods: dict[str, Method],
        clips: Sequence[Floats],
        float_layers: frozenset[str],
        progress: Progress | None,
    ) -> dict[str, Method]:
        import torch

        from quantize.graph import head_output_layers
        from quantize.ptq import quantize_with_parts
        from quantize.schemes import XNNPACK_INT8

        whole, *parts = (method.graph for method in methods.values())
        quantized, pieces = quantize_with_parts(
            whole,
            parts,
            (torch.from_numpy(clip) for clip in clips),
            scheme=XNNPACK_INT8,
            float_names=head_output_layers(model) | float_layers,
            total=len(clips),
            progress=progress,
        )
        graphs = zip(methods, (quantized, *pieces), strict=True)
        return {name: replace(methods[name], graph=graph) for name, graph in graphs}


def build(name: str, precision: Precision) -> Target:
    """Return the target; called by the registry."""
    return XnnpackTarget(name=name, precision=precision)
