"""Several processes by Lightning Fabric: the only module that imports it."""

from __future__ import annotations

import importlib.metadata
import logging
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import cast

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn

from edge.training.processes import Processes

# It reports each rank by itself; the run's own log says the same in one line.
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


class FabricProcesses(Processes):
    """The processes that torchrun started, each with its part of every batch."""

    def __init__(self, kind: str, precision: str) -> None:
        """Join the others; `kind` is "cpu" or "cuda"."""
        self._fabric = Fabric(
            accelerator=kind,
            strategy=DDPStrategy(process_group_backend="nccl" if kind == "cuda" else "gloo"),
            devices=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
            num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", "1")),
            precision="bf16-mixed" if precision == "bf16" else "32-true",
        )
        self._fabric.launch()
        super().__init__(self._fabric.device, precision)
        self.rank = self._fabric.global_rank
        self.world_size = self._fabric.world_size

    def describe(self) -> str:
        """Return where and how the model runs."""
        version = importlib.metadata.version("lightning-fabric")
        return (
            f"{self.world_size} processes on {self.device.type}, {self.precision}, Lightning "
            f"Fabric {version} (DDP over {dist.get_backend()})"
        )

    def setup(
        self, model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Wrap both so that gradients are averaged over the processes."""
        wrapped, stepped = self._fabric.setup(model, optimizer)
        return cast(nn.Module, wrapped), cast(torch.optim.Optimizer, stepped)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the model runs in mixed precision."""
        return cast("AbstractContextManager[object]", self._fabric.autocast())

    def hold_gradients(self, model: nn.Module, hold: bool) -> AbstractContextManager[object]:
        """Return the context of a part whose gradients are not yet exchanged."""
        held = self._fabric.no_backward_sync(model, enabled=hold)
        return cast("AbstractContextManager[object]", held)

    def backward(self, loss: Tensor) -> None:
        """Differentiate a loss."""
        self._fabric.backward(loss)

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return the sum of each number over all processes."""
        total = torch.tensor(list(values), dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return [float(value) for value in total.tolist()]

    def barrier(self) -> None:
        """Wait for all processes."""
        self._fabric.barrier()
