"""Whether the machine was quiet while something was measured on it.

Of the processors that this process may use: how much others computed on them, and how much time a
hypervisor took away. A figure of a busy machine says so.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from runtime.probes.base import ROOT, Files

OTHERS_LIMIT = 0.10
STOLEN_LIMIT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Busyness:
    """What the processors did between two moments.

    Attributes:
        others: Share of their time that other processes computed; None where it is not known.
        stolen: Share that the machine below this one took away.
        processors: How many there are for us.
        reason: Why it is not known.
    """

    others: float | None
    stolen: float
    processors: int
    reason: str = ""

    @property
    def quiet(self) -> bool:
        """Tell whether figures of that time can be trusted; not known is not quiet."""
        return self.others is not None and (
            self.others <= OTHERS_LIMIT and self.stolen <= STOLEN_LIMIT
        )

    def __str__(self) -> str:
        if self.others is None:
            return f"whether the machine was quiet is not known ({self.reason})"
        text = f"others used {self.others:.0%} of {self.processors} processors"
        if self.stolen > 0.005:
            text += f", {self.stolen:.0%} was taken by the machine below"
        return text if self.quiet else f"NOT QUIET: {text}"


class Busy:
    """Counts from its making on; ask `since` as often as needed."""

    def __init__(self, root: Path = ROOT) -> None:
        """Begin to count, from `proc/stat` below `root`."""
        self._files = Files(root)
        self._cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._before = self._read()

    def since(self) -> Busyness:
        """Return what the processors did since this object was made."""
        now, before = self._read(), self._before
        if now is None or before is None:
            reason = "/proc/stat cannot be read"
            return Busyness(others=None, stolen=0.0, processors=len(self._cpus), reason=reason)
        busy, stolen, total, ours = (b - a for a, b in zip(before, now, strict=True))
        if total <= 0:
            reason = "no time has passed"
            return Busyness(others=None, stolen=0.0, processors=len(self._cpus), reason=reason)
        return Busyness(
            others=min(max(busy - ours, 0.0) / total, 1.0),
            stolen=min(max(stolen, 0.0) / total, 1.0),
            processors=len(self._cpus),
        )

    def _read(self) -> tuple[float, float, float, float] | None:
        """Return busy, stolen and all seconds of our processors, and our own seconds."""
        text, _ = self._files.text("proc/stat")
        rows = [line.split() for line in (text or "").splitlines()]
        names = {f"cpu{number}" for number in self._cpus}
        mine = [[int(v) for v in row[1:]] for row in rows if row and row[0] in names]
        if not mine or any(len(row) < 8 for row in mine):
            return None
        tick = 1.0 / os.sysconf("SC_CLK_TCK")
        # user nice system idle iowait irq softirq steal; guests are in user and nice already.
        busy = sum(sum(row[i] for i in (0, 1, 2, 5, 6)) for row in mine) * tick
        stolen = sum(row[7] for row in mine) * tick
        total = sum(sum(row[:8]) for row in mine) * tick
        times = os.times()
        ours = times.user + times.system + times.children_user + times.children_system
        return busy, stolen, total, ours
