from __future__ import annotations

import pytest

from runtime.probes import Thermal
from tests.runtime.probes.conftest import Tree, by_name, values

_THERMAL = "sys/class/thermal"


def _zone(number: int, kind: str, temp: str, trips: dict[str, int] | None = None) -> dict[str, str]:
    folder = f"{_THERMAL}/thermal_zone{number}"
    files = {f"{folder}/type": kind, f"{folder}/temp": temp}
    for index, (trip, at) in enumerate((trips or {}).items()):
        files[f"{folder}/trip_point_{index}_type"] = trip
        files[f"{folder}/trip_point_{index}_temp"] = str(at)
    return files


ORIN = {
    **_zone(0, "cpu-thermal", "45625", {"active": 50000, "passive": 99000, "critical": 104500}),
    **_zone(1, "gpu-thermal", "44531", {"passive": 99000}),
    **_zone(8, "tj-thermal", "45625"),
    f"{_THERMAL}/cooling_device0/type": "pwm-fan",
    f"{_THERMAL}/cooling_device0/cur_state": "1",
    f"{_THERMAL}/cooling_device4/type": "thermal-cpufreq-0",
    f"{_THERMAL}/cooling_device4/cur_state": "0",
    "sys/class/hwmon/hwmon2/oc1_event_cnt": "7",
}
PC = {
    **_zone(0, "acpitz", "27800"),
    **_zone(1, "x86_pkg_temp", "61000", {"passive": 0}),
    f"{_THERMAL}/cooling_device0/type": "Processor",
    f"{_THERMAL}/cooling_device0/cur_state": "2",
    "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "41",
}
AMD = {
    "sys/class/hwmon/hwmon1/name": "k10temp",
    "sys/class/hwmon/hwmon1/temp1_label": "Tctl",
    "sys/class/hwmon/hwmon1/temp1_input": "52375",
}
PI = _zone(0, "cpu-thermal", "48312", {"critical": 110000})


@pytest.mark.parametrize(
    ("files", "heat", "limits", "throttle"),
    [
        pytest.param(
            ORIN, {"cpu-thermal": 45.625, "gpu-thermal": 44.531, "tj-thermal": 45.625},
            {"cpu-thermal": 99.0, "tj-thermal": None},
            {"thermal-cpufreq-0": False, "oc1_event_cnt": 7.0}, id="Orin",
        ),
        pytest.param(
            PC, {"acpitz": 27.8, "x86_pkg_temp": 61.0}, {"x86_pkg_temp": None},
            {"Processor": True, "package_throttle_count": 41.0}, id="PC",
        ),
        pytest.param(AMD, {"k10temp Tctl": 52.375}, {}, {}, id="AMD"),
        pytest.param(PI, {"cpu-thermal": 48.312}, {"cpu-thermal": 110.0}, {}, id="Raspberry Pi"),
    ],
)  # fmt: skip
def test_zones_in_degrees_with_their_limits(
    tree: Tree,
    files: dict[str, str],
    heat: dict[str, float],
    limits: dict[str, float | None],
    throttle: dict[str, object],
) -> None:
    probe = Thermal(tree(files))
    assert probe.missing() is None
    found = probe.read()
    assert values(found, "temperature") == heat
    assert values(found, "throttle") == throttle
    zones = by_name(found, "temperature")
    assert {name: zones[name].limit for name in limits} == limits


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        pytest.param("GPU-therm", "-256000", "the unit is off", id="off"),
        pytest.param("PMIC-Die", "100000", "nothing is measured", id="placeholder"),
        pytest.param("cpu", "455000", "cannot be true", id="too hot"),
        pytest.param("cpu", "warm", "no number", id="no number"),
        pytest.param("cpu", "", "empty", id="empty"),
    ],
)
def test_a_zone_that_measures_nothing_is_unknown(
    tree: Tree, kind: str, text: str, reason: str
) -> None:
    found = Thermal(tree(_zone(0, kind, text))).read()
    assert found[0].value is None
    assert reason in found[0].reason


def test_no_sensor_is_said(tree: Tree) -> None:
    assert "no temperature sensor" in str(Thermal(tree({})).missing())
