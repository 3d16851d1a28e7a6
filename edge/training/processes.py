"""One process or many: where the model is, and what has to be done together.

One process needs nothing but torch. Several, started by `torchrun`, are led by Lightning Fabric
(docs/adr/0009), which only `_fabric.py` imports: a machine without it still trains on one device.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor, nn

from runtime.errors import BackendUnavailableError, ConfigError


class Processes(Protocol):
    """What the loop asks of whatever started it."""

    device: torch.device
    precision: str
    rank: int
    world_size: int

    def describe(self) -> str:
        """Return where and how the model runs, for the log."""

    def setup(
        self, model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Return model and optimizer as the loop is to call them."""

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the model runs in mixed precision."""

    def hold_gradients(self, model: nn.Module, hold: bool) -> AbstractContextManager[object]:
        """Return the context of a part whose gradients are not yet exchanged."""

    def backward(self, loss: Tensor) -> None:
        """Differentiate a loss."""

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return the sum of each number over all processes."""

    def barrier(self) -> None:
        """Wait for all processes."""


class OneProcess:
    """This process alone, in plain torch."""

    rank = 0
    world_size = 1

    def __init__(self, device: torch.device, precision: str) -> None:
        """Choose the device and the precision, "fp32" or "bf16"."""
        self.device = device
        self.precision = precision

    def describe(self) -> str:
        """Return where and how the model runs."""
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
        """Return both as they are."""
        return model, optimizer

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the model runs in mixed precision."""
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"
        )

    def hold_gradients(self, model: nn.Module, hold: bool) -> AbstractContextManager[object]:
        """Do nothing: gradients stay here anyway."""
        return contextlib.nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Differentiate a loss."""
        loss.backward()  # type: ignore[no-untyped-call]

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return the numbers: there are no others."""
        return list(values)

    def barrier(self) -> None:
        """Return at once."""


def start_processes(device: str, precision: str) -> Processes:
    """Join the processes that torchrun started, or begin alone.

    Args:
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: "auto", "fp32" or "bf16".

    Raises:
        ConfigError: There is no such device, or one was named for several processes.
        BackendUnavailableError: Several processes were started, and Lightning Fabric is missing.
    """
    world_size = _world_size()
    chosen = choose_device(device)
    if precision == "auto":
        precision = "bf16" if chosen.type == "cuda" else "fp32"
    if world_size == 1:
        return OneProcess(chosen, precision)
    if chosen.index is not None and device != "auto":
        raise ConfigError(
            f"--device {device} names one device, but torchrun started {world_size} processes; "
            f"say --device {chosen.type} and each takes its own"
        )
    try:
        from edge.training._fabric import FabricProcesses
    except ImportError as error:
        raise BackendUnavailableError(
            f"torchrun started {world_size} processes, which needs lightning-fabric ({error}); "
            "run: pip install '.[train]', or start one process without torchrun"
        ) from error
    return FabricProcesses(chosen.type, precision)


def choose_device(name: str) -> torch.device:
    """Return the device of that name, CUDA before CPU for "auto".

    Raises:
        ConfigError: It does not exist here.
    """
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    text = f"cuda:{name}" if name.isdigit() else name
    try:
        device = torch.device(text)
    except RuntimeError:
        raise ConfigError(
            f"--device {name!r} is not known; say auto, cpu, cuda or cuda:N"
        ) from None
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"--device {name!r} cannot train here; say auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if device.type == "cuda" else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ConfigError(f"--device {name}: this machine has {count} CUDA devices that torch sees")
    return device


def has_bf16_units() -> bool:
    """Tell whether this processor multiplies matrices in bf16 (AMX, or AVX-512 with BF16).

    With them a step takes 0.45 of its time in fp32; with AVX-512 alone, 1.2 of it. It is
    not what "auto" means on a CPU: in bf16 two processes give one's losses to 1e-2, not 1e-4.
    """
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def is_first_process() -> bool:
    """Return whether this is the process that speaks for all of them."""
    return os.environ.get("RANK", "0") == "0"


def _world_size() -> int:
    text = os.environ.get("WORLD_SIZE", "1")
    return int(text) if text.isdigit() and int(text) > 0 else 1
