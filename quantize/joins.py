"""XNNPACK's quantizer, which also asks of tensors that are joined whether they may be rounded.

Its own (ExecuTorch 1.5.1) asks the filter about every operation but `cat`, and rounds what is
joined with one scale for all: beside logits from -24 to 4 (`nano`) boxes between 0 and 1 have ten
values.
"""

from __future__ import annotations

import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer
from torch.fx import GraphModule
from torchao.quantization.pt2e.quantizer import QuantizationAnnotation
from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY


class FilteredQuantizer(XNNPACKQuantizer):  # type: ignore[misc]  # has no types
    """Annotates nothing that its filter function refuses."""

    def transform_for_annotation(self, model: GraphModule) -> GraphModule:
        """Mark the joins that stay in float32 as seen to, with no range to observe."""
        changed: GraphModule = super().transform_for_annotation(model)
        for node in changed.graph.nodes:
            joins = node.target == torch.ops.aten.cat.default
            if joins and self.filter_fn is not None and not self.filter_fn(node):
                node.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(_annotated=True)
        return changed
