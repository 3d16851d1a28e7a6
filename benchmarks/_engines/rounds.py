"""Measure several engines in turn: each in a process of its own, one computing at a time."""

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
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from benchmarks._engines.base import Engine

if TYPE_CHECKING:
    from benchmarks._engines.networks import Network

logger = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parent.parent.parent
# Worker threads of some engines spin for a while after their work before they sleep.
SETTLE_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One network in one engine.

    Attributes:
        network: What runs.
        engine: Where it runs.
        path: The artifact.
    """

    network: Network
    engine: Engine
    path: Path

    @property
    def key(self) -> tuple[str, str]:
        """Names of network and engine."""
        return self.network.name, self.engine.name


@dataclass(slots=True, kw_only=True)
class Timing:
    """What was measured of a job.

    Attributes:
        rounds: Times of each round, milliseconds.
        load_s: Import, load and first run.
        peak_mb: Most memory the process held.
        agreement: Per output, its error against torch in float32.
        failure: Why it was not measured; empty where it was.
    """

    rounds: list[list[float]] = field(default_factory=list)
    load_s: float = 0.0
    peak_mb: float = 0.0
    agreement: dict[str, Any] = field(default_factory=dict)
    failure: str = ""

    @property
    def all_ms(self) -> list[float]:
        """Every time of every round."""
        return [ms for times in self.rounds for ms in times]

    @property
    def median_ms(self) -> float:
        """Median over everything."""
        return statistics.median(self.all_ms)

    @property
    def p95_ms(self) -> float:
        """95th percentile over everything."""
        return float(np.percentile(self.all_ms, 95))


def ratio(ours: Timing, other: Timing) -> float:
    """Return ours over other: the median of the rounds' ratios, so that drift cancels."""
    pairs = zip(ours.rounds, other.rounds, strict=True)
    return statistics.median(statistics.median(a) / statistics.median(b) for a, b in pairs)


def measure(
    jobs: Sequence[Job], *, threads: int, rounds: int, turn_ms: float
) -> dict[tuple[str, str], Timing]:
    """Measure jobs in interleaved rounds.

    Args:
        jobs: What to measure.
        threads: Threads of each engine.
        rounds: Turns of each engine.
        turn_ms: How long a turn lasts, milliseconds; at least five runs.

    Returns:
        By network and engine. A job whose process failed says why, and takes no further part.
    """
    timings = {job.key: Timing() for job in jobs}
    with tempfile.TemporaryDirectory(prefix="bmvit-bench-") as folder:
        references = _references(jobs, Path(folder))
        workers: dict[tuple[str, str], Worker] = {}
        try:
            for job in jobs:
                content = {
                    "engine": job.engine.name,
                    "path": str(job.path.resolve()),
                    "threads": threads,
                    "reference": str(references[job.network.name]),
                }
                worker = Worker("benchmarks._engines.worker", content, threads)
                workers[job.key] = worker
                _start(worker, timings[job.key])
            for index in range(rounds):
                for key, worker in workers.items():
                    if timings[key].failure:
                        continue
                    time.sleep(SETTLE_S)
                    answer = worker.ask(f"time {turn_ms}", timings[key])
                    timings[key].rounds.append(answer.get("ms", []))
                logger.info("round %d of %d", index + 1, rounds)
            for key, worker in workers.items():
                answer = worker.ask("quit", timings[key])
                timings[key].peak_mb = float(answer.get("peak_mb", 0.0))
        finally:
            for worker in workers.values():
                worker.close()
    return timings


def _start(worker: Worker, timing: Timing) -> None:
    timing.load_s = float(worker.ask("load", timing).get("load_s", 0.0))
    timing.agreement = worker.ask("check", timing)


def _references(jobs: Sequence[Job], folder: Path) -> dict[str, Path]:
    """Write each network's clips and expected outputs for the workers."""
    paths: dict[str, Path] = {}
    for network in {job.network.name: job.network for job in jobs}.values():
        arrays: dict[str, Any] = {"count": np.array(len(network.clips.held_out))}
        for i, (clip, row) in enumerate(
            zip(network.clips.held_out, network.expected(), strict=True)
        ):
            arrays[f"clip{i}"] = clip
            arrays |= {f"expected{i}_{k}": value for k, value in enumerate(row)}
        paths[network.name] = folder / f"{network.name}.npz"
        np.savez(paths[network.name], **arrays)
    return paths


class Worker:
    """The parent's end of a measuring process, which answers each command with a line of JSON."""

    def __init__(self, module: str, content: Mapping[str, Any], threads: int) -> None:
        """Start a module with what it shall measure as its argument, in JSON."""
        # Every OpenMP in the process takes its number of threads from here.
        limits = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(content)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            cwd=_ROOT,
            env={**os.environ, **limits},
        )

    def ask(self, command: str, timing: Timing) -> dict[str, Any]:
        """Send a command; return the answer, or record why there is none."""
        if timing.failure:
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
            answer: dict[str, Any] = json.loads(line)
            return answer
        timing.failure = self._reason(command)
        return {}

    def _reason(self, command: str) -> str:
        code = self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else "no message"
        return f"its process ended with {code} at `{command.split()[0]}`: {last[:200]}"

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
