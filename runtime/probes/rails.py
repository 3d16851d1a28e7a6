"""Power of a Jetson's rails, from its INA3221 monitors, by the label of each channel.

Two layouts of sysfs: `hwmon` since JetPack 5 (`in1_label`, millivolts and milliamperes), and
NVIDIA's own `iio` driver before (`rail_name_0`, milliwatts). Numbers of hwmon, iio and I2C devices
change from boot to boot; labels do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runtime.probes.base import ROOT, Files, Reading, reading

_HWMON = ("sys/class/hwmon/hwmon*", "sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*")
_IIO = (
    "sys/bus/i2c/drivers/ina3221x/*/iio:device*", "sys/bus/i2c/drivers/ina3221x/*/iio_device",
    "sys/bus/iio/devices/iio:device*",
)  # fmt: skip
_CHIPS = {"ina3221", "ina238", "ina237", "ina226"}
_MOST_W = 500.0  # more than any Jetson can draw: a garbled number

# The rail through which everything else is fed, where a board measures it.
INPUT_RAILS = ("VDD_IN", "POM_5V_IN", "VIN", "5V_IN")
# Boards without one: rails that stand side by side and make up the module. VDDQ_VDD2_1V8AO of the
# AGX Orin is fed by VIN_SYS_5V0 and would count twice.
SUMS = (
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),  # AGX Orin
    ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"),  # Thor
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),  # AGX Xavier
)


class JetsonPower:
    """The rails, and what the whole module draws."""

    name = "Jetson power"

    def __init__(self, root: Path = ROOT) -> None:
        """Read below `root`."""
        self._files = Files(root)

    def missing(self) -> str | None:
        """Say that there is no INA3221."""
        return None if self._hwmon() or self._iio() else "no INA3221 power monitor"

    def read(self) -> list[Reading]:
        """Return each rail, W, and the total."""
        rails = [rail for folder in self._hwmon() for rail in self._hwmon_rails(folder)]
        rails += [rail for folder in self._iio() for rail in self._iio_rails(folder)]
        once = {rail.name: rail for rail in reversed(rails)}
        found = list(reversed(once.values()))
        return [*found, total_of({rail.name: rail for rail in found})] if found else []

    def _hwmon(self) -> list[Path]:
        folders = [folder for pattern in _HWMON for folder in self._files.glob(pattern)]
        return [f for f in _distinct(folders) if self._files.text(f / "name")[0] in _CHIPS]

    def _iio(self) -> list[Path]:
        folders = [folder for pattern in _IIO for folder in self._files.glob(pattern)]
        return [f for f in _distinct(folders) if any(f.glob("rail_name_*"))]

    def _hwmon_rails(self, folder: Path) -> list[Reading]:
        rails = []
        for channel in (1, 2, 3):
            label, _ = self._files.text(folder / f"in{channel}_label")
            if label is None or label == "NC":
                continue
            power = self._files.number(folder / f"power{channel}_input", scale=1e6, most=_MOST_W)
            if power[0] is None:
                power = self._volts_times_amperes(folder, channel)
            rails.append(reading("power", label, power))
        if not rails and (folder / "power1_input").exists():  # a chip of one channel: the input
            power = self._files.number(folder / "power1_input", scale=1e6, most=_MOST_W)
            rails.append(reading("power", "VIN", power))
        return rails

    def _volts_times_amperes(self, folder: Path, channel: int) -> tuple[float | None, str]:
        volts, reason = self._files.number(folder / f"in{channel}_input", scale=1e3, most=100)
        if volts is None:
            return None, f"in{channel}_input: {reason}"
        amperes, reason = self._files.number(folder / f"curr{channel}_input", scale=1e3, most=100)
        if amperes is None:
            return None, f"curr{channel}_input: {reason}"
        return volts * amperes, ""

    def _iio_rails(self, folder: Path) -> list[Reading]:
        rails = []
        for channel in (0, 1, 2):
            label, _ = self._files.text(folder / f"rail_name_{channel}")
            if label is None or label == "NC":
                continue
            file = f"in_power{channel}_input"
            value, reason = self._files.number(folder / file, scale=1e3, most=_MOST_W)
            rails.append(reading("power", label, (value, reason and f"{file}: {reason}")))
        return rails


def total_of(rails: Mapping[str, Reading]) -> Reading:
    """Return what the whole module draws, of its rails; unknown where they do not tell."""
    for name in INPUT_RAILS:
        if name in rails:
            return _sum([rails[name]], f"whole module ({name})")
    for names in SUMS:
        if all(name in rails for name in names):
            return _sum([rails[name] for name in names], f"whole module ({' + '.join(names)})")
    return Reading(
        kind="power", name="whole module", total=True,
        reason=f"no input rail and no known set among {', '.join(rails) or 'none'}",
    )  # fmt: skip


def _sum(rails: list[Reading], name: str) -> Reading:
    lacking = next((rail for rail in rails if rail.number is None), None)
    if lacking is not None:
        reason = f"{lacking.name}: {lacking.reason}"
        return Reading(kind="power", name=name, reason=reason, total=True)
    watts = sum(rail.number or 0.0 for rail in rails)
    return Reading(kind="power", name=name, value=watts, total=True)


def _distinct(folders: list[Path]) -> list[Path]:
    return list({folder.resolve(): folder for folder in folders}.values())
