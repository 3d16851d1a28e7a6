"""One result after the other, timed by stage: what every method but the runtime itself shares."""

from __future__ import annotations

import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from benchmarks._engines import Floats, Run
from runtime.decode import decode

Image = npt.NDArray[np.uint8]
Outputs: TypeAlias = tuple[Floats, Floats, Floats]

STAGES = ("preprocess", "network", "decode")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One result: its time and that of each stage, milliseconds, candidates and detections."""

    total_ms: float
    stages_ms: dict[str, float]
    candidates: int
    found: int


class Clip(Protocol):
    """The newest frames as a network takes them."""

    def push(self, frame: Image, /) -> None:
        """Put a decoded frame in the place of the oldest."""

    def clip(self) -> Floats:
        """Return the clip, oldest frame first."""


class Loop(ABC):
    """The plain way of every method but ours: new frames into the clip, network, decode."""

    def __init__(self, run: Run, frames: Image, clip: Clip, *, new_frames: int) -> None:
        """Take the loaded network, decoded frames (F, H, W, 3), and where they become a clip."""
        self._run, self._clip, self._new_frames = run, clip, new_frames
        self._size_wh = (frames.shape[2], frames.shape[1])
        self._source = itertools.cycle(frames)
        self.threshold = 0.0

    def results(self) -> Iterator[Result]:
        """Yield results without end."""
        while True:
            at = [time.perf_counter()]
            clip = self._fill()
            at.append(time.perf_counter())
            outputs = self._network(clip)
            at.append(time.perf_counter())
            candidates, found = self._decode(outputs)
            at.append(time.perf_counter())
            times = [(b - a) * 1e3 for a, b in itertools.pairwise(at)]
            yield Result(total_ms=(at[-1] - at[0]) * 1e3,
                         stages_ms=dict(zip(STAGES, times, strict=True)),
                         candidates=candidates, found=found)  # fmt: skip

    @abstractmethod
    def _network(self, clip: Floats) -> Outputs:
        """Run one clip."""

    @abstractmethod
    def _decode(self, outputs: Outputs) -> tuple[int, int]:
        """Return how many candidates and how many detections the outputs have."""

    def _fill(self) -> Floats:
        for _ in range(self._new_frames):
            self._clip.push(next(self._source))
        return self._clip.clip()


class Elsewhere(Loop):
    """Our network in another engine, between the runtime's own native preprocess and decode.

    It computes whole clips: no other engine is given what overlapping clips share.
    """

    def __init__(
        self, run: Run, frames: Image, *, new_frames: int, num_frames: int, height: int, width: int,
        mean: Sequence[float], std: Sequence[float],
    ) -> None:  # fmt: skip
        """Take the loaded network, decoded frames (F, H, W, 3), and the network's clip."""
        from runtime import _native

        clip = _native.ClipBuffer(_native.Preprocess(height, width, mean, std), num_frames)
        super().__init__(run, frames, clip, new_frames=new_frames)
        for _ in range(num_frames):
            clip.push(next(self._source))

    def all_scores(self) -> Iterator[Floats]:
        """Yield the actor scores of all tokens, clip by clip."""
        while True:
            yield decode(*self._network(self._fill()), conf=0.0, size_wh=self._size_wh).actor

    def _network(self, clip: Floats) -> Outputs:
        boxes, actor, actions = self._run(clip)
        return boxes[0], actor[0].reshape(-1), actions[0]

    def _decode(self, outputs: Outputs) -> tuple[int, int]:
        found = len(decode(*outputs, conf=self.threshold, size_wh=self._size_wh).actor)
        return found, found
