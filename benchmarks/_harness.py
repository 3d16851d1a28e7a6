"""Measure several things in turn: each in a process of its own, one of them computing at a time."""

from __future__ import annotations

import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np

from benchmarks._store import ROOT

logger = logging.getLogger(__name__)

Key = tuple[str, str]

# Worker threads of some engines spin for a while after their work before they sleep.
SETTLE_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One thing to measure.

    Attributes:
        key: Names of network or method, and engine.
        content: What `benchmarks._worker` loads, as JSON.
    """

    key: Key
    content: Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class Measured:
    """What was measured of a job.

    Attributes:
        rounds: Times of each round, milliseconds.
        stages: Times of each stage of all rounds, milliseconds.
        load_s: Import, load and first run.
        peak_mb: Most memory the process held.
        facts: What the job says of itself, such as its errors against torch.
        failure: Why it was not measured; empty where it was.
    """

    rounds: list[list[float]] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    load_s: float = 0.0
    peak_mb: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    failure: str = ""

    @property
    def median_ms(self) -> float:
        """Median over all rounds."""
        return statistics.median(ms for times in self.rounds for ms in times)

    @property
    def p95_ms(self) -> float:
        """95th percentile over all rounds."""
        return float(np.percentile([ms for times in self.rounds for ms in times], 95))

    def stage_ms(self, name: str) -> float:
        """Return the median of a stage."""
        return statistics.median(self.stages[name])


def ratio(ours: Measured, other: Measured) -> float:
    """Return ours over other: the median of the rounds' ratios, so that drift cancels."""
    pairs = zip(ours.rounds, other.rounds, strict=True)
    return statistics.median(statistics.median(a) / statistics.median(b) for a, b in pairs)


def measure(
    jobs: Sequence[Job], *, threads: int, rounds: int, turn_ms: float
) -> dict[Key, Measured]:
    """Measure jobs in interleaved rounds.

    Args:
        jobs: What to measure.
        threads: Threads of each.
        rounds: Turns of each.
        turn_ms: How long a turn lasts, milliseconds; at least five runs.

    Returns:
        By key. A job whose process failed says why, and takes no further part.
    """
    found = {job.key: Measured() for job in jobs}
    workers: dict[Key, _Worker] = {}
    try:
        for job in jobs:
            logger.info("loading %s in %s", *job.key)
            workers[job.key] = _Worker({**job.content, "threads": threads}, threads)
            answer = workers[job.key].ask("load", found[job.key])
            found[job.key].load_s = float(answer.get("load_s", 0.0))
            found[job.key].facts |= answer.get("facts", {})
        for index in range(rounds):
            for key, worker in workers.items():
                time.sleep(SETTLE_S)
                answer = worker.ask(f"time {turn_ms}", found[key])
                if answer:
                    found[key].rounds.append(answer["ms"])
                    for name, times in answer["stages"].items():
                        found[key].stages.setdefault(name, []).extend(times)
            logger.info("round %d of %d", index + 1, rounds)
        for key, worker in workers.items():
            answer = worker.ask("quit", found[key])
            found[key].peak_mb = float(answer.get("peak_mb", 0.0))
            found[key].facts |= answer.get("facts", {})
    finally:
        for worker in workers.values():
            worker.close()
    return found


class _Worker:
    """The parent's end of a measuring process, which answers each command with a line of JSON."""

    def __init__(self, content: Mapping[str, Any], threads: int) -> None:
        # Every OpenMP in the process takes its number of threads from here.
        limits = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks._worker", json.dumps(content)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
            cwd=ROOT, env={**os.environ, **limits},
        )  # fmt: skip

    def ask(self, command: str, taken: Measured) -> dict[str, Any]:
        """Send a command; return the answer, or record why there is none."""
        if taken.failure:
            return {}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if line:
            return dict(json.loads(line))
        code = self.process.wait()
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace").strip().splitlines() or ["no message"]
        taken.failure = (
            f"not measured: its process ended with {code} at `{command.split()[0]}`: "
            f"{said[-1][:200]}"
        )
        return {}

    def close(self) -> None:
        """End the process and free its pipes."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.close()


def told(value: float | None, form: str = "{:.2f}") -> str:
    """Return a figure as a cell of a table, a dash where there is none."""
    return "-" if value is None else form.format(value)
