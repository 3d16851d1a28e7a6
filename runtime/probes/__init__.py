"""What a machine says of itself: power, temperature, clocks, load, modes.

One module for each interface, behind one protocol (`Probe`): it reads, it changes nothing, and what
it cannot read it calls unknown and says why. Each reads below a root folder, `/` by default.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from runtime.probes.android import Android
from runtime.probes.base import ROOT, UNITS, Probe, Reading
from runtime.probes.cpufreq import CpuFreq
from runtime.probes.jetson import DevfreqGpu, JetsonMode
from runtime.probes.load import Load
from runtime.probes.nvml import Nvml
from runtime.probes.rails import JetsonPower
from runtime.probes.rapl import Rapl
from runtime.probes.raspberry import RaspberryPi
from runtime.probes.tegrastats import Tegrastats, parse_tegrastats
from runtime.probes.thermal import Thermal

__all__ = [
    "ROOT", "UNITS", "Android", "CpuFreq", "DevfreqGpu", "JetsonMode", "JetsonPower", "Load",
    "Nvml", "Probe", "Rapl", "RaspberryPi", "Reading", "Tegrastats", "Thermal", "local_probes",
    "parse_tegrastats", "read_all",
]  # fmt: skip


def local_probes(root: Path = ROOT) -> list[Probe]:
    """Return the probes of this machine; those that have nothing to read here say so."""
    probes: list[Probe] = [
        Load(root), CpuFreq(root), Thermal(root), Rapl(root), JetsonMode(root), JetsonPower(root),
        DevfreqGpu(root), RaspberryPi(root),
    ]  # fmt: skip
    return [*probes, Nvml()] if root == ROOT else probes


def read_all(probes: Iterable[Probe]) -> dict[str, list[Reading]]:
    """Return what each probe reads that has something to read here, by its name."""
    return {probe.name: probe.read() for probe in probes if probe.missing() is None}
