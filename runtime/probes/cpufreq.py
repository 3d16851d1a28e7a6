"""Clocks and governor of the processor's clusters."""

from __future__ import annotations

import re
from pathlib import Path

from runtime.probes.base import ROOT, Files, Reading

_POLICIES = "sys/devices/system/cpu/cpufreq/policy*"
_PER_CPU = "sys/devices/system/cpu/cpu[0-9]*/cpufreq"  # kernels before 4.3


class CpuFreq:
    """`cpufreq`, cluster by cluster; without it what `/proc/cpuinfo` says."""

    name = "processor clocks"

    def __init__(self, root: Path = ROOT) -> None:
        """Read below `root`."""
        self._files = Files(root)

    def missing(self) -> str | None:
        """Say that no clock is shown."""
        if self._policies() or self._cpuinfo():
            return None
        return "this system shows no processor clock"

    def read(self) -> list[Reading]:
        """Return the clock of each cluster, MHz of the most that it may have, and its governor."""
        policies = self._policies()
        if not policies:
            return self._without()
        return [part for policy in policies for part in self._policy(policy)]

    def _policies(self) -> list[Path]:
        return self._files.glob(_POLICIES) or self._files.glob(_PER_CPU)

    def _policy(self, policy: Path) -> list[Reading]:
        cpus = self._files.text(policy / "affected_cpus")[0]
        name = policy.parent.name if policy.name == "cpufreq" else policy.name
        if cpus and re.fullmatch(r"[\d ]+", cpus):
            numbers = cpus.split()
            name = f"cpu {numbers[0]}" + (f"-{numbers[-1]}" if len(numbers) > 1 else "")
        value, reason = self._files.number(
            policy / "scaling_cur_freq", scale=1e3, least=1, most=10_000
        )
        most, _ = self._files.number(policy / "scaling_max_freq", scale=1e3, most=10_000)
        governor, why = self._files.text(policy / "scaling_governor")
        found = [
            Reading(kind="clock", name=name, value=value, reason=reason, limit=most),
            Reading(kind="state", name=f"{name} governor", value=governor, reason=why),
        ]
        top, _ = self._files.number(policy / "cpuinfo_max_freq", scale=1e3, most=10_000)
        if top is not None and most is not None and most < top:
            word = f"{most:.0f} of {top:.0f} MHz"
            found.append(Reading(kind="state", name=f"{name} capped at", value=word))
        return found

    def _cpuinfo(self) -> list[float]:
        text = self._files.text("proc/cpuinfo")[0] or ""
        found = re.findall(r"^cpu MHz\s*:\s*([\d.]+)$", text, re.MULTILINE)
        return [float(mhz) for mhz in found if 1 <= float(mhz) <= 10_000]

    def _without(self) -> list[Reading]:
        clocks = self._cpuinfo()
        found = [
            Reading(kind="state", name="governor", reason="no cpufreq here (a virtual machine?)")
        ]
        if clocks:
            mean = sum(clocks) / len(clocks)
            name, text = "cpu (/proc/cpuinfo)", self._files.text("proc/cpuinfo")[0] or ""
            if re.search(r"^flags\s*:.*\bhypervisor\b", text, re.MULTILINE):
                reason = f"a virtual machine is shown {mean:.0f} MHz whatever the clock is"
                found.insert(0, Reading(kind="clock", name=name, reason=reason))
            else:
                found.insert(0, Reading(kind="clock", name=name, value=mean))
        return found
