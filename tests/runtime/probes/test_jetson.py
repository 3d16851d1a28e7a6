from __future__ import annotations

import pytest

from runtime.probes import DevfreqGpu, JetsonMode
from tests.runtime.probes.conftest import Tree, by_name, values

_CONF = """
# comment
< PARAM TYPE=FILE NAME=CPU_ONLINE >
< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME=7W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
"""


def _policy(number: int, low: int, high: int) -> dict[str, str]:
    folder = f"sys/devices/system/cpu/cpufreq/policy{number}"
    return {f"{folder}/scaling_min_freq": str(low), f"{folder}/scaling_max_freq": str(high)}


def _gpu(name: str, now: int, low: int, high: int) -> dict[str, str]:
    folder = f"sys/class/devfreq/{name}"
    return {
        f"{folder}/cur_freq": f"{now}\n", f"{folder}/min_freq": str(low),
        f"{folder}/max_freq": str(high), f"{folder}/governor": "nvhost_podgov\n",
    }  # fmt: skip


ORIN_NANO = {
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: "
                            "aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025",
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
    "var/lib/nvpmodel/status": "pmode:0002 fmode:quiet", "etc/nvpmodel.conf": _CONF,
    **_policy(0, 1728000, 1728000), **_policy(4, 1728000, 1728000),
    **_gpu("17000000.gpu", 1020000000, 1020000000, 1020000000),
    "sys/devices/platform/gpu.0/load": "999",
}  # fmt: skip
AGX_XAVIER = {
    "etc/nv_tegra_release": "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t186ref",
    "proc/device-tree/model": "Jetson-AGX\0",
    "var/lib/nvpmodel/status": "pmode:0000",
    **_policy(0, 1190400, 2265600),
    **_gpu("17000000.gv11b", 318750000, 114750000, 1377000000),
    "sys/devices/gpu.0/load": "125",
}
NANO = {
    "etc/nv_tegra_release": "# R32 (release), REVISION: 7.4, GCID: 33514132, BOARD: t210ref",
    "proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\0",
    "var/lib/nvpmodel/status": "pmode:0001", "etc/nvpmodel.conf": "< POWER_MODEL ID=1 NAME=5W >",
    **_policy(0, 1479000, 1479000),
    **_gpu("57000000.gpu", 76800000, 76800000, 921600000),
}  # fmt: skip


@pytest.mark.parametrize(
    ("files", "release", "mode", "clocks"),
    [
        pytest.param(ORIN_NANO, "R36.4.3", "2 MAXN_SUPER", "on (clocks pinned)", id="Orin Nano"),
        pytest.param(
            AGX_XAVIER, "R32.7.1", "0 (name not known)", "off (clocks follow the load)", id="Xavier"
        ),
        pytest.param(NANO, "R32.7.4", "1 5W", "in part (1 of 2 clocks pinned)", id="Nano"),
    ],
)
def test_release_power_mode_and_pinned_clocks(
    tree: Tree, files: dict[str, str], release: str, mode: str, clocks: str
) -> None:
    probe = JetsonMode(tree(files))
    assert probe.missing() is None
    found = values(probe.read(), "state")
    assert (found["L4T"], found["power mode"], found["jetson_clocks"]) == (release, mode, clocks)
    assert "Jetson" in str(found["board"])


@pytest.mark.parametrize(
    ("files", "clock", "most", "load"),
    [
        pytest.param(ORIN_NANO, 1020.0, 1020.0, 99.9, id="Orin Nano"),
        pytest.param(AGX_XAVIER, 318.75, 1377.0, 12.5, id="Xavier"),
        pytest.param(NANO, 76.8, 921.6, None, id="Nano, no load file"),
    ],
)
def test_gpu_clock_in_megahertz_and_load_in_percent(
    tree: Tree, files: dict[str, str], clock: float, most: float, load: float | None
) -> None:
    found = DevfreqGpu(tree(files)).read()
    reading = by_name(found, "clock")["GPU"]
    assert (reading.value, reading.limit) == (clock, most)
    assert values(found, "load")["GPU"] == load


@pytest.mark.parametrize(
    ("path", "text", "name", "reason"),
    [
        pytest.param("var/lib/nvpmodel/status", "?", "power mode", "says '?'", id="no mode"),
        pytest.param("etc/nv_tegra_release", "R?", "L4T", "another form", id="no release"),
        pytest.param(
            "sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq", "x", "jetson_clocks",
            "no number", id="no clock",
        ),
    ],
)  # fmt: skip
def test_what_is_garbled_is_unknown(
    tree: Tree, path: str, text: str, name: str, reason: str
) -> None:
    found = by_name(JetsonMode(tree({**ORIN_NANO, path: text})).read(), "state")[name]
    assert found.value is None
    assert reason in found.reason


def test_a_gpu_load_beyond_all_is_unknown(tree: Tree) -> None:
    found = DevfreqGpu(tree({**ORIN_NANO, "sys/devices/platform/gpu.0/load": "1001"})).read()
    assert by_name(found, "load")["GPU"].value is None


def test_another_machine_is_no_jetson(tree: Tree) -> None:
    root = tree({"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"})
    assert JetsonMode(root).missing() == "not a Jetson"
    assert DevfreqGpu(root).missing() is not None
