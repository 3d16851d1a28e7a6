"""Measure pipelines in turn: each in a process of its own, one computing at a time."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks._engines.rounds import SETTLE_S, Timing, Worker
from benchmarks._rivals.pipelines import STAGES

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineJob:
    """One method in one engine.

    Attributes:
        method: Its name.
        engine: Name of engine and precision.
        path: Our bundle's folder, or the rival's artifact.
        rival: For the rival: `num_frames`, `size` and `strides` of its network; None for ours.
    """

    method: str
    engine: str
    path: Path
    rival: Mapping[str, Any] | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Names of method and engine."""
        return self.method, self.engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How pipelines are measured.

    Attributes:
        frames: File (.npy) of decoded frames (F, H, W, 3), blue first.
        new_frames: Samples from one result to the next.
        candidates: How many stand above the threshold, in the median.
        threads: Of each engine.
        rounds: Turns of each pipeline.
        turn_ms: Length of a turn, milliseconds; at least five results.
    """

    frames: Path
    new_frames: int
    candidates: int
    threads: int
    rounds: int
    turn_ms: float


@dataclass(slots=True, kw_only=True)
class Measured(Timing):
    """What was measured of a pipeline; times of `rounds` are from frames to detections.

    Attributes:
        stages: All times of each stage, milliseconds.
        facts: Threshold, candidates and detections.
    """

    stages: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in STAGES})
    facts: dict[str, float] = field(default_factory=dict)

    def stage_ms(self, name: str) -> float:
        """Return the median of a stage."""
        return statistics.median(self.stages[name])


def measure(jobs: Sequence[PipelineJob], plan: Plan) -> dict[tuple[str, str], Measured]:
    """Measure pipelines in interleaved rounds; one that failed says why and takes no more part."""
    measured = {job.key: Measured() for job in jobs}
    workers: dict[tuple[str, str], Worker] = {}
    try:
        for job in jobs:
            content = {
                "engine": job.engine,
                "path": str(job.path.resolve()),
                "rival": None if job.rival is None else dict(job.rival),
                "frames": str(plan.frames.resolve()),
                "new_frames": plan.new_frames,
                "candidates": plan.candidates,
                "threads": plan.threads,
            }
            worker = Worker("benchmarks._rivals.worker", content, plan.threads)
            workers[job.key] = worker
            measured[job.key].facts = worker.ask("load", measured[job.key]).get("facts", {})
        for index in range(plan.rounds):
            for key, worker in workers.items():
                time.sleep(SETTLE_S)
                _turn(worker, measured[key], plan.turn_ms)
            logger.info("round %d of %d", index + 1, plan.rounds)
        for key, worker in workers.items():
            measured[key].peak_mb = float(worker.ask("quit", measured[key]).get("peak_mb", 0.0))
    finally:
        for worker in workers.values():
            worker.close()
    return measured


def _turn(worker: Worker, taken: Measured, turn_ms: float) -> None:
    answer = worker.ask(f"time {turn_ms}", taken)
    if not answer:
        return
    taken.rounds.append(answer["ms"])
    for name, times in answer["stages_ms"].items():
        taken.stages[name] += times
