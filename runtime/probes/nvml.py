"""NVIDIA GPUs beside an x86 or server processor, through the driver's own library.

Called by ctypes: the library comes with the driver, a Python package would be one more thing to
install. A Jetson's GPU is not here but in `DevfreqGpu`; its library answers little.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from runtime.probes.base import Kind, Reading

_LIBRARY = "libnvidia-ml.so.1"
_ERRORS = {
    1: "the library was not initialised", 3: "this GPU does not support it", 4: "no permission",
    9: "the driver is not loaded", 15: "the GPU is lost", 18: "library and driver differ",
    999: "unknown error",
}  # fmt: skip
# Reasons to hold the clock back, of nvmlDeviceGetCurrentClocksThrottleReasons; being idle, or
# asked to by an application, is none.
_HELD = {0x4: "power cap", 0x8: "hardware slowdown", 0x20: "software thermal",
         0x40: "hardware thermal", 0x80: "power brake"}  # fmt: skip


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


def _open() -> Any:
    return ctypes.CDLL(_LIBRARY)


class Nvml:
    """Power, clocks, temperature and load of each GPU."""

    name = "NVIDIA GPU"

    def __init__(self, open_library: Callable[[], Any] = _open) -> None:
        """Load the library by `open_library`."""
        self._library: Any = None
        try:
            self._library = open_library()
            code = self._library.nvmlInit_v2()
        except (OSError, AttributeError):
            self._missing: str | None = f"no {_LIBRARY}: no NVIDIA driver"
            return
        self._missing = f"its library does not start: {_why(code)}" if code else None

    def missing(self) -> str | None:
        """Say that there is no driver."""
        return self._missing

    def read(self) -> list[Reading]:
        """Return what each GPU says."""
        if self._missing:
            return []
        count = ctypes.c_uint()
        code = self._library.nvmlDeviceGetCount_v2(ctypes.byref(count))
        if code:
            return [Reading(kind="state", name="GPUs", reason=_why(code))]
        return [part for i in range(count.value) for part in self._device(i)]

    def _device(self, index: int) -> list[Reading]:
        handle = ctypes.c_void_p()
        code = self._library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle))
        gpu = f"GPU {index}"
        if code:
            return [Reading(kind="state", name=gpu, reason=_why(code))]
        text = ctypes.create_string_buffer(96)
        code = self._library.nvmlDeviceGetName(handle, text, 96)
        word = None if code else text.value.decode("utf-8", errors="replace")
        found = [Reading(kind="state", name=gpu, value=word, reason=_why(code))]
        most = self._number("nvmlDeviceGetPowerManagementLimit", handle)[0]
        found.append(
            self._reading(
                "power", gpu, self._number("nvmlDeviceGetPowerUsage", handle), 1e3, 2000,
                limit=None if most is None else most / 1e3,
            )
        )  # fmt: skip
        heat = self._number("nvmlDeviceGetTemperature", handle, 0)
        found.append(self._reading("temperature", gpu, heat, 1, 150))
        clock = self._number("nvmlDeviceGetClockInfo", handle, 1)  # 1: of the multiprocessors
        highest = self._number("nvmlDeviceGetMaxClockInfo", handle, 1)[0]
        found.append(self._reading("clock", gpu, clock, 1, 10_000, limit=highest))
        use = _Utilization()
        code = self._call("nvmlDeviceGetUtilizationRates", handle, ctypes.byref(use))
        load = (None, _why(code)) if code else (float(use.gpu), "")
        found.append(self._reading("load", gpu, load, 1, 100))
        return [*found, self._throttle(gpu, handle)]

    def _throttle(self, gpu: str, handle: ctypes.c_void_p) -> Reading:
        mask = ctypes.c_ulonglong()
        code = self._call(
            "nvmlDeviceGetCurrentClocksThrottleReasons", handle, ctypes.byref(mask)
        )  # fmt: skip
        if code:
            return Reading(kind="throttle", name=gpu, reason=_why(code))
        why = [word for bit, word in _HELD.items() if mask.value & bit]
        name = f"{gpu} held back" + (f" ({', '.join(why)})" if why else "")
        return Reading(kind="throttle", name=name, value=bool(why))

    def _number(self, function: str, *words: Any) -> tuple[float | None, str]:
        value = ctypes.c_uint()
        code = self._call(function, *words, ctypes.byref(value))
        return (None, _why(code)) if code else (float(value.value), "")

    def _call(self, function: str, *words: Any) -> int:
        try:
            return int(getattr(self._library, function)(*words))
        except AttributeError:  # a library that is older than the function
            return 3

    @staticmethod
    def _reading(
        kind: Kind, name: str, found: tuple[float | None, str], scale: float, most: float,
        limit: float | None = None,
    ) -> Reading:  # fmt: skip
        value, reason = found
        if value is not None:
            value /= scale
            if value > most:
                value, reason = None, f"it says {value:g}, which cannot be true"
        return Reading(
            kind=kind, name=name, value=value, reason=reason, limit=limit, total=kind == "power"
        )


def _why(code: int) -> str:
    return _ERRORS.get(code, f"NVML error {code}") if code else ""
