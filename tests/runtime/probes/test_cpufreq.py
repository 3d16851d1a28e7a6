from __future__ import annotations

import pytest

from runtime.probes import CpuFreq, Load
from tests.runtime.probes.conftest import Tree, by_name, values

_POLICY = "sys/devices/system/cpu/cpufreq/policy"


def _policy(number: int, cpus: str, now: str, most: int, top: int, governor: str) -> dict[str, str]:
    folder = f"{_POLICY}{number}"
    return {
        f"{folder}/affected_cpus": cpus, f"{folder}/scaling_cur_freq": now,
        f"{folder}/scaling_max_freq": str(most), f"{folder}/cpuinfo_max_freq": str(top),
        f"{folder}/scaling_governor": governor,
    }  # fmt: skip


ORIN = {
    **_policy(0, "0 1 2 3", "729600", 1510400, 1510400, "schedutil"),
    **_policy(4, "4 5", "1510400", 1510400, 1510400, "schedutil"),
}
LAPTOP = _policy(0, "0", "2893115", 2000000, 4700000, "powersave")
PI_OLD = {
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "600000",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1500000",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand",
}


@pytest.mark.parametrize(
    ("files", "clocks", "states"),
    [
        pytest.param(
            ORIN, {"cpu 0-3": 729.6, "cpu 4-5": 1510.4},
            {"cpu 0-3 governor": "schedutil", "cpu 4-5 governor": "schedutil"}, id="Orin",
        ),
        pytest.param(
            LAPTOP, {"cpu 0": 2893.115},
            {"cpu 0 governor": "powersave", "cpu 0 capped at": "2000 of 4700 MHz"}, id="laptop",
        ),
        pytest.param(PI_OLD, {"cpu0": 600.0}, {"cpu0 governor": "ondemand"}, id="old kernel"),
    ],
)  # fmt: skip
def test_clocks_in_megahertz_by_cluster(
    tree: Tree, files: dict[str, str], clocks: dict[str, float], states: dict[str, str]
) -> None:
    found = CpuFreq(tree(files)).read()
    assert values(found, "clock") == clocks
    assert values(found, "state") == states


@pytest.mark.parametrize("text", ["", "0", "fast", "99999999999"])
def test_a_garbled_clock_is_unknown(tree: Tree, text: str) -> None:
    found = by_name(CpuFreq(tree({**LAPTOP, f"{_POLICY}0/scaling_cur_freq": text})).read(), "clock")
    assert found["cpu 0"].value is None
    assert found["cpu 0"].reason


def test_the_clock_that_a_virtual_machine_is_shown_is_none(tree: Tree) -> None:
    text = "flags\t\t: fpu hypervisor lahf_lm\ncpu MHz\t\t: 2595.124\n"
    found = by_name(CpuFreq(tree({"proc/cpuinfo": text})).read(), "clock")
    assert found["cpu (/proc/cpuinfo)"].value is None
    assert "virtual machine" in found["cpu (/proc/cpuinfo)"].reason


def test_without_cpufreq_there_is_the_clock_of_cpuinfo_and_no_governor(tree: Tree) -> None:
    found = CpuFreq(tree({"proc/cpuinfo": "cpu MHz\t\t: 2600.0\ncpu MHz\t\t: 2400.0\n"})).read()
    assert values(found, "clock") == {"cpu (/proc/cpuinfo)": 2500.0}
    assert by_name(found, "state")["governor"].value is None
    assert CpuFreq(tree({"proc/cpuinfo": "Hardware: x\n"})).missing() is not None


def test_load_and_memory(tree: Tree) -> None:
    root = tree({
        "proc/loadavg": "6.26 3.10 1.02 3/512 4242\n",
        "proc/pressure/cpu": "some avg10=12.50 avg60=3.00 avg300=1.00 total=1\n",
        "proc/meminfo": "MemTotal:       16000000 kB\nMemAvailable:    6000000 kB\n",
    })  # fmt: skip
    found = Load(root).read()
    assert str(values(found, "state")["load average"]).startswith("6.26 over")
    assert values(found, "load") == {"time spent waiting for a processor": 12.5}
    memory = by_name(found, "memory")["memory in use"]
    assert (memory.value, memory.limit) == (pytest.approx(10240), pytest.approx(16384))


def test_load_that_cannot_be_read_is_unknown(tree: Tree) -> None:
    root = tree({"proc/loadavg": "x", "proc/meminfo": "MemTotal: 1 kB\nMemAvailable: 2 kB\n"})
    assert all(r.value is None and r.reason for r in Load(root).read())
