"""An average of the weights over the last steps: what is validated and saved."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class AveragedModel(Generic[M]):
    """Exponential moving average of a model, its norms' statistics included."""

    def __init__(self, model: M, decay: float) -> None:
        """Begin with a copy of `model`; 0 keeps no average and follows it exactly."""
        self.decay = decay
        self.model: M = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards `model` after step `step`; early steps are forgotten faster."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.decay else 0.0
        mine, theirs = self.model.state_dict(), model.state_dict()
        floats = [name for name, value in mine.items() if value.is_floating_point()]
        averages: list[Tensor] = [mine[name] for name in floats]
        torch._foreach_lerp_(averages, [theirs[name] for name in floats], 1.0 - decay)
        for name in mine.keys() - set(floats):
            mine[name].copy_(theirs[name])
