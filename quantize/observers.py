"""Observe activations by a sample of values: their histograms are most of a calibration."""

from __future__ import annotations

from torch import Tensor
from torchao.quantization.pt2e.observer import HistogramObserver

LEAST = 1 << 16
"""Tensors of fewer values are observed whole."""
STRIDES = (13, 11, 17)
"""Every so manyth value counts: the first of these that divides no size of the tensor, so that all
rows, columns and channels come in turn."""


class SampledHistogramObserver(HistogramObserver):  # type: ignore[misc]
    """torchao's histogram, of about every 13th value where a tensor is large."""

    def forward(self, x_orig: Tensor) -> Tensor:
        """Add the values of a tensor of any shape to the histogram; return it as it came."""
        if x_orig.numel() < LEAST:
            super().forward(x_orig)
        else:
            super().forward(x_orig.detach().reshape(-1)[:: stride_of(x_orig.shape)])
        return x_orig


def stride_of(shape: tuple[int, ...]) -> int:
    """Return the distance between values of a tensor that are observed."""
    return next((s for s in STRIDES if all(size % s for size in shape)), 1)
