"""An Android phone on the cable, through `adb shell`: battery, temperatures, throttling."""

from __future__ import annotations

import re
import shutil

from runtime.probes.base import Reading, Run, number_of, reading, run_tool

STATUS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
_HAL = "Current temperatures from HAL:"
_TEMPERATURE = re.compile(r"Temperature\{mValue=([^,}]*),\s*mType=(-?\d+),\s*mName=([^,}]*)")
_NO_POWER = "Android fixes neither unit nor sign of the battery's current"


class Android:
    """The phone that `adb` is connected to; `ANDROID_SERIAL` chooses among several."""

    name = "Android"

    def __init__(self, run: Run = run_tool) -> None:
        """Call `adb` by `run`."""
        self._run = run

    def missing(self) -> str | None:
        """Say that there is no `adb` or no phone."""
        if self._run is run_tool and shutil.which("adb") is None:
            return "there is no adb here"
        state, reason = self._run(["adb", "get-state"])
        if state is None:
            return reason
        return None if state.strip() == "device" else f"adb says {state.strip()[:40]!r}"

    def read(self) -> list[Reading]:
        """Return model, battery and temperatures."""
        model, reason = self._shell("getprop ro.product.model")
        model = (model or "").strip() or None
        board = Reading(
            kind="state", name="phone", value=model, reason="" if model else reason or "no name"
        )
        power = Reading(kind="power", name="battery", total=True, reason=_NO_POWER)
        battery, reason = self._shell("dumpsys battery")
        found = [board, *parse_battery(battery, reason), power]
        return [*found, *parse_thermal(*self._shell("dumpsys thermalservice"))]

    def _shell(self, command: str) -> tuple[str | None, str]:
        return self._run(["adb", "shell", command])


def parse_battery(text: str | None, reason: str = "") -> list[Reading]:
    """Return level, temperature and whether it charges, of `dumpsys battery`."""
    if text is not None and "Current Battery Service state:" not in text:
        text, reason = None, "dumpsys battery gave no battery service state"
    if text is not None and "UPDATES STOPPED" in text:
        text, reason = None, "its updates are stopped (dumpsys battery reset)"
    if text is None:
        return [Reading(kind="temperature", name="battery", reason=reason)]
    fields = dict(re.findall(r"^\s*([A-Za-z][\w ]*):[ \t]*(\S*)\s*$", text, re.MULTILINE))
    # Tenths of a degree.
    heat = number_of(fields.get("temperature", ""), scale=10, least=-40, most=120)
    level, why = number_of(fields.get("level", ""))
    scale, _ = number_of(fields.get("scale", "100"), least=1)
    share = None if level is None or scale is None or level > scale else 100 * level / scale
    word = None if share is None else f"{share:.0f} %"
    why = "" if word else why or f"level {level} of {scale}"
    powered = [name for name, value in fields.items() if "powered" in name and value == "true"]
    return [
        reading("temperature", "battery", heat),
        Reading(kind="state", name="charge", value=word, reason=why),
        Reading(kind="state", name="powered by", value=", ".join(powered) or "battery"),
    ]


def parse_thermal(text: str | None, reason: str = "") -> list[Reading]:
    """Return the temperatures and the throttling status of `dumpsys thermalservice`."""
    name = "thermal status"
    if text is None:
        return [Reading(kind="throttle", name=name, reason=reason)]
    match = re.search(r"^\s*Thermal Status:\s*(\d+)\s*$", text, re.MULTILINE)
    if re.search(r"^\s*IsStatusOverride:\s*true", text, re.MULTILINE):
        found = [Reading(kind="throttle", name=name, reason="it is overridden by hand")]
    elif match is None or int(match[1]) >= len(STATUS):
        found = [Reading(kind="throttle", name=name, reason="dumpsys gave none that is known")]
    else:
        status = STATUS[int(match[1])]
        found = [
            Reading(kind="throttle", name=f"{name} {status}", value=status != "none"),
        ]
    if _HAL not in text:
        # What is cached above it may be of another hour.
        return [*found, Reading(kind="temperature", name="phone", reason="no current temperatures")]
    rows = text.split(_HAL, 1)[1].split("Current cooling devices", 1)[0]
    rows = rows.split("Temperature static thresholds", 1)[0]
    for value, _, sensor in _TEMPERATURE.findall(rows):
        heat = number_of(value, least=-40, most=150)
        found.append(reading("temperature", sensor.strip() or "unnamed", heat))
    return found
