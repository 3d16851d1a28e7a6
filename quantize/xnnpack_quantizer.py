"""XNNPACK's quantizer, with what ExecuTorch's own (1.5.1) lacks.

* It asks the filter about every operation but `cat`, and rounds what is joined with one scale for
  all: beside logits from -24 to 4 boxes between 0 and 1 have ten values.
* It does not know `relu6`, and rounds a convolution before it by the range of values that are cut
  off right after: of 255 steps the few between 0 and 6 are left.
"""

from __future__ import annotations

import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e.quantizer import QuantizationAnnotation
from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY

aten = torch.ops.aten


class FilteredQuantizer(XNNPACKQuantizer):  # type: ignore[misc]  # has no types
    """Annotates nothing that its filter refuses, and a convolution with its ReLU6 as one."""

    def transform_for_annotation(self, model: GraphModule) -> GraphModule:
        """Mark the joins that stay in float32 as seen to, with no range to observe."""
        changed: GraphModule = super().transform_for_annotation(model)
        for node in changed.graph.nodes:
            joins = node.target == aten.cat.default
            if joins and self.filter_fn is not None and not self.filter_fn(node):
                node.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(_annotated=True)
        return changed

    def annotate(self, model: GraphModule) -> GraphModule:
        """Annotate each convolution before a ReLU6, then all that ExecuTorch's own knows."""
        for node in model.graph.nodes:
            if node.target == aten.relu6.default:
                self._annotate_conv_relu6(node)
        annotated: GraphModule = super().annotate(model)
        return annotated

    def _annotate_conv_relu6(self, relu6: Node) -> None:
        """Round what a convolution takes and what its ReLU6 gives, nothing between them."""
        conv = relu6.args[0]
        if not isinstance(conv, Node) or conv.target != aten.conv2d.default or len(conv.users) > 1:
            return
        if self.filter_fn is not None and not (self.filter_fn(conv) and self.filter_fn(relu6)):
            return
        config = self.global_config
        assert config is not None
        source, weight = conv.args[0], conv.args[1]
        assert isinstance(source, Node)
        assert isinstance(weight, Node)
        inputs = {source: config.input_activation, weight: config.weight}
        bias = conv.args[2] if len(conv.args) > 2 else None
        if isinstance(bias, Node):
            inputs[bias] = config.bias
        conv.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(
            input_qspec_map=inputs, _annotated=True
        )
        relu6.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(
            output_qspec=config.output_activation, _annotated=True
        )
