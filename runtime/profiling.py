"""Where the time goes: percentiles by stage in bounded memory, and peak memory."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Iterable
from pathlib import Path

STAGES = ("capture", "preprocess", "inference", "decode", "total", "latency")
# Bins grow by 1 % from 1 us to 1000 s: every percentile is right to 1 %, however long the run.
_SMALLEST_MS = 1e-3
_GROWTH = math.log(1.01)
_NUM_BINS = math.ceil(math.log(1e6 / _SMALLEST_MS) / _GROWTH) + 1


class Percentiles:
    """Count durations in bins of 1 % width; about 17 kB whatever their number."""

    def __init__(self) -> None:
        """Start empty."""
        self._bins = [0] * _NUM_BINS
        self.count = 0
        self.sum_ms = 0.0
        self.max_ms = 0.0

    def add(self, ms: float) -> None:
        """Count one duration, milliseconds."""
        ms = max(ms, 0.0)
        at = 0 if ms <= _SMALLEST_MS else math.ceil(math.log(ms / _SMALLEST_MS) / _GROWTH)
        self._bins[min(at, _NUM_BINS - 1)] += 1
        self.count += 1
        self.sum_ms += ms
        self.max_ms = max(self.max_ms, ms)

    @property
    def mean_ms(self) -> float:
        """Return the mean, milliseconds; 0 when nothing was counted."""
        return self.sum_ms / self.count if self.count else 0.0

    def at(self, percent: float) -> float:
        """Return the duration that `percent` % of those counted do not exceed, ms, to 1 %."""
        need = math.ceil(self.count * percent / 100.0)
        seen = 0
        for i, n in enumerate(self._bins):
            seen += n
            if n and seen >= need:
                return min(_SMALLEST_MS * math.exp(i * _GROWTH), self.max_ms)
        return 0.0


class Profile:
    """What one run cost, stage by stage.

    Stages, per keyframe: `capture` waiting for frames; `preprocess` of all frames that entered the
    clip since the keyframe before; `inference`; `decode`; `total` everything but the waiting;
    `latency` from the arrival of the newest frame to the result.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.stages = {name: Percentiles() for name in STAGES}
        self.dropped_frames = 0
        self.dropped_clips = 0

    def add(self, **ms: float) -> None:
        """Count one keyframe: stage name to milliseconds."""
        for name, value in ms.items():
            self.stages[name].add(value)

    def span(self, stage: str, start_s: float, end_s: float) -> None:
        """Take note of a part of a stage, in seconds of `time.perf_counter`.

        Here it is thrown away; `runtime.profiler` keeps a timeline of it.
        """

    @property
    def keyframes(self) -> int:
        """Return how many keyframes were counted."""
        return self.stages["inference"].count

    def as_dict(self) -> dict[str, dict[str, float]]:
        """Return p50, p95, p99, mean and max of each stage, milliseconds."""
        return {
            name: {
                "p50": stage.at(50),
                "p95": stage.at(95),
                "p99": stage.at(99),
                "mean": stage.mean_ms,
                "max": stage.max_ms,
            }
            for name, stage in self.stages.items()
        }

    def lines(self, clip_shape: Iterable[int]) -> list[str]:
        """Return the closing lines of a run; the first is the `Speed:` line.

        Args:
            clip_shape: (1, T, 3, H, W) of the engine's input.
        """
        p50 = {name: stage.at(50) for name, stage in self.stages.items()}
        lines = [
            f"Speed: {p50['preprocess']:.1f} ms preprocess, {p50['inference']:.1f} ms inference, "
            f"{p50['decode']:.1f} ms decode per clip at {tuple(clip_shape)}",
            f"{'stage':<10} {'p50':>8} {'p95':>8} {'p99':>8}  ms",
        ]
        for name, stage in self.stages.items():
            cells = " ".join(f"{stage.at(p):8.1f}" for p in (50, 95, 99))
            lines.append(f"{name:<10} {cells}")
        oldest = self.stages["latency"].max_ms
        lines.append(
            f"{self.keyframes} keyframes, dropped {self.dropped_clips} clips and "
            f"{self.dropped_frames} frames, oldest frame {oldest:.0f} ms, "
            f"peak memory {peak_rss_mb():.0f} MB"
        )
        return lines


def peak_rss_mb() -> float:
    """Return the largest resident memory of this process so far, MB (10^6 bytes)."""
    try:
        # Not `ru_maxrss` on Linux: a process inherits that figure from the one that started it.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    except (OSError, IndexError, ValueError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def rss_mb() -> float:
    """Return the resident memory of this process now, MB (10^6 bytes); Linux only, else peak."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return peak_rss_mb()
    return pages * resource.getpagesize() / 1e6
