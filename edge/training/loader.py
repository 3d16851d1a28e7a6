"""Clips in an order that is a function of the step alone.

Step k takes the same clips in every run with the same seed and batch: after a resume, and however
many processes and accumulated parts share them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from edge.data.dataset import ClipDataset
from edge.data.samples import ClipSample
from edge.training.targets import Batch, collate
from runtime.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which part of each batch is whose.

    Attributes:
        batch: Clips of a step, over all processes and parts.
        accumulate: Parts that each process works through in a step.
        world_size: Processes.
        rank: This process.
    """

    batch: int
    accumulate: int = 1
    world_size: int = 1
    rank: int = 0

    def __post_init__(self) -> None:
        """Check that the batch divides."""
        parts = self.accumulate * self.world_size
        if self.batch % parts:
            raise ConfigError(
                f"--batch is {self.batch}, expected a multiple of {parts} ({self.world_size} "
                f"processes of {self.accumulate} parts each)"
            )

    @property
    def part(self) -> int:
        """Clips of one part."""
        return self.batch // (self.accumulate * self.world_size)

    def slices(self) -> list[slice]:
        """Return this process's parts of a batch, in the order it works through them."""
        starts = (
            (index * self.world_size + self.rank) * self.part for index in range(self.accumulate)
        )
        return [slice(start, start + self.part) for start in starts]


class StepOrder:
    """Which clips step k takes: pass after pass over the data, each in an order of its own."""

    def __init__(self, length: int, batch: int, seed: int) -> None:
        """Order `length` clips in batches of `batch`; batches run across the end of a pass."""
        if length < 1:
            raise ConfigError("the data set has no clips")
        self.length, self.batch, self.seed = length, batch, seed
        self._pass, self._order = -1, torch.empty(0, dtype=torch.int64)

    def __call__(self, step: int) -> list[int]:
        """Return the clips of step `step`, counted from 0: pass * length + index."""
        first = step * self.batch
        return [self._at(position) for position in range(first, first + self.batch)]

    def _at(self, position: int) -> int:
        number, place = divmod(position, self.length)
        if number != self._pass:
            generator = torch.Generator().manual_seed((self.seed << 20) + number)
            self._order = torch.randperm(self.length, generator=generator)
            self._pass = number
        return number * self.length + int(self._order[place])


class _Parts(Sampler[list[int]]):
    """This process's parts of the batches of steps `start` to `stop`."""

    def __init__(self, order: StepOrder, share: Share, start: int, stop: int) -> None:
        self.order, self.share, self.start, self.stop = order, share, start, stop

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.stop):
            indices = self.order(step)
            for part in self.share.slices():
                yield indices[part]

    def __len__(self) -> int:
        return (self.stop - self.start) * self.share.accumulate


class _MapStyle(Dataset[ClipSample]):
    """A clip data set as torch's loader wants it."""

    def __init__(self, dataset: ClipDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> ClipSample:
        """Return a clip by its number in the order of steps."""
        epoch, index = divmod(number, len(self.dataset))
        return self.dataset.clip(index, epoch)


def batches_by_step(
    dataset: ClipDataset, share: Share, *, start: int, stop: int, seed: int, workers: int, pin: bool
) -> Iterator[list[Batch]]:
    """Yield the parts of steps `start` to `stop - 1` that belong to this process.

    Args:
        dataset: The clips.
        share: How each batch is divided.
        start: First step.
        stop: Step behind the last.
        seed: Of the order.
        workers: Processes that make clips ahead; 0 makes them here.
        pin: Put the bytes into memory that a GPU copies from fast.
    """
    order = StepOrder(len(dataset), share.batch, seed)
    loader = DataLoader(
        _MapStyle(dataset),
        batch_sampler=_Parts(order, share, start, stop),
        collate_fn=collate,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=pin,
        worker_init_fn=_quiet_worker,
    )
    parts: list[Batch] = []
    for batch in loader:
        parts.append(batch)
        if len(parts) == share.accumulate:
            yield parts
            parts = []


def default_workers(device: torch.device, world_size: int) -> int:
    """Return how many processes are to make clips: the cores that the model leaves."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    spare = (cores or 1) // max(1, world_size) - 1
    # On a CPU the model is the slow part: one maker of clips keeps up with many cores.
    return max(0, min(spare, 16 if device.type == "cuda" else 1))


def _quiet_worker(_: int) -> None:
    """Keep a worker to one thread, and let the main process decide what a signal means.

    Ctrl-C and `timeout` signal the whole group. Workers end when the main process does.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
