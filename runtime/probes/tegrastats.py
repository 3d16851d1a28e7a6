"""Lines of NVIDIA's `tegrastats`, of JetPack 4 to 7, of Nano, TX2, Xavier, Orin and Thor.

The line has no version and no separators: each thing is found by its own form, and what is not
there is not guessed. Power is in milliwatts, with `mW` behind it since JetPack 5 and bare before;
each pair is the value now and the average (since R39 a third stands behind them).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable

from runtime.probes.base import Kind, Reading
from runtime.probes.rails import total_of
from runtime.probes.thermal import checked_temperature

_RAIL = re.compile(
    r"(?<!\S)(?P<name>[A-Z0-9][A-Z0-9_]*)\s+"
    r"(?P<values>-?\d+(?:\.\d+)?[A-Za-z]*(?:/-?\d+(?:\.\d+)?[A-Za-z]*){1,2})(?!\S)"
)
_RAIL_CUT = re.compile(r"(?<!\S)((?:VDD|VIN|POM|SYS5V)\w*)(?:\s+(\S*))?")
_TEMPERATURE = re.compile(r"(?<!\S)([A-Za-z][\w.-]*)@(-?\d+(?:\.\d+)?)C(?:/-?[\d.]+C)*(?!\S)")
_TEMPERATURE_CUT = re.compile(r"(?<!\S)([A-Za-z][\w.-]*)@(-?[\d.]*)C?$")
_MEMORY = re.compile(r"(?<!\S)(RAM|SWAP) (\d+)/(\d+)MB(?!\w)")
_CORES = re.compile(r"(?<!\S)CPU \[([^\]]*)\](?:@(\d+))?", re.IGNORECASE)
_CORE = re.compile(r"(\d+)%(?:@(\d+))?$")
_UNIT = re.compile(
    r"(?<!\S)(?P<name>GR3D|EMC)(?:_FREQ)? "
    r"(?:(?P<load>\d+)%)?(?:@(?P<clock>\d+|\[[\d,\s]*\]))?(?!\S)"
)
_UNIT_NAMES = {"GR3D": "GPU", "EMC": "memory bus"}
_NO_RAILS = {"NC", "RAM", "SWAP", "IRAM"}
_MEMORY_UNITS = {"MB", "kB", "KB", "GB", "B"}
_MOST_MHZ = 10_000.0
_MOST_MW = 500_000.0


def parse_tegrastats(line: str) -> list[Reading]:
    """Return what a line says; a part that is garbled is unknown, with the reason.

    Args:
        line: One line, with or without a date in front.
    """
    found = [*_memory(line), *_cores(line), *_units(line), *_temperatures(line)]
    rails = _rails(line)
    if rails:
        found += [*rails, total_of({rail.name: rail for rail in rails})]
    return found


def _memory(line: str) -> list[Reading]:
    return [
        Reading(kind="memory", name=name, value=float(used), limit=float(of))
        for name, used, of in _MEMORY.findall(line)
        if int(used) <= int(of)
    ]


def _cores(line: str) -> list[Reading]:
    match = _CORES.search(line)
    if match is None:
        cut = re.search(r"(?<!\S)CPU \[", line, re.IGNORECASE)
        return [_unknown("load", "CPU", "the line is cut there")] if cut else []
    loads, clocks = [], [float(match[2])] if match[2] else []
    for core in match[1].split(","):
        if core.strip() == "off":
            continue
        one = _CORE.match(core.strip())
        if one is None or int(one[1]) > 100:
            return [_unknown("load", "CPU", f"a core says {core.strip()[:20]!r}")]
        loads.append(float(one[1]))
        clocks += [float(one[2])] if one[2] else []
    if not loads:
        return [_unknown("load", "CPU", "no core is on")]
    found = [Reading(kind="load", name="CPU", value=sum(loads) / len(loads))]
    if clocks:
        found.append(Reading(kind="clock", name="CPU", value=max(clocks)))
    return found


def _units(line: str) -> list[Reading]:
    found: list[Reading] = []
    for match in _UNIT.finditer(line):
        name = _UNIT_NAMES[match["name"]]
        load, clock = match["load"], match["clock"]
        if load is not None and int(load) > 100:
            found.append(_unknown("load", name, f"it says {load} %, which cannot be true"))
        elif load is not None:
            found.append(Reading(kind="load", name=name, value=float(load)))
        else:
            found.append(_unknown("load", name, "the line does not say it"))
        # One number for each cluster of the GPU; one that is off says 0.
        numbers = [float(n) for n in re.findall(r"\d+", clock or "")]
        if not numbers:
            found.append(_unknown("clock", name, "the line does not say it"))
        elif max(numbers) > _MOST_MHZ:
            found.append(_unknown("clock", name, f"it says {clock} MHz, which cannot be true"))
        else:
            found.append(Reading(kind="clock", name=name, value=max(numbers)))
    if not found and (garbled := re.search(r"(?<!\S)GR3D\w* ?\S*", line)):
        found.append(_unknown("load", "GPU", f"it says {garbled[0][:40]!r}"))
    return found


def _temperatures(line: str) -> list[Reading]:
    found = []
    for name, text in _TEMPERATURE.findall(line):
        value, reason = checked_temperature(name, float(text), "")
        found.append(Reading(kind="temperature", name=name, value=value, reason=reason))
    cut = None if _TEMPERATURE.search(line.split()[-1] if line.split() else "") else (
        _TEMPERATURE_CUT.search(line)
    )  # fmt: skip
    if cut is not None:
        found.append(_unknown("temperature", cut[1], "the line is cut there"))
    return found


def _rails(line: str) -> list[Reading]:
    found: dict[str, Reading] = {}
    for match in _RAIL.finditer(line):
        name, values = match["name"], match["values"]
        units = {re.sub(r"[\d.-]", "", value) for value in values.split("/")}
        if name in _NO_RAILS or units & _MEMORY_UNITS:
            continue
        now = float(re.sub(r"[A-Za-z]", "", values.split("/")[0]))
        if name in found:
            found[name] = _unknown("power", name, "the line names it twice")
        elif units not in ({""}, {"mW"}):
            found[name] = _unknown("power", name, f"it says {values!r}, expected milliwatts")
        elif not 0 <= now <= _MOST_MW:
            found[name] = _unknown("power", name, f"it says {now:g} mW, which cannot be true")
        else:
            found[name] = Reading(kind="power", name=name, value=now / 1e3)
    for name, text in _RAIL_CUT.findall(line):
        if name not in found:
            found[name] = _unknown("power", name, f"it says {text!r}, expected a pair of numbers")
    return list(found.values())


def _unknown(kind: Kind, name: str, reason: str) -> Reading:
    return Reading(kind=kind, name=name, reason=reason)


def one_line(timeout_s: float = 3.0) -> tuple[str | None, str]:
    """Start `tegrastats`, take its first line, end it; None and why where there is none."""
    tool = shutil.which("tegrastats")
    if tool is None:
        return None, "there is no tegrastats here"
    try:
        done = subprocess.run(
            [tool, "--interval", "200"], capture_output=True, timeout=timeout_s, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        output = done.stdout
    except subprocess.TimeoutExpired as error:  # as expected: it goes on until it is ended
        output = error.stdout or b""
    except OSError as error:
        return None, f"tegrastats does not start: {error.strerror}"
    lines = output.decode("utf-8", errors="replace").splitlines()
    return (lines[-1], "") if lines else (None, "tegrastats said nothing")


class Tegrastats:
    """What `tegrastats` says now; for what sysfs does not show without root."""

    name = "tegrastats"

    def __init__(self, line: Callable[[], tuple[str | None, str]] = one_line) -> None:
        """Ask `line` for a line; a test gives a recorded one."""
        self._line = line

    def missing(self) -> str | None:
        """Say that the tool is not here."""
        if self._line is one_line and shutil.which("tegrastats") is None:
            return "there is no tegrastats here"
        return None

    def read(self) -> list[Reading]:
        """Return what its newest line says."""
        line, reason = self._line()
        if line is None:
            return [Reading(kind="state", name="tegrastats", reason=reason)]
        found = parse_tegrastats(line)
        if not found:
            return [
                Reading(kind="state", name="tegrastats", reason=f"not understood: {line[:60]!r}")
            ]
        return found
