"""Energy of x86 processors, from RAPL's counters in `powercap`; AMD's driver has the same files."""

from __future__ import annotations

import re
from pathlib import Path

from runtime.probes.base import ROOT, Files, Reading

# Not `intel-rapl-mmio:*`, which counts the same packages a second time.
_ZONES = "sys/class/powercap/intel-rapl:*"
_ROOT_ONLY = (
    "only root may read it (CVE-2020-8694): run as root, or "
    "sudo chmod a+r /sys/class/powercap/intel-rapl*/energy_uj"
)


class Rapl:
    """Counters of the packages and of what lies in them."""

    name = "RAPL"

    def __init__(self, root: Path = ROOT) -> None:
        """Read below `root`."""
        self._files = Files(root)

    def missing(self) -> str | None:
        """Say that this machine shows no counter."""
        if self._files.glob(_ZONES):
            return None
        return "no RAPL counters (a virtual machine, a container, or not an x86 processor)"

    def read(self) -> list[Reading]:
        """Return each counter, J since some start; packages are the total."""
        zones = [zone for zone in self._files.glob(_ZONES) if (zone / "name").exists()]
        return [self._zone(zone) for zone in zones] or [
            Reading(kind="energy", name="package", total=True, reason="no zone has a name")
        ]

    def _zone(self, zone: Path) -> Reading:
        name = self._files.text(zone / "name")[0] or zone.name
        parent = re.sub(r":\d+$", "", zone.name)
        if zone.name.count(":") > 1:  # core, uncore, dram of a package
            owner = self._files.text(zone.with_name(parent) / "name")[0]
            name = f"{owner or parent} {name}"
        total = zone.name.count(":") == 1 and name.startswith("package")
        value, reason = self._files.number(zone / "energy_uj", scale=1e6)
        wraps_at, why = self._files.number(zone / "max_energy_range_uj", scale=1e6, least=1e-6)
        if value is None:
            reason = _ROOT_ONLY if "permission" in reason else f"energy_uj: {reason}"
        elif wraps_at is None:
            value, reason = None, f"max_energy_range_uj: {why}"
        elif value > wraps_at:
            value, reason = None, f"energy_uj is beyond max_energy_range_uj, {wraps_at:g} J"
        return Reading(
            kind="energy", name=name, value=value, reason=reason, total=total,
            wraps_at=wraps_at or 0.0,
        )  # fmt: skip
