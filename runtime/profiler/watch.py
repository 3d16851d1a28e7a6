"""The machine's state before, during and after a measurement."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from runtime.probes import Probe, Reading, local_probes, read_all
from runtime.profiler.energy import EnergyMeter
from runtime.profiling import rss_mb
from runtime.quiet import Busy, Busyness

INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the probes said at one moment.

    Attributes:
        t_s: When, seconds of `time.perf_counter`.
        clock_mhz: The fastest processor cluster's clock; None where it is not known.
        temperature_c: The hottest sensor.
        watts: Power of the whole board or processor.
        memory_mb: Resident memory of this process, MB (10^6 bytes).
        throttled: What is held back now.
        counts: Throttling events so far, by their counter.
    """

    t_s: float
    clock_mhz: float | None
    temperature_c: float | None
    watts: float | None
    memory_mb: float
    throttled: tuple[str, ...] = ()
    counts: dict[str, float] = field(default_factory=dict)


def sample_of(readings: Sequence[Reading], t_s: float, memory_mb: float) -> Sample:
    """Condense readings to one sample."""

    def numbers(kind: str, *, total: bool = False) -> list[float]:
        found = (r.number for r in readings if r.kind == kind and (r.total or not total))
        return [number for number in found if number is not None]

    gpu = ("GPU", "memory bus")
    clocks = [
        r.number
        for r in readings
        if r.kind == "clock" and r.number is not None and not r.name.startswith(gpu)
    ]
    held = [r for r in readings if r.kind == "throttle"]
    return Sample(
        t_s=t_s,
        clock_mhz=max(clocks, default=None),
        temperature_c=max(numbers("temperature"), default=None),
        watts=sum(numbers("power", total=True)) if numbers("power", total=True) else None,
        memory_mb=memory_mb,
        throttled=tuple(r.name for r in held if r.value is True),
        counts={r.name: r.number for r in held if r.number is not None},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the probes say of one moment, in full.

    Attributes:
        lines: Probe to its line.
        absent: Probe to why it has nothing to read here.
        notes: What a reader of a figure has to know: governor, power mode, what is held back.
    """

    lines: dict[str, str]
    absent: dict[str, str]
    notes: tuple[str, ...]


def state_of(probes: Iterable[Probe]) -> State:
    """Read every probe once."""
    probes = list(probes)
    found = read_all(probes)
    reasons = ((probe.name, probe.missing()) for probe in probes)
    return State(
        lines={name: "; ".join(r.text() for r in readings) for name, readings in found.items()},
        absent={name: reason for name, reason in reasons if reason is not None},
        notes=tuple(_notes([r for readings in found.values() for r in readings])),
    )


def _notes(readings: Sequence[Reading]) -> list[str]:
    notes = []
    for reading in readings:
        if reading.kind == "throttle" and reading.value is True:
            notes.append(f"held back: {reading.name}")
        elif reading.kind == "state" and isinstance(reading.value, str):
            named = reading.name.endswith(("governor", "capped at"))
            slow = named and reading.value not in ("performance", "userspace")
            if slow or reading.name in ("power mode", "jetson_clocks"):
                notes.append(reading.text())
    return list(dict.fromkeys(notes))


class Watch(threading.Thread):
    """Samples the probes once a second beside the measurement; a context manager."""

    def __init__(
        self,
        probes: Sequence[Probe] | None = None,
        *,
        interval_s: float = INTERVAL_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Set up; the thread starts with the context."""
        super().__init__(name="probes", daemon=True)
        everything = local_probes() if probes is None else list(probes)
        self._probes = [probe for probe in everything if probe.missing() is None]
        self._interval_s, self._clock = interval_s, clock
        self._over = threading.Event()
        self._busy = Busy()
        self.samples: list[Sample] = []
        self.energy = EnergyMeter()
        self.throttle_known = False

    def run(self) -> None:
        """Sample until the context ends."""
        while not self._over.wait(self._interval_s):
            self.take()

    def take(self) -> None:
        """Take one sample now."""
        readings = [r for probe in self._probes for r in probe.read()]
        now = self._clock()
        self.throttle_known |= any(r.kind == "throttle" and r.value is not None for r in readings)
        self.energy.add(now, readings)
        self.samples.append(sample_of(readings, now, rss_mb()))

    def busyness(self) -> Busyness:
        """Return what the processors did so far."""
        return self._busy.since()

    def __enter__(self) -> Watch:
        """Take the first sample and start."""
        self._busy = Busy()
        self.take()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and take the last sample."""
        self._over.set()
        self.join()
        self.take()
