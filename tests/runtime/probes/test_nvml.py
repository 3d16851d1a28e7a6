from __future__ import annotations

import ctypes
from typing import Any

import pytest

from runtime.probes import Nvml
from tests.runtime.probes.conftest import by_name, values

NOT_SUPPORTED = 3


class Library:
    """Answers as the driver's library does, with the numbers of one GPU."""

    def __init__(self, name: str, answers: dict[str, int], *, utilization: int | None) -> None:
        self._name, self._answers, self._utilization = name, answers, utilization

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:
        count._obj.value = 1
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, handle: Any) -> int:
        handle._obj.value = 1
        return 0

    def nvmlDeviceGetName(self, handle: Any, text: Any, size: int) -> int:
        text.value = self._name.encode()
        return 0

    def nvmlDeviceGetUtilizationRates(self, handle: Any, use: Any) -> int:
        if self._utilization is None:
            return NOT_SUPPORTED
        use._obj.gpu = self._utilization
        return 0

    def __getattr__(self, function: str) -> Any:
        def answer(*words: Any) -> int:
            if function not in self._answers:
                return NOT_SUPPORTED
            words[-1]._obj.value = self._answers[function]
            return 0

        return answer


RTX = Library(
    "NVIDIA GeForce RTX 3090",
    {"nvmlDeviceGetPowerUsage": 112_345, "nvmlDeviceGetPowerManagementLimit": 350_000,
     "nvmlDeviceGetTemperature": 61, "nvmlDeviceGetClockInfo": 1695,
     "nvmlDeviceGetMaxClockInfo": 2100, "nvmlDeviceGetCurrentClocksThrottleReasons": 0x4},
    utilization=97,
)  # fmt: skip
T4 = Library(
    "Tesla T4",
    {"nvmlDeviceGetPowerUsage": 9_870, "nvmlDeviceGetTemperature": 84,
     "nvmlDeviceGetClockInfo": 585, "nvmlDeviceGetCurrentClocksThrottleReasons": 0x21},
    utilization=0,
)  # fmt: skip
ORIN = Library("Orin (nvgpu)", {"nvmlDeviceGetClockInfo": 306}, utilization=None)


@pytest.mark.parametrize(
    ("library", "watts", "heat", "clock", "load", "held"),
    [
        pytest.param(RTX, 112.345, 61.0, 1695.0, 97.0, True, id="RTX 3090 at its power cap"),
        pytest.param(T4, 9.87, 84.0, 585.0, 0.0, True, id="T4, too hot"),
        pytest.param(ORIN, None, None, 306.0, None, None, id="Orin answers little"),
    ],
)
def test_watts_degrees_megahertz_of_a_gpu(
    library: Library,
    watts: float | None,
    heat: float | None,
    clock: float,
    load: float | None,
    held: bool | None,
) -> None:
    probe = Nvml(lambda: library)
    assert probe.missing() is None
    found = probe.read()
    assert values(found, "power") == {"GPU 0": watts}
    assert values(found, "temperature") == {"GPU 0": heat}
    assert values(found, "clock") == {"GPU 0": clock}
    assert values(found, "load") == {"GPU 0": load}
    assert [r.value for r in found if r.kind == "throttle"] == [held]
    assert all(r.reason for r in found if r.value is None)


def test_idle_is_no_throttling() -> None:
    idle = Library("X", {"nvmlDeviceGetCurrentClocksThrottleReasons": 0x1}, utilization=0)
    assert [r.value for r in Nvml(lambda: idle).read() if r.kind == "throttle"] == [False]


def test_a_power_that_cannot_be_true_is_unknown() -> None:
    broken = Library("X", {"nvmlDeviceGetPowerUsage": 4_294_967_295}, utilization=0)
    assert by_name(Nvml(lambda: broken).read(), "power")["GPU 0"].value is None


def test_no_driver_is_said() -> None:
    def absent() -> ctypes.CDLL:
        raise OSError("libnvidia-ml.so.1: cannot open shared object file")

    probe = Nvml(absent)
    assert "no NVIDIA driver" in str(probe.missing())
    assert probe.read() == []
