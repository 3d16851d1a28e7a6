"""Measure what range the output of each layer takes on real clips, before int8 is chosen for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

MEASURED = (nn.Conv2d, nn.Conv3d, nn.Linear, nn.BatchNorm2d, nn.LayerNorm)
# Values kept of each layer and clip for the quantile: enough for a tail of one in a thousand.
_SAMPLES = 20_000
OUTLIER_RATIO = 8.0
"""A layer whose extreme is that many times its 99.9 % quantile spends int8 levels on outliers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRange:
    """The outputs of one layer over all clips.

    Attributes:
        name: Dotted name of the layer in the model.
        low: Least value.
        high: Greatest value.
        p999: 99.9 % quantile of the absolute values.
    """

    name: str
    low: float
    high: float
    p999: float

    @property
    def outlier_ratio(self) -> float:
        """Return the greatest absolute value over the 99.9 % quantile."""
        return max(abs(self.low), abs(self.high)) / max(self.p999, 1e-12)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a report file."""
        return asdict(self)


def activation_ranges(model: nn.Module, clips: Iterable[Tensor]) -> list[LayerRange]:
    """Run clips through a model and record the range of each layer's output.

    Args:
        model: The float model; it is put into evaluation mode.
        clips: Normalised clips as the model takes them.

    Returns:
        One entry per convolution, linear or norm that ran, in the order they first ran.
    """
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    tails: dict[str, list[Tensor]] = {}

    def watch(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            values = output.detach().flatten()
            low[name] = min(low.get(name, float("inf")), float(values.min()))
            high[name] = max(high.get(name, float("-inf")), float(values.max()))
            step = max(1, values.numel() // _SAMPLES)
            tails.setdefault(name, []).append(torch.quantile(values[::step].abs(), 0.999))

        return hook

    hooks = [
        module.register_forward_hook(watch(name))
        for name, module in model.named_modules()
        if isinstance(module, MEASURED)
    ]
    model.eval()
    try:
        with torch.no_grad():
            for clip in clips:
                model(clip)
    finally:
        for handle in hooks:
            handle.remove()
    return [
        LayerRange(
            name=name,
            low=low[name],
            high=high[name],
            p999=float(torch.stack(tails[name]).mean()),
        )
        for name in low
    ]
