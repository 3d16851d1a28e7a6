"""Features on their way through a model, kept for what training adds beside it."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from edge.model.bmvit import BMViT


class Tap:
    """Keeps what a module takes, or what it gives, of its newest batch."""

    def __init__(self, module: nn.Module, *, output: bool = False) -> None:
        """Listen at a module, for as long as it lives.

        Args:
            module: The module.
            output: Keep what it gives, in place of the tuple that it takes.
        """
        self.kept: Any = None
        if output:
            module.register_forward_hook(self._keep_output)
        else:
            module.register_forward_pre_hook(self._keep_inputs)

    def _keep_inputs(self, module: nn.Module, inputs: object) -> None:
        self.kept = inputs

    def _keep_output(self, module: nn.Module, inputs: object, output: object) -> None:
        self.kept = output

    def take(self) -> Any:
        """Return what was kept, and forget it."""
        assert self.kept is not None, "the model has not run"
        kept, self.kept = self.kept, None
        return kept


class TokenTap:
    """The features that the heads of a model read, by token."""

    def __init__(self, model: BMViT) -> None:
        """Listen at the heads."""
        self._tap = Tap(model.heads)
        self.channels = 2 * cast(int, model.backbone.out_channels)

    def take(self, batch: int) -> Tensor:
        """Return (B, N, 2C), what box and actor read and what the actions read; then forget it."""
        joined = torch.cat(self._tap.take(), dim=1)  # (B*S, 2C, H, W)
        return joined.permute(0, 2, 3, 1).reshape(batch, -1, self.channels)
