"""Where int8 goes, said once: the same scheme serves post-training quantization and training.

XNNPACK's activations are affine (a zero point each); TensorRT's must be symmetric. The flow is the
same, the scheme differs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

from runtime.errors import ConfigError

if TYPE_CHECKING:
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer_utils import QuantizationConfig
    from torch.fx import Node

Activations = Literal["affine", "symmetric"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """One way to put int8 into a network.

    Attributes:
        name: How it is called in reports.
        engine: Whose quantizer it is made for.
        per_channel_weights: One symmetric scale per output channel, not per tensor.
        activations: Zero points or none.
        float_modules: Patterns (as for file names) of the modules whose own operations stay in
            float32. A module's name is its path in the exported module, `model.heads.box.layers.2`.
        float_operations: Names of operations that stay in float32, wherever they are.
    """

    name: str
    engine: Literal["xnnpack", "tensorrt"]
    per_channel_weights: bool
    activations: Activations
    float_modules: tuple[str, ...]
    float_operations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the combination."""
        wanted = "affine" if self.engine == "xnnpack" else "symmetric"
        if self.activations != wanted:
            raise ConfigError(
                f"scheme {self.name!r} wants {self.activations} activations; {self.engine}'s are "
                f"{wanted}"
            )

    def keeps_float(self, module_name: str) -> bool:
        """Tell whether the operations of a module stay in float32."""
        return any(fnmatchcase(module_name, pattern) for pattern in self.float_modules)


# Softmax and both matmuls of attention are float in any case: XNNPACK has no int8 form of them, and
# they are cheap next to the projections. The last layer of a head decides a box to a fraction of a
# pixel and a score to a threshold; it is a thousandth of the work, so the export names it as float
# too, beside the sum with the reference box (in `heads` itself). The overlap of small boxes, by
# which tokens `suppression` lowers, and the squares in a LayerNorm want more range than int8 has.
XNNPACK_INT8 = Scheme(
    name="xnnpack-int8",
    engine="xnnpack",
    per_channel_weights=True,
    activations="affine",
    float_modules=("*heads", "*suppression", "*norm*"),
)

# TensorRT has no zero points ("`y_zero_point` must be 0" in its table of ONNX operators), and no
# transposed convolution with a scale for each output channel (NVIDIA/TensorRT#2380); ONNX Runtime
# has none in int8 at all. All else is as above, so that what was learned about one holds for the
# other.
TENSORRT_INT8 = replace(
    XNNPACK_INT8,
    name="tensorrt-int8",
    engine="tensorrt",
    activations="symmetric",
    float_operations=("conv_transpose2d",),
)


def build_quantizer(
    scheme: Scheme, float_names: frozenset[str] = frozenset(), *, training: bool = False
) -> XNNPACKQuantizer:
    """Return the quantizer that annotates a graph as a scheme says.

    Args:
        scheme: Where int8 goes.
        float_names: Further modules, by exact name, that stay in float32.
        training: At the same places, of the same form, put what a gradient passes.

    Raises:
        ConfigError: The scheme is not one that can be trained.
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        get_symmetric_quantization_config,
    )

    from quantize.xnnpack_quantizer import FilteredQuantizer

    # "Symmetric" in that function's name is about the weights; its activations are affine.
    config = get_symmetric_quantization_config(is_per_channel=scheme.per_channel_weights)
    if scheme.activations == "symmetric":
        if training:
            raise ConfigError(f"training rounds affine activations; {scheme.name!r} has symmetric")
        config = _symmetric(config)
    config = _in_training(config) if training else _sampled(config)
    quantizer = FilteredQuantizer()
    # Its patterns with BatchNorm meet nothing in a graph whose norms are folded; to look for them
    # takes 2.4 s of processor time, all the rest 0.04 s (a network of one block).
    quantizer.SUPPORTED_PATTERNS = [p for p in quantizer.SUPPORTED_PATTERNS if "bn" not in p.name]
    quantizer.set_global(config)
    quantizer.set_filter_function(_filter(scheme, float_names))
    return quantizer


def _symmetric(config: QuantizationConfig) -> QuantizationConfig:
    """Take the zero points from activations.

    They keep all of -128 to 127, as ONNX's QuantizeLinear saturates there and knows no other limit.
    """
    import torch

    return _with_activations(config, lambda spec: replace(spec, qscheme=torch.per_tensor_symmetric))


def _sampled(config: QuantizationConfig) -> QuantizationConfig:
    """Observe a sample of large activations."""
    from quantize.observers import SampledHistogramObserver

    return _with_activations(config, lambda spec: _observed_by(spec, SampledHistogramObserver))


def _in_training(config: QuantizationConfig) -> QuantizationConfig:
    """Replace the observers of a configuration by modules that round as well."""
    from quantize.fake import FakeQuantizedActivation, FakeQuantizedPerChannelWeight

    config = _with_activations(config, lambda spec: _observed_by(spec, FakeQuantizedActivation))
    return replace(config, weight=_observed_by(config.weight, FakeQuantizedPerChannelWeight))


def _with_activations(
    config: QuantizationConfig, changed: Callable[[Any], Any]
) -> QuantizationConfig:
    return replace(
        config,
        input_activation=changed(config.input_activation),
        output_activation=changed(config.output_activation),
    )


def _observed_by(spec: Any, kind: Any) -> Any:
    # The smallest scale is the observer's own.
    eps = spec.observer_or_fake_quant_ctr.p.keywords["eps"]
    return replace(spec, observer_or_fake_quant_ctr=kind.with_args(eps=eps))


def _filter(scheme: Scheme, float_names: frozenset[str]) -> Callable[[Any], bool]:
    def wanted(node: Node) -> bool:
        name = module_of(node)
        if name in float_names or scheme.keeps_float(name):
            return False
        return _operation(node) not in scheme.float_operations

    return wanted


def _operation(node: Node) -> str:
    """Return the bare name of an operation: `conv2d` of `aten.conv2d.default`."""
    return str(getattr(node.target, "__name__", node.target)).split(".")[0]


def module_of(node: Node) -> str:
    """Return the path of the module whose forward made a node, "" for the outermost one."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return ""
    path = str(list(stack.values())[-1][0])
    # torch.export writes L['self'].model.heads or model.heads, by its mood and version.
    return (
        path.replace("L['self'].", "").replace("L['self']", "").replace("['", ".").replace("']", "")
    )
