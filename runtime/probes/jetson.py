"""A Jetson's GPU, power mode and pinned clocks."""

from __future__ import annotations

import re
from pathlib import Path

from runtime.probes.base import ROOT, Files, Reading, reading

RELEASE = "etc/nv_tegra_release"
_GPUS = ("sys/class/devfreq/*gpu*", "sys/class/devfreq/*.g[avp]*[0-9]b")
_LOADS = ("sys/devices/gpu.0/load", "sys/devices/platform/gpu.0/load")
_POLICIES = "sys/devices/system/cpu/cpufreq/policy*"


class DevfreqGpu:
    """GPU clock and load, from devfreq; of other boards than a Jetson as well."""

    name = "GPU"

    def __init__(self, root: Path = ROOT) -> None:
        """Read below `root`."""
        self._files = Files(root)

    def missing(self) -> str | None:
        """Say that no GPU is in devfreq."""
        return None if gpu_folder(self._files) is not None else "no GPU in /sys/class/devfreq"

    def read(self) -> list[Reading]:
        """Return clock, MHz of the most that it may have, and load, %."""
        folder = gpu_folder(self._files)
        if folder is None:
            return []
        value, reason = self._files.number(folder / "cur_freq", scale=1e6, most=10_000)
        most, _ = self._files.number(folder / "max_freq", scale=1e6, most=10_000)
        found = [Reading(kind="clock", name="GPU", value=value, reason=reason, limit=most)]
        governor, reason = self._files.text(folder / "governor")
        found.append(Reading(kind="state", name="GPU governor", value=governor, reason=reason))
        paths = [*(self._files.root / path for path in _LOADS), folder / "device" / "load"]
        path = next((path for path in paths if path.exists()), None)
        load: tuple[float | None, str] = (None, "the driver shows no load")
        if path is not None:
            load = self._files.number(path, scale=10, most=100)  # it counts tenths of a percent
        return [*found, reading("load", "GPU", load)]


def gpu_folder(files: Files) -> Path | None:
    """Return the GPU's folder of devfreq, or None."""
    return next((folder for pattern in _GPUS for folder in files.glob(pattern)), None)


class JetsonMode:
    """Release, power mode of `nvpmodel`, and whether the clocks are pinned."""

    name = "Jetson"

    def __init__(self, root: Path = ROOT) -> None:
        """Read below `root`."""
        self._files = Files(root)

    def missing(self) -> str | None:
        """Say that this is no Jetson."""
        return None if (self._files.root / RELEASE).exists() else "not a Jetson"

    def read(self) -> list[Reading]:
        """Return the L4T release, the power mode with its name, and the clocks' state."""
        release, reason = self._files.text(RELEASE)
        if release is not None:
            match = re.search(r"R(\d+)[^,]*,\s*REVISION:\s*([\d.]+)", release)
            release = f"R{match[1]}.{match[2]}" if match else None
            reason = "" if match else "the file has another form"
        model, why = self._files.text("proc/device-tree/model")
        return [
            Reading(kind="state", name="board", value=model, reason=why),
            Reading(kind="state", name="L4T", value=release, reason=reason),
            self._mode(),
            self._pinned(),
        ]

    def _mode(self) -> Reading:
        status, reason = self._files.text("var/lib/nvpmodel/status")
        match = re.search(r"pmode:\s*(\d+)", status or "")
        if match is None:
            reason = reason or f"its status says {str(status)[:30]!r}"
            return Reading(kind="state", name="power mode", reason=f"{reason}; try nvpmodel -q")
        number = int(match[1])
        table, _ = self._files.text("etc/nvpmodel.conf")
        for row in re.findall(r"<\s*POWER_MODEL\b([^>]*)>", table or ""):
            fields = dict(re.findall(r"(\w+)\s*=\s*(\S+)", row))
            if fields.get("ID", "").isdigit() and int(fields["ID"]) == number and "NAME" in fields:
                return Reading(kind="state", name="power mode", value=f"{number} {fields['NAME']}")
        return Reading(kind="state", name="power mode", value=f"{number} (name not known)")

    def _pinned(self) -> Reading:
        """Say whether the clocks stand at their largest, as `jetson_clocks` leaves them."""
        pairs = [
            (folder / "scaling_min_freq", folder / "scaling_max_freq")
            for folder in self._files.glob(_POLICIES)
        ]
        gpu = gpu_folder(self._files)
        if gpu is not None:
            pairs.append((gpu / "min_freq", gpu / "max_freq"))
        if not pairs:
            reason = "neither cpufreq nor the GPU's devfreq is there"
            return Reading(kind="state", name="jetson_clocks", reason=reason)
        pinned = []
        for pair in pairs:
            (low, why), (high, why2) = (self._files.number(path) for path in pair)
            if low is None or high is None:
                return Reading(kind="state", name="jetson_clocks", reason=why or why2)
            pinned.append(low == high)
        word = "on (clocks pinned)" if all(pinned) else "off (clocks follow the load)"
        if any(pinned) and not all(pinned):
            word = f"in part ({sum(pinned)} of {len(pinned)} clocks pinned)"
        return Reading(kind="state", name="jetson_clocks", value=word)
