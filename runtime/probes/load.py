"""What the machine is busy with, and its memory."""

from __future__ import annotations

import os
import re
from pathlib import Path

from runtime.probes.base import ROOT, Files, Reading, number_of, reading


class Load:
    """Load average, pressure and memory of any Linux machine."""

    name = "load"

    def __init__(self, root: Path = ROOT) -> None:
        """Read below `root`."""
        self._files = Files(root)

    def missing(self) -> str | None:
        """Say that there is no `/proc`."""
        return None if (self._files.root / "proc/loadavg").exists() else "no /proc/loadavg"

    def read(self) -> list[Reading]:
        """Return processes that compute or wait (mean of a minute), and memory in use, MB."""
        text, reason = self._files.text("proc/loadavg")
        average = (None, reason) if text is None else number_of(text.split()[0])
        value, why = average
        word = None if value is None else f"{value:.2f} over {os.cpu_count() or 1} processors"
        found = [Reading(kind="state", name="load average", value=word, reason=why)]
        return [*found, self._pressure(), self._memory()]

    def _pressure(self) -> Reading:
        text, reason = self._files.text("proc/pressure/cpu")
        match = re.search(r"^some avg10=([\d.]+)", text or "", re.MULTILINE)
        if match is None:
            reason = reason or "the file has another form"
            return Reading(kind="load", name="time spent waiting for a processor", reason=reason)
        found = number_of(match[1], most=100)
        return reading("load", "time spent waiting for a processor", found)

    def _memory(self) -> Reading:
        text, reason = self._files.text("proc/meminfo")
        sizes = dict(re.findall(r"^(\w+):\s+(\d+) kB$", text or "", re.MULTILINE))
        if not {"MemTotal", "MemAvailable"} <= set(sizes):
            reason = reason or "MemTotal or MemAvailable is not in it"
            return Reading(kind="memory", name="memory in use", reason=reason)
        total, free = (int(sizes[name]) * 1024 / 1e6 for name in ("MemTotal", "MemAvailable"))
        if free > total:
            reason = f"{free:.0f} MB free of {total:.0f} cannot be true"
            return Reading(kind="memory", name="memory in use", reason=reason)
        return Reading(kind="memory", name="memory in use", value=total - free, limit=total)
