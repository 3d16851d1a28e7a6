from __future__ import annotations

from collections.abc import Sequence

import pytest

from runtime.probes import Android
from tests.runtime.probes.conftest import by_name, values

NEXUS = """Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  status: 2
  health: 2
  present: true
  level: 44
  scale: 100
  voltage: 3872
  temperature: 280
  technology: Li-poly
"""
PIXEL = NEXUS.replace("level: 44", "level: 100").replace("temperature: 280", "temperature: 295")
GALAXY = """Current Battery Service state:
  AC powered: false
  USB powered: false
  Wireless powered: false
  level: 82
  scale: 100
  temperature: 341
  current now: -412
"""
NO_THERMAL = "Can't find service: thermalservice\n"
PIXEL_THERMAL = """IsStatusOverride: false
Thermal Status: 0
Cached temperatures:
 Temperature{mValue=99.0, mType=0, mName=old, mStatus=0}
HAL Ready: true
Current temperatures from HAL:
\tTemperature{mValue=24.0, mType=1, mName=TYPE_CPU, mStatus=0}
\tTemperature{mValue=25.3, mType=4, mName=TYPE_SKIN, mStatus=0}
\tTemperature{mValue=-99.9, mType=6, mName=TYPE_POWER_AMPLIFIER, mStatus=0}
Current cooling devices from HAL:
\tCoolingDevice{mValue=0, mType=2, mName=TYPE_CPU}
"""
GALAXY_THERMAL = """Thermal Status: 2
HAL Ready: true
Current temperatures from HAL:
\tTemperature{mValue=61.5, mType=0, mName=AP, mStatus=0}
\tTemperature{mValue=NaN, mType=3, mName=SKIN, mStatus=0}
Temperature static thresholds from HAL:
\tTemperatureThreshold{mType=3, mName=SKIN, mHotThrottlingThresholds=[NaN, 43.0]}
"""


class Phone:
    """Answers as `adb` does."""

    def __init__(self, battery: str | None, thermal: str | None, state: str = "device\n") -> None:
        self.answers = {
            "dumpsys battery": battery, "dumpsys thermalservice": thermal,
            "getprop ro.product.model": "Pixel 7\n", "get-state": state,
        }  # fmt: skip

    def __call__(self, words: Sequence[str]) -> tuple[str | None, str]:
        said = self.answers[words[-1]]
        return (said, "") if said is not None else (None, "adb failed: error: device offline")


@pytest.mark.parametrize(
    ("battery", "thermal", "heat", "throttled", "powered"),
    [
        pytest.param(NEXUS, NO_THERMAL, {"battery": 28.0, "phone": None}, None, "USB powered",
                     id="Android 6"),
        pytest.param(
            PIXEL, PIXEL_THERMAL,
            {"battery": 29.5, "TYPE_CPU": 24.0, "TYPE_SKIN": 25.3, "TYPE_POWER_AMPLIFIER": None},
            False, "USB powered", id="Pixel",
        ),
        pytest.param(GALAXY, GALAXY_THERMAL, {"battery": 34.1, "AP": 61.5, "SKIN": None}, True,
                     "battery", id="Galaxy"),
    ],
)  # fmt: skip
def test_battery_temperatures_and_status_of_a_phone(
    battery: str,
    thermal: str,
    heat: dict[str, float | None],
    throttled: bool | None,
    powered: str,
) -> None:
    probe = Android(Phone(battery, thermal))
    assert probe.missing() is None
    found = probe.read()
    assert values(found, "temperature") == heat
    assert [r.value for r in found if r.kind == "throttle"] == [throttled]
    assert values(found, "state")["powered by"] == powered
    assert values(found, "state")["phone"] == "Pixel 7"
    # Its unit and sign differ from phone to phone: no power rather than a wrong one.
    assert by_name(found, "power")["battery"].value is None


@pytest.mark.parametrize(
    ("battery", "reason"),
    [
        pytest.param(None, "device offline", id="offline"),
        pytest.param("error", "no battery service state", id="garbled"),
        pytest.param(
            NEXUS.replace("state:\n", "state:\n  (UPDATES STOPPED -- use 'reset' to restart)\n", 1),
            "updates are stopped", id="set by hand",
        ),
        pytest.param(NEXUS.replace("280", "hot"), "no number", id="no number"),
        pytest.param(NEXUS.replace("280", "28000"), "cannot be true", id="too hot"),
    ],
)  # fmt: skip
def test_a_battery_that_cannot_be_read_is_unknown(battery: str | None, reason: str) -> None:
    found = by_name(Android(Phone(battery, PIXEL_THERMAL)).read(), "temperature")["battery"]
    assert found.value is None
    assert reason in found.reason


def test_a_status_set_by_hand_is_unknown() -> None:
    text = PIXEL_THERMAL.replace("IsStatusOverride: false", "IsStatusOverride: true")
    found = [r for r in Android(Phone(PIXEL, text)).read() if r.kind == "throttle"]
    assert found[0].value is None


def test_no_phone_is_said() -> None:
    assert Android(Phone(PIXEL, PIXEL_THERMAL, state="unauthorized\n")).missing() is not None
