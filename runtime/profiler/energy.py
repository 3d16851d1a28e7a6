"""Energy of a stretch of time, from whatever counts or measures it here."""

from __future__ import annotations

from collections.abc import Iterable

from runtime.probes import Reading

# Sources that are a part of others, or measure a part only, are not totals (`Reading.total`).


class EnergyMeter:
    """Adds up joules: counters by their differences, power by its course between two readings."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._counters: dict[str, float] = {}
        self._powers: dict[str, tuple[float, float]] = {}
        self._joules: dict[str, float] = {}
        self._lost: dict[str, str] = {}
        self._reasons: dict[str, str] = {}
        self._began_s: float | None = None
        self._ended_s = 0.0

    def add(self, t_s: float, readings: Iterable[Reading]) -> None:
        """Take readings of the moment `t_s`, seconds; at most half a counter's range apart."""
        self._began_s = t_s if self._began_s is None else self._began_s
        self._ended_s = t_s
        for reading in readings:
            if not reading.total or reading.kind not in ("power", "energy"):
                continue
            if reading.number is None:
                self._reasons[reading.name] = reading.reason
                if reading.name in self._joules:
                    self._lost[reading.name] = reading.reason
            elif reading.kind == "energy":
                self._count(reading, reading.number)
            else:
                self._integrate(reading.name, t_s, reading.number)

    def _count(self, reading: Reading, value: float) -> None:
        name = reading.name
        if name in self._counters:
            more = value - self._counters[name]
            if more < 0 and reading.wraps_at > 0:
                more += reading.wraps_at
            if more < 0:
                self._lost[name] = "its counter went back"
            self._joules[name] = self._joules.get(name, 0.0) + max(more, 0.0)
        self._counters[name] = value

    def _integrate(self, name: str, t_s: float, watts: float) -> None:
        if name in self._powers:
            before_s, before = self._powers[name]
            self._joules[name] = (
                self._joules.get(name, 0.0) + (t_s - before_s) * (watts + before) / 2
            )
        self._powers[name] = (t_s, watts)

    @property
    def joules(self) -> float | None:
        """All that was used, J; None where nothing was measured, or not all the time."""
        if not self._joules or self._lost:
            return None
        return sum(self._joules.values())

    @property
    def watts(self) -> float | None:
        """The mean, W."""
        joules, span = self.joules, self._ended_s - (self._began_s or 0.0)
        return None if joules is None or span <= 0 else joules / span

    @property
    def source(self) -> str:
        """What it was measured by, or why it is not known; empty where no probe measures power."""
        if self._lost:
            return "; ".join(f"{name}: {reason}" for name, reason in self._lost.items())
        if self._joules:
            return " + ".join(self._joules)
        return "; ".join(f"{name}: {reason}" for name, reason in self._reasons.items())
