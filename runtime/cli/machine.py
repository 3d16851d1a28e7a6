"""What the probes see of this machine, as lines for `edge doctor` and `edge info`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from runtime.probes import ROOT, Android, Probe, Tegrastats, local_probes


def all_probes(root: Path = ROOT) -> list[Probe]:
    """Return every probe, with those that start a tool: `tegrastats`, and `adb` for a phone."""
    return [*local_probes(root), Tegrastats(), Android()]


def probe_lines(probes: Iterable[Probe]) -> dict[str, str]:
    """Return what each probe reads, in one line, by its name; those with nothing here are left out.

    A value that is not known is there too, with the reason.
    """
    lines = {}
    for probe in probes:
        if probe.missing() is None:
            lines[probe.name] = "; ".join(reading.text() for reading in probe.read())
    return lines


def not_here(probes: Iterable[Probe]) -> str:
    """Return which probes have nothing to read here, and why, in one line."""
    found = ((probe.name, probe.missing()) for probe in probes)
    return "; ".join(f"{name}: {reason}" for name, reason in found if reason is not None)
