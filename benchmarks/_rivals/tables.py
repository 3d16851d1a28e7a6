"""The comparison as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OURS, RIVAL = "nano", "YOWOv2-Nano"
# What is to be reached: our time over the rival's in its best engine, and our least variant's rate.
RATIO_GOAL = 0.55
SMALL, RATE_GOAL = "pico", 60.0
INT8 = "xnnpack-int8"

_HEADER = (
    "method", "engine", "preprocess", "network", "decode", "total", "p95", "clips/s",
    "nano int8 / this", "peak",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RivalRow:
    """One method in one engine, from decoded frames to detections.

    Attributes:
        method: `nano`, `pico`, `YOWOv2-Nano`.
        engine: Name of engine and precision.
        gflop: Work of the network on one clip, a multiply-add as two.
        missing: Why there are no figures; empty where there are.
        preprocess_ms: Median time of bringing the new frames into the clip.
        network_ms: Median time of the engine.
        decode_ms: Median time from its outputs to detections.
        median_ms: Median time of a result.
        p95_ms: 95th percentile.
        ours: Time of `nano` int8 over this one's, the median of the rounds' ratios.
        peak_mb: Most memory of the process.
        candidates: What stood above the threshold, in the median.
        detections: What was reported, in the median.
        rounds_ms: All times, by round.
    """

    method: str
    engine: str
    gflop: float
    missing: str = ""
    preprocess_ms: float | None = None
    network_ms: float | None = None
    decode_ms: float | None = None
    median_ms: float | None = None
    p95_ms: float | None = None
    ours: float | None = None
    peak_mb: float | None = None
    candidates: float | None = None
    detections: float | None = None
    rounds_ms: tuple[tuple[float, ...], ...] = ()

    @property
    def clips_per_s(self) -> float | None:
        """Results a second, one after the other."""
        return None if self.median_ms is None else 1e3 / self.median_ms


def table(rows: Sequence[RivalRow]) -> list[list[str]]:
    """Return the main table, its header first."""
    lines = [list(_HEADER)]
    for row in rows:
        head = [f"{row.method}, {row.gflop:.2f} GFLOP", row.engine]
        if row.median_ms is None:
            lines.append([*head, "not measured", *["-"] * (len(_HEADER) - 3)])
            continue
        times = (row.preprocess_ms, row.network_ms, row.decode_ms, row.median_ms, row.p95_ms)
        lines.append(
            [
                *head,
                *(_or_dash(ms, "{:.2f} ms") for ms in times),
                _or_dash(row.clips_per_s, "{:.0f}"),
                _or_dash(row.ours, "{:.2f}"),
                _or_dash(row.peak_mb, "{:.0f} MB"),
            ]
        )
    return lines


def absences(rows: Sequence[RivalRow]) -> list[str]:
    """Return a line for each row that was not measured, and why."""
    return [f"- {row.method}, {row.engine}: {row.missing}" for row in rows if row.missing]


def best_rival(rows: Sequence[RivalRow]) -> RivalRow | None:
    """Return the rival in the engine where it comes closest to us; None where it was not measured.

    By the ratio and not by the time: rounds are compared in pairs, so that drift cancels.
    """
    found = [(row.ours, row) for row in rows if row.method == RIVAL and row.ours is not None]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def goals(rows: Sequence[RivalRow]) -> list[str]:
    """Return a line for each goal that these rows can be held to."""
    lines = []
    best = best_rival(rows)
    if best is not None and best.ours is not None:
        met = "met" if best.ours <= RATIO_GOAL else "not met"
        lines.append(
            f"- {OURS} int8 / {RIVAL} in its best engine ({best.engine}): {best.ours:.2f}, "
            f"goal {RATIO_GOAL:.2f} ({met})"
        )
    small = next((row for row in rows if (row.method, row.engine) == (SMALL, INT8)), None)
    if small is not None and small.clips_per_s is not None:
        met = "met" if small.clips_per_s >= RATE_GOAL else "not met"
        lines.append(
            f"- {SMALL} int8, decoded frames in and detections out: {small.clips_per_s:.0f} "
            f"clips/s, goal {RATE_GOAL:.0f} ({met})"
        )
    return lines


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
