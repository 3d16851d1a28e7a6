"""A long run by minute, and what is to be said of it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from runtime.profiler.watch import Sample

# A minute is steady when its median is within this of the last third's; so are those of one
# another in the last third.
STEADY = 0.05
_LEAST_MINUTES = 3
_MEMORY_MB = 10.0  # less than this is the allocator, not a leak


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """One minute of a soak.

    Attributes:
        number: 1 for the first.
        results: How many results came.
        p50_ms: Median latency.
        p95_ms: The latency that 95 % of the results do not exceed.
        clock_mhz: Mean of the processor's clock; None where it is not known.
        temperature_c: The hottest that was seen.
        watts: Mean power.
        memory_mb: Resident memory at its end.
        throttled: What was held back in it.
    """

    number: int
    results: int
    p50_ms: float
    p95_ms: float
    clock_mhz: float | None = None
    temperature_c: float | None = None
    watts: float | None = None
    memory_mb: float | None = None
    throttled: tuple[str, ...] = ()


def minutes_of(
    latencies: Iterable[tuple[float, float]], samples: Sequence[Sample], begun_s: float
) -> list[Minute]:
    """Sort results and samples into minutes; minutes without a result are left out.

    Args:
        latencies: (when it came, s; its latency, ms) of each result.
        samples: Of the probes, in order.
        begun_s: When the soak began.
    """
    by_minute: dict[int, list[float]] = {}
    for t_s, ms in latencies:
        by_minute.setdefault(int((t_s - begun_s) // 60), []).append(ms)
    found = []
    counts = dict(samples[0].counts) if samples else {}
    for index in sorted(by_minute):
        inside = [s for s in samples if index * 60 <= s.t_s - begun_s < (index + 1) * 60]
        held = {name for s in inside for name in s.throttled}
        for sample in inside:
            held |= {name for name, n in sample.counts.items() if n > counts.get(name, n)}
            counts.update(sample.counts)
        ordered = sorted(by_minute[index])
        found.append(
            Minute(
                number=index + 1,
                results=len(ordered),
                p50_ms=statistics.median(ordered),
                p95_ms=ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))],
                clock_mhz=_mean(s.clock_mhz for s in inside),
                temperature_c=max(
                    (s.temperature_c for s in inside if s.temperature_c is not None), default=None
                ),
                watts=_mean(s.watts for s in inside),
                memory_mb=inside[-1].memory_mb if inside else None,
                throttled=tuple(sorted(held)),
            )
        )
    return found[:-1] if _cut_off(found) else found


def _cut_off(minutes: Sequence[Minute]) -> bool:
    """Tell whether the last minute is only the end of a result that the time ran out in."""
    if len(minutes) < 2:
        return False
    return minutes[-1].results < 0.25 * statistics.median(m.results for m in minutes[:-1])


def verdict(minutes: Sequence[Minute], *, throttle_known: bool, quiet: bool = True) -> str:
    """Say in one line whether it became steady, what the tail did, and from when it was held back.

    Args:
        minutes: At least one.
        throttle_known: Whether any probe could tell.
        quiet: Whether the machine was left alone; else its load is in the figures.
    """
    if len(minutes) < _LEAST_MINUTES:
        return (
            f"{len(minutes)} min are too short for a verdict; at least {_LEAST_MINUTES} are needed"
        )
    last = minutes[-max(len(minutes) // 3, 2) :]
    final = statistics.median(m.p50_ms for m in last)
    parts = [_steady(minutes, last, final)]
    first, tail = minutes[0], statistics.median(m.p95_ms for m in last)
    parts.append(f"p95 {tail / first.p95_ms - 1:+.0%}".replace("%", " %"))
    held = next((m for m in minutes if m.throttled), None)
    if held is not None:
        parts.append(f"throttled from minute {held.number} ({', '.join(held.throttled)})")
    else:
        parts.append("no throttling" if throttle_known else "throttling not known: no probe tells")
    parts.append(_memory(minutes))
    if not quiet:
        parts.append("on a machine that was NOT QUIET: its load is in these figures")
    return ", ".join(parts)


def _steady(minutes: Sequence[Minute], last: Sequence[Minute], final: float) -> str:
    medians = [m.p50_ms for m in last]
    if max(medians) / min(medians) - 1 > STEADY:
        everything = [m.p50_ms for m in minutes]
        span = f"{min(everything):.1f} and {max(everything):.1f} ms"
        return f"not steady in {minutes[-1].number} min (p50 between {span})"
    unsteady = [m.number for m in minutes if abs(m.p50_ms / final - 1) > STEADY]
    return f"steady after {unsteady[-1]} min" if unsteady else "steady from the start"


def _memory(minutes: Sequence[Minute]) -> str:
    known = [m.memory_mb for m in minutes[1:] if m.memory_mb is not None]
    if len(known) < 2:
        return "memory not known"
    grown = known[-1] - known[0]
    return f"memory {grown:+.1f} MB" if abs(grown) > _MEMORY_MB else "memory flat"


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
