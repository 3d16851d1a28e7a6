"""Rounding to int8 and back that a gradient passes, at the places where the quantizer puts it.

torchao's own modules read their switches on the host at every call, which holds up a GPU a hundred
times a step, and let the range of a weight trail behind the weight. These take a weight's range
from the weight itself, as the export does, and their switches are plain attributes. The arithmetic
is that of the observers that the export uses (a test holds them equal).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchao.quantization.pt2e import FakeQuantizeBase

from runtime.errors import ExportError

_MOMENTUM = 0.01  # share of the newest batch in the range, once a hundred were seen


class FakeQuantize(FakeQuantizeBase):  # type: ignore[misc]
    """What both kinds have in common.

    Attributes:
        enabled: Round; else pass values on.
        observing: Let the range follow the batches, where there is one to keep.
    """

    def __init__(
        self,
        *,
        dtype: torch.dtype,
        quant_min: int,
        quant_max: int,
        qscheme: torch.qscheme,
        eps: float,
        ch_axis: int | None = None,
        **ignored: Any,
    ) -> None:
        """Take over a `QuantizationSpec` of torchao."""
        super().__init__()
        self.dtype, self.qscheme, self.ch_axis = dtype, qscheme, ch_axis
        self.quant_min, self.quant_max, self.eps = quant_min, quant_max, eps
        self.enabled, self.observing = True, False

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Refuse, as the base class asks for it: the export calibrates anew.

        Raises:
            ExportError: Always.
        """
        raise ExportError("ranges of training are not converted; export the trained weights")


class FakeQuantizedPerChannelWeight(FakeQuantize):
    """Symmetric, by the largest value of each output channel or of the whole.

    torchao tells the axis of the channels to classes with "PerChannel" in their name alone.
    """

    def forward(self, weight: Tensor) -> Tensor:
        """Round a weight (Cout, ...), or with `ch_axis` 1 a transposed one (Cin, Cout, ...)."""
        if not self.enabled:
            return weight
        largest, axis = weight.detach().abs(), self.ch_axis or 0
        per_channel = self.qscheme == torch.per_channel_symmetric
        largest = largest.transpose(0, axis).flatten(1).amax(1) if per_channel else largest.amax()
        half = (self.quant_max - self.quant_min) / 2
        scale = (largest / half).clamp(min=self.eps)
        zero = torch.zeros_like(scale, dtype=torch.int32)
        if per_channel:
            return torch.fake_quantize_per_channel_affine(
                weight, scale, zero, axis, self.quant_min, self.quant_max
            )
        return torch.fake_quantize_per_tensor_affine(
            weight, scale, zero, self.quant_min, self.quant_max
        )


class FakeQuantizedActivation(FakeQuantize):
    """Affine, by a range that follows the batches of training until it is frozen.

    Attributes:
        low: Lower end of the range.
        high: Upper end of the range.
        seen: Number of batches that it follows.
    """

    low: Tensor
    high: Tensor
    seen: Tensor

    def __init__(self, **spec: Any) -> None:
        """Begin without a range."""
        super().__init__(**spec)
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        """Round values of any shape."""
        if self.observing:
            self._observe(x.detach())
        if not self.enabled:
            return x
        low, high = self.low.clamp(max=0.0), self.high.clamp(min=0.0)
        scale = ((high - low) / (self.quant_max - self.quant_min)).clamp(min=self.eps)
        zero = self.quant_min - torch.round(low / scale).to(torch.int32)
        zero = zero.clamp(self.quant_min, self.quant_max)
        return torch.fake_quantize_per_tensor_affine(x, scale, zero, self.quant_min, self.quant_max)

    def _observe(self, x: Tensor) -> None:
        low, high = torch.aminmax(x)
        # The mean of the first hundred batches, then a moving average.
        share = (1.0 / (self.seen + 1)).clamp(min=_MOMENTUM)
        self.low.lerp_(low, share)
        self.high.lerp_(high, share)
        self.seen.add_(1)
