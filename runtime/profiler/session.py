"""Run a bundle on a source for so many results or minutes, and keep what it cost."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from runtime.probes import Probe, local_probes
from runtime.profiler.soak import Minute, minutes_of
from runtime.profiler.timeline import Timeline
from runtime.profiler.watch import State, Watch, state_of
from runtime.profiling import Percentiles
from runtime.quiet import Busy, Busyness
from runtime.results import KeyframeResult
from runtime.runner import ClipRunner
from runtime.sinks.base import Sinks
from runtime.sources import SourceConfig

QUIET_S = 1.0  # so long the machine is looked at before anything runs
_KEPT = 500_000  # latencies of a soak: hours


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a session measured.

    Attributes:
        timeline: Spans, percentiles by stage and program.
        latencies: (when the result came, s; what it cost without the waiting, ms).
        watch: Samples of the probes, and the energy.
        before: The machine before.
        after: The machine behind it.
        quiet_before: What others did before it.
        quiet_during: What others did beside it.
        begun_s: When the first result was being made.
        seconds: How long it took.
    """

    timeline: Timeline
    latencies: tuple[tuple[float, float], ...]
    watch: Watch
    before: State
    after: State
    quiet_before: Busyness
    quiet_during: Busyness
    begun_s: float
    seconds: float

    @property
    def results(self) -> int:
        """How many results there were."""
        return len(self.latencies)

    def stages(self) -> dict[str, Percentiles]:
        """Return what each stage took for one result, in the order of the way of a frame."""
        found = dict(self.timeline.stages)
        named = {f"program {name}": times for name, times in self.timeline.programs.items()}
        return {
            "capture": found["capture"],
            "preprocess": found["preprocess"],
            **(named if len(named) > 1 else {}),
            "inference": found["inference"],
            "decode": found["decode"],
            "sink": self.timeline.sink,
            "total": found["total"],
        }

    def minutes(self) -> list[Minute]:
        """Return the session by minute."""
        return minutes_of(self.latencies, self.watch.samples, self.begun_s)


def measure(
    runner: ClipRunner,
    source: str | int | Path,
    sinks: Sinks,
    *,
    results: int,
    minutes: float = 0.0,
    warm_up: int = 10,
    config: SourceConfig | None = None,
    probes: list[Probe] | None = None,
    told: Callable[[int, float], None] | None = None,
) -> Measured:
    """Run a source, again from its beginning where it ends, until there is enough.

    Args:
        runner: The bundle, loaded.
        source: A camera, stream, file or folder.
        sinks: Where results go.
        results: How many results; of no effect with `minutes`.
        minutes: How long; 0 goes by `results`.
        warm_up: Results that do not count.
        config: How to read the source.
        probes: What to watch; None takes those of this machine.
        told: Told now and then: results so far, seconds so far.

    Raises:
        EdgeError: The source or the engine failed.
    """
    probes = local_probes() if probes is None else probes
    before, quiet_before = look(probes)
    timeline = Timeline()
    latencies: deque[tuple[float, float]] = deque(maxlen=_KEPT)
    runner.new_profile = lambda: timeline
    stream = _results(runner, source, sinks, config)
    with closing(stream):
        for _ in range(warm_up):
            if next(stream, None) is None:
                break
        timeline.reset()
        with Watch(probes) as watch:
            begun_s = time.perf_counter()
            for result in stream:
                timeline.ran(_programs(runner))
                sunk = time.perf_counter()
                sinks.result(result)
                now = time.perf_counter()
                timeline.sunk(sunk, now)
                t = result.timings
                latencies.append((now, t.preprocess_ms + t.inference_ms + t.decode_ms))
                if told is not None:
                    told(len(latencies), now - begun_s)
                enough = now - begun_s >= minutes * 60 if minutes else len(latencies) >= results
                if enough or sinks.done:
                    break
            quiet_during = watch.busyness()
            seconds = time.perf_counter() - begun_s
    return Measured(
        timeline=timeline, latencies=tuple(latencies), watch=watch, before=before,
        after=state_of(probes), quiet_before=quiet_before, quiet_during=quiet_during,
        begun_s=begun_s, seconds=seconds,
    )  # fmt: skip


def look(probes: list[Probe] | None = None) -> tuple[State, Busyness]:
    """Look at the machine for a second before anything is measured on it."""
    busy = Busy()
    state = state_of(local_probes() if probes is None else probes)
    time.sleep(QUIET_S)
    return state, busy.since()


def _results(
    runner: ClipRunner, source: str | int | Path, sinks: Sinks, config: SourceConfig | None
) -> Generator[KeyframeResult, None, None]:
    on_frame = sinks.frame if sinks.wants_frames else None
    while True:
        yield from runner.stream(source, config=config, on_frame=on_frame)


def _programs(runner: ClipRunner) -> list[tuple[str, float, float]]:
    """Return the programs of the newest result, where the engine tells them apart."""
    runs: list[tuple[str, float, float]] = getattr(runner.engine.program, "last_runs", [])
    return runs
