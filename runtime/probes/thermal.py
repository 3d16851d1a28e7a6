"""Temperatures of thermal zones, where each throttles, and whether something is held back now."""

from __future__ import annotations

from pathlib import Path

from runtime.probes.base import ROOT, Files, Reading, reading

_ZONES = "sys/class/thermal/thermal_zone*"
_COOLING = "sys/class/thermal/cooling_device*"
# Sensors of the processor that have no thermal zone on many PCs: chip name to label.
_CHIPS = {"coretemp": "Package id 0", "k10temp": "Tctl", "zenpower": "Tdie", "cpu_thermal": ""}
# Cooling devices that slow the machine down; a fan that turns is no throttling.
_SLOWING = ("cpufreq", "devfreq", "processor", "throttle", "gpu", "cpu-", "thermal-cpu")
_COUNTERS = (
    "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count",
    "sys/class/hwmon/hwmon*/oc*_event_cnt",  # over-current events of a Jetson Orin
)


class Thermal:
    """Thermal zones of any Linux machine."""

    name = "temperature"

    def __init__(self, root: Path = ROOT) -> None:
        """Read below `root`."""
        self._files = Files(root)

    def missing(self) -> str | None:
        """Say that no sensor is shown."""
        if self._files.glob(_ZONES) or self._chips():
            return None
        return "this system shows no temperature sensor"

    def read(self) -> list[Reading]:
        """Return each zone, °C, with the temperature at which it throttles; and what is slowed."""
        found = [self._zone(zone) for zone in self._files.glob(_ZONES)]
        found += [
            reading("temperature", name, self._files.number(path, scale=1e3, least=-40, most=150))
            for name, path in self._chips()
        ]
        return [*found, *self._slowed(), *self._counters()]

    def _zone(self, zone: Path) -> Reading:
        name = self._files.text(zone / "type")[0] or zone.name
        value, reason = self._files.number(zone / "temp", scale=1e3, least=-300, most=250)
        value, reason = checked_temperature(name, value, reason)
        return Reading(
            kind="temperature", name=name, value=value, reason=reason, limit=self._limit(zone)
        )

    def _limit(self, zone: Path) -> float | None:
        """Return the lowest temperature at which the zone begins to throttle, °C."""
        limits = []
        for kind in sorted(zone.glob("trip_point_*_type")):
            if self._files.text(kind)[0] in ("passive", "hot", "critical"):
                at = kind.with_name(kind.name.replace("_type", "_temp"))
                limits.append(self._files.number(at, scale=1e3, least=30, most=150)[0])
        return min((limit for limit in limits if limit is not None), default=None)

    def _chips(self) -> list[tuple[str, Path]]:
        found = []
        for folder in self._files.glob("sys/class/hwmon/hwmon*"):
            chip = self._files.text(folder / "name")[0]
            if chip not in _CHIPS:
                continue
            for label in sorted(folder.glob("temp*_label")):
                if self._files.text(label)[0] == _CHIPS[chip]:
                    path = label.with_name(label.name.replace("_label", "_input"))
                    found.append((f"{chip} {_CHIPS[chip]}", path))
        return found

    def _slowed(self) -> list[Reading]:
        found = []
        for device in self._files.glob(_COOLING):
            name = self._files.text(device / "type")[0] or ""
            if not any(word in name.lower() for word in _SLOWING):
                continue
            state, reason = self._files.number(device / "cur_state")
            value = None if state is None else state > 0
            found.append(Reading(kind="throttle", name=name, value=value, reason=reason))
        return found

    def _counters(self) -> list[Reading]:
        paths = [path for pattern in _COUNTERS for path in self._files.glob(pattern)]
        return [reading("throttle", path.name, self._files.number(path)) for path in paths]


def checked_temperature(name: str, value: float | None, reason: str) -> tuple[float | None, str]:
    """Return a temperature that was measured, °C, or None and why it was not.

    A Jetson says -256 of a unit that is off, and a fixed 100 or 50 of its power chip.
    """
    if value is None:
        return None, reason or "no number"
    if value <= -40.0:
        return None, f"it says {value:g} °C: the unit is off"
    if value > 150.0:
        return None, f"it says {value:g} °C, which cannot be true"
    if name.upper().startswith("PMIC") and value in (50.0, 100.0):
        return None, f"it always says {value:g} °C: nothing is measured"
    return value, ""
