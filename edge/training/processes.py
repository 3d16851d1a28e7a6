"""What the loop asks of the process, or the processes, that it runs in."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn


class Processes:
    """What the loop asks of whatever started it: here this process alone, in plain torch.

    Attributes:
        device: Where the model runs.
        precision: "fp32" or "bf16".
        rank: Number of this process.
        world_size: Number of all.
    """

    rank = 0
    world_size = 1

    def __init__(self, device: torch.device, precision: str) -> None:
        """Choose the device and the precision."""
        self.device = device
        self.precision = precision

    def describe(self) -> str:
        """Return where and how the model runs, for the log."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        hint = ""
        if self.device.type == "cpu" and self.precision == "fp32" and has_bf16_units():
            hint = " (this processor multiplies in bf16: --precision bf16 trains twice as fast)"
        return (
            f"one process on {self.device} ({name}{threads}), {self.precision}{hint}, plain torch"
        )

    def setup(
        self, model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Return model and optimizer as the loop is to call them."""
        return model, optimizer

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the model runs in mixed precision."""
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"
        )

    def hold_gradients(self, model: nn.Module, hold: bool) -> AbstractContextManager[object]:
        """Return the context of a part whose gradients are not yet exchanged."""
        return contextlib.nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Differentiate a loss."""
        loss.backward()  # type: ignore[no-untyped-call]

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return the sum of each number over all processes."""
        return list(values)

    def barrier(self) -> None:
        """Wait for all processes."""


def has_bf16_units() -> bool:
    """Tell whether this processor multiplies matrices in bf16 (AMX, or AVX-512 with BF16).

    With them a step takes 0.45 of its time in fp32; with AVX-512 alone, 1.2 of it. It is
    not what "auto" means on a CPU: in bf16 two processes give one's losses to 1e-2, not 1e-4.
    """
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
