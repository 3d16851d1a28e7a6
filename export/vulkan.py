"""ExecuTorch programs for the Vulkan delegate (GPUs of phones and boards), ahead of time.

The graph is the one that every target gets, its batches stacked (`export.batch_to_height`). float16
is a choice of the delegate's, for every value between input and output. int8 is the scheme of
XNNPACK: each convolution between quantized values becomes one int8 operation of the delegate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from export.base import ExportedArtifact, Exporter, Precision
from export.executorch import PACKAGES, lower_methods, quiet_delegate

if TYPE_CHECKING:
    from edge.model.bmvit import BMViT
    from quantize.graph import Method


class VulkanExporter(Exporter):
    """Vulkan at one precision."""

    engine = "vulkan"
    suffix = ".pte"
    packages = PACKAGES
    not_run = "the ExecuTorch package holds no Vulkan engine"

    def __init__(self, name: str, precision: Precision, *, least_share: float = 0.99) -> None:
        """Name the target, and the share of the multiply-adds that the delegate must take."""
        super().__init__(name, precision)
        self.least_share = least_share

    def export(self, model: BMViT, example: Any) -> dict[str, Method]:
        """Return the graph, its batches stacked."""
        from export.batch_to_height import stack_batches

        methods = super().export(model, example)
        full = self.precision == "int8"
        return {
            name: replace(method, graph=stack_batches(method.graph, full_constants=full))
            for name, method in methods.items()
        }

    def convert(self, methods: Mapping[str, Method]) -> ExportedArtifact:
        """Lower the graph.

        Raises:
            ExportError: The delegate does not take it.
            PartitionError: Too much of it stayed outside the delegate.
        """
        with quiet_delegate():
            from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanPartitioner

            return lower_methods(
                methods,
                lambda: VulkanPartitioner({"force_fp16": self.precision == "fp16"}),
                name=self.name,
                least=self.least_share,
            )
