"""A Raspberry Pi: its throttled flags, arm clock and, of a Pi 5, the power of its rails."""

from __future__ import annotations

import re
from pathlib import Path

from runtime.probes.base import ROOT, Files, Reading, Run, number_of, reading, run_tool

_MODEL = "proc/device-tree/model"
_FLAGS_FILE = "sys/devices/platform/soc/soc:firmware/get_throttled"
# Bit of the flags to what it says of now; 16 higher it says the same of the time since the start.
FLAGS = {
    0: "under-voltage", 1: "arm clock capped", 2: "throttled", 3: "soft temperature limit",
}  # fmt: skip
_SINCE = 16
_KNOWN = sum(1 << bit | 1 << bit + _SINCE for bit in FLAGS)


class RaspberryPi:
    """What the firmware says, through `vcgencmd` or sysfs."""

    name = "Raspberry Pi"

    def __init__(self, root: Path = ROOT, run: Run = run_tool) -> None:
        """Read below `root`, and ask `vcgencmd` by `run`."""
        self._files, self._run = Files(root), run

    def missing(self) -> str | None:
        """Say that this is no Raspberry Pi."""
        model, _ = self._files.text(_MODEL)
        return None if model and "Raspberry Pi" in model else "not a Raspberry Pi"

    def read(self) -> list[Reading]:
        """Return model, flags, arm clock, and the power where the board measures it."""
        model, reason = self._files.text(_MODEL)
        return [
            Reading(kind="state", name="board", value=model, reason=reason),
            *self._flags(),
            self._clock(),
            *self._power(),
        ]

    def _flags(self) -> list[Reading]:
        said, reason = self._run(["vcgencmd", "get_throttled"])
        text = said
        if said is None:
            text, why = self._files.text(_FLAGS_FILE)
            reason = f"{reason}; sysfs: {why}"
        if text is None:
            return [Reading(kind="throttle", name="throttled flags", reason=reason)]
        match = re.fullmatch(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})", text.strip())
        flags = int(match[1], 16) if match else -1
        if match is None or flags & ~_KNOWN:
            reason = f"it says {text.strip()[:40]!r}, expected throttled=0x..."
            return [Reading(kind="throttle", name="throttled flags", reason=reason)]
        found = [
            Reading(kind="throttle", name=name, value=bool(flags >> bit & 1))
            for bit, name in FLAGS.items()
        ]
        since = [name for bit, name in FLAGS.items() if flags >> bit + _SINCE & 1]
        word = ", ".join(since) or "none"
        return [*found, Reading(kind="state", name="flags since the start", value=word)]

    def _clock(self) -> Reading:
        text, reason = self._run(["vcgencmd", "measure_clock", "arm"])
        if text is None:
            return Reading(kind="clock", name="arm", reason=reason)
        match = re.fullmatch(r"frequency\(\d+\)=(\d+)", text.strip())
        if match is None:
            return Reading(kind="clock", name="arm", reason=f"it says {text.strip()[:40]!r}")
        # 0 is what the firmware says where it cannot measure.
        return reading("clock", "arm", number_of(match[1], scale=1e6, least=1, most=10_000))

    def _power(self) -> list[Reading]:
        text, reason = self._run(["vcgencmd", "pmic_read_adc"])
        name = "rails of the power chip (without USB)"
        if text is None:
            reason = f"only a Pi 5 measures it ({reason})"
            return [Reading(kind="power", name=name, total=True, reason=reason)]
        amperes = dict(re.findall(r"(\w+)_A current\(\d+\)=([\d.]+)A", text))
        volts = dict(re.findall(r"(\w+)_V volt\(\d+\)=([\d.]+)V", text))
        pairs = [
            (number_of(amperes[rail], most=20)[0], number_of(volts[rail], most=20)[0])
            for rail in amperes
            if rail in volts
        ]
        if not pairs or len(pairs) < len(amperes) or any(None in pair for pair in pairs):
            reason = "pmic_read_adc does not give volts and amperes of each rail"
            return [Reading(kind="power", name=name, total=True, reason=reason)]
        watts = sum((a or 0.0) * (v or 0.0) for a, v in pairs)
        return [Reading(kind="power", name=name, total=True, value=watts)]
