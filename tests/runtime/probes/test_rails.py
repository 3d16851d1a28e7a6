from __future__ import annotations

import pytest

from runtime.probes import JetsonPower
from tests.runtime.probes.conftest import Tree, by_name, values


def _hwmon(folder: str, chip: str, rails: dict[int, tuple[str, int, int]]) -> dict[str, str]:
    """Return the files of an INA3221: channel to label, millivolts, milliamperes."""
    files = {f"{folder}/name": f"{chip}\n"}
    for channel, (label, millivolts, milliamperes) in rails.items():
        files[f"{folder}/in{channel}_label"] = f"{label}\n"
        files[f"{folder}/in{channel}_input"] = f"{millivolts}\n"
        files[f"{folder}/curr{channel}_input"] = f"{milliamperes}\n"
    # The driver's fourth and seventh values are sums over channels, not rails.
    files[f"{folder}/curr4_input"] = "9999\n"
    files[f"{folder}/in7_label"] = "sum of shunt voltages\n"
    return files


def _iio(folder: str, rails: dict[int, tuple[str, int]]) -> dict[str, str]:
    files = {}
    for channel, (label, milliwatts) in rails.items():
        files[f"{folder}/rail_name_{channel}"] = f"{label}\n"
        files[f"{folder}/in_power{channel}_input"] = f"{milliwatts}\n"
        files[f"{folder}/in_voltage{channel}_input"] = "5016\n"
    return files


ORIN_NANO = _hwmon(
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1", "ina3221",
    {1: ("VDD_IN", 4968, 1520), 2: ("VDD_CPU_GPU_CV", 4960, 1784), 3: ("VDD_SOC", 4960, 496)},
)  # fmt: skip
AGX_ORIN = {
    **_hwmon(
        "sys/class/hwmon/hwmon3", "ina3221",
        {1: ("VDD_GPU_SOC", 19000, 300), 2: ("VDD_CPU_CV", 19000, 100),
         3: ("VIN_SYS_5V0", 5000, 800)},
    ),
    **_hwmon("sys/class/hwmon/hwmon4", "ina3221",
             {1: ("NC", 0, 0), 2: ("VDDQ_VDD2_1V8AO", 5000, 60), 3: ("NC", 0, 0)}),
}  # fmt: skip
NANO = _iio(
    "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0",
    {0: ("POM_5V_IN", 2532), 1: ("POM_5V_GPU", 0), 2: ("POM_5V_CPU", 549)},
)
AGX_XAVIER = {
    **_iio("sys/bus/i2c/drivers/ina3221x/1-0040/iio:device0",
           {0: ("GPU", 120), 1: ("CPU", 468), 2: ("SOC", 937)}),
    **_iio("sys/bus/i2c/drivers/ina3221x/1-0041/iio:device1",
           {0: ("CV", 0), 1: ("VDDRQ", 312), 2: ("SYS5V", 1458)}),
}  # fmt: skip
TX2 = {
    **_iio("sys/bus/i2c/drivers/ina3221x/0-0040/iio_device",
           {0: ("VDD_SYS_GPU", 153), 1: ("VDD_SYS_SOC", 306), 2: ("VDD_4V0_WIFI", 0)}),
    **_iio("sys/bus/i2c/drivers/ina3221x/0-0041/iio_device",
           {0: ("VDD_IN", 1649), 1: ("VDD_SYS_CPU", 306), 2: ("VDD_SYS_DDR", 173)}),
}  # fmt: skip


@pytest.mark.parametrize(
    ("files", "watts", "rail", "rail_watts"),
    [
        pytest.param(ORIN_NANO, 7.551, "VDD_SOC", 2.46, id="Orin Nano, hwmon"),
        pytest.param(AGX_ORIN, 11.6, "VDDQ_VDD2_1V8AO", 0.3, id="AGX Orin, hwmon"),
        pytest.param(NANO, 2.532, "POM_5V_CPU", 0.549, id="Nano, iio"),
        pytest.param(AGX_XAVIER, 3.295, "SOC", 0.937, id="AGX Xavier, iio"),
        pytest.param(TX2, 1.649, "VDD_SYS_CPU", 0.306, id="TX2, iio"),
    ],
)
def test_rails_by_label_and_what_the_module_draws(
    tree: Tree, files: dict[str, str], watts: float, rail: str, rail_watts: float
) -> None:
    probe = JetsonPower(tree(files))
    assert probe.missing() is None
    found = probe.read()
    assert values(found, "power")[rail] == rail_watts
    assert next(r for r in found if r.total).number == pytest.approx(watts, abs=1e-3)
    assert not any(r.name == "NC" or "sum" in r.name for r in found)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        pytest.param("curr1_input", "", "empty", id="empty"),
        pytest.param("curr1_input", "n/a", "no number", id="no number"),
        pytest.param("curr1_input", "-12", "cannot be true", id="below zero"),
        pytest.param("in1_input", "4294967295", "cannot be true", id="overflow"),
    ],
)
def test_a_rail_that_cannot_be_read_leaves_the_total_unknown(
    tree: Tree, name: str, text: str, reason: str
) -> None:
    root = tree(ORIN_NANO)
    next(root.glob(f"sys/bus/i2c/drivers/ina3221/*/hwmon/*/{name}")).write_text(text)
    found = JetsonPower(root).read()
    assert values(found, "power")["VDD_SOC"] == 2.46
    rail = by_name(found, "power")["VDD_IN"]
    assert rail.value is None
    assert reason in rail.reason
    assert next(r for r in found if r.total).value is None


def test_a_machine_without_the_chip_has_no_rails(tree: Tree) -> None:
    root = tree(
        {"sys/class/hwmon/hwmon0/name": "coretemp", "sys/class/hwmon/hwmon0/in1_label": "x"}
    )
    assert JetsonPower(root).missing() == "no INA3221 power monitor"
    assert JetsonPower(root).read() == []
