from __future__ import annotations

from collections.abc import Sequence

import pytest

from runtime.probes import RaspberryPi
from tests.runtime.probes.conftest import Tree, by_name, values

_PMIC = """ 3V7_WL_SW_A current(0)=0.09368929A
   3V3_SYS_A current(1)=0.08783370A
  VDD_CORE_A current(7)=6.22421000A
 3V7_WL_SW_V volt(8)=3.69977600V
   3V3_SYS_V volt(9)=3.31003300V
  VDD_CORE_V volt(15)=0.86173300V
     EXT5V_V volt(24)=5.09066000V
"""
PI3 = ("Raspberry Pi 3 Model B Plus Rev 1.3", "throttled=0x50005\n", "frequency(45)=600000000\n")
PI4 = ("Raspberry Pi 4 Model B Rev 1.4", "throttled=0x0\n", "frequency(48)=1500398464\n")
PI5 = ("Raspberry Pi 5 Model B Rev 1.0", "throttled=0xe0008\n", "frequency(0)=2400033792\n")


class Firmware:
    """Answers as `vcgencmd` does."""

    def __init__(self, flags: str | None, clock: str, pmic: str | None = None) -> None:
        self.answers = {"get_throttled": flags, "measure_clock": clock, "pmic_read_adc": pmic}

    def __call__(self, words: Sequence[str]) -> tuple[str | None, str]:
        said = self.answers[words[1]]
        return (said, "") if said is not None else (None, "vcgencmd failed: VCHI initialization")


@pytest.mark.parametrize(
    ("board", "pmic", "held", "since", "clock", "watts"),
    [
        pytest.param(
            PI3, None, {"under-voltage", "throttled"}, "under-voltage, throttled", 600.0, None,
            id="Pi 3",
        ),
        pytest.param(PI4, None, set(), "none", 1500.398, None, id="Pi 4"),
        pytest.param(
            PI5, _PMIC, {"soft temperature limit"},
            "arm clock capped, throttled, soft temperature limit", 2400.034, 6.001, id="Pi 5",
        ),
    ],
)  # fmt: skip
def test_flags_clock_and_power_of_a_board(
    tree: Tree,
    board: tuple[str, str, str],
    pmic: str | None,
    held: set[str],
    since: str,
    clock: float,
    watts: float | None,
) -> None:
    model, flags, arm = board
    probe = RaspberryPi(tree({"proc/device-tree/model": model + "\0"}), Firmware(flags, arm, pmic))
    assert probe.missing() is None
    found = probe.read()
    assert {name for name, value in values(found, "throttle").items() if value} == held
    assert values(found, "state")["flags since the start"] == since
    assert values(found, "clock") == {"arm": clock}
    assert next(r.number for r in found if r.total) == pytest.approx(watts, abs=2e-3)


def test_flags_come_from_sysfs_where_the_tool_is_missing(tree: Tree) -> None:
    root = tree({
        "proc/device-tree/model": PI4[0],
        "sys/devices/platform/soc/soc:firmware/get_throttled": "50000\n",
    })  # fmt: skip
    found = RaspberryPi(root, Firmware(None, PI4[2])).read()
    assert values(found, "state")["flags since the start"] == "under-voltage, throttled"
    assert not any(values(found, "throttle").values())


@pytest.mark.parametrize(
    ("flags", "clock", "kind", "name"),
    [
        pytest.param("error=2", PI4[2], "throttle", "throttled flags", id="error"),
        pytest.param("throttled=0x100", PI4[2], "throttle", "throttled flags", id="unknown bit"),
        pytest.param(None, PI4[2], "throttle", "throttled flags", id="no answer"),
        pytest.param(PI4[1], "frequency(48)=0", "clock", "arm", id="clock not measured"),
        pytest.param(PI4[1], "frequency=", "clock", "arm", id="garbled clock"),
    ],
)
def test_what_is_garbled_is_unknown(
    tree: Tree, flags: str | None, clock: str, kind: str, name: str
) -> None:
    found = RaspberryPi(tree({"proc/device-tree/model": PI4[0]}), Firmware(flags, clock)).read()
    reading = by_name(found, kind)[name]
    assert reading.value is None
    assert reading.reason
