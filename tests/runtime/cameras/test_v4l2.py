"""The kernel's answers, packed as its videodev2.h lays them out; this project has no camera."""

from __future__ import annotations

import errno
import struct
from pathlib import Path
from typing import Any

import pytest

from runtime.cameras import Mode, list_cameras


class Kernel:
    """Answers the four requests for one device."""

    def __init__(
        self, card: str, capabilities: int, formats: dict[str, dict[tuple[int, int], list[Any]]]
    ) -> None:
        self.card, self.capabilities, self.formats = card, capabilities, formats

    def __call__(self, handle: int, request: int, buffer: bytearray) -> None:
        number, size = request & 0xFF, request >> 16 & 0x3FFF
        assert chr(request >> 8 & 0xFF) == "V"
        assert size == len(buffer), "the kernel copies as many bytes as the request says"
        answer = {0: self._capability, 2: self._format, 74: self._size, 75: self._interval}[number]
        answer(buffer)

    def _capability(self, buffer: bytearray) -> None:
        struct.pack_into(
            "16s32s32sIII", buffer, 0, b"uvcvideo", self.card.encode(), b"usb-1", 0x060800,
            self.capabilities | 0x80000000, self.capabilities,
        )  # fmt: skip

    def _format(self, buffer: bytearray) -> None:
        index, kind = struct.unpack_from("2I", buffer)
        if kind != 1 or index >= len(self.formats):
            raise OSError(errno.EINVAL, "Invalid argument")
        struct.pack_into("4s", buffer, 44, list(self.formats)[index].encode())

    def _size(self, buffer: bytearray) -> None:
        index, code = struct.unpack_from("I4s", buffer)
        sizes = list(self.formats[code.decode()])
        if index >= len(sizes):
            raise OSError(errno.EINVAL, "Invalid argument")
        if len(sizes[index]) == 2:
            struct.pack_into("3I", buffer, 8, 1, *sizes[index])
        else:
            struct.pack_into("7I", buffer, 8, 3, *sizes[index])

    def _interval(self, buffer: bytearray) -> None:
        index, code, width, height = struct.unpack_from("I4s2I", buffer)
        rates = self.formats[code.decode()][width, height]
        if index >= len(rates):
            raise OSError(errno.EINVAL, "Invalid argument")
        struct.pack_into("3I", buffer, 16, 1, *rates[index])


WEBCAM = Kernel(
    "HD Pro Webcam C920", 0x84200001,
    {
        "YUYV": {(640, 480): [(1, 30), (1, 15)], (1920, 1080): [(1, 5)]},
        "MJPG": {(1920, 1080): [(1, 30), (1, 24)]},
    },
)  # fmt: skip


def _device(root: Path, name: str = "") -> Path:
    (root / "dev").mkdir()
    (root / "dev/video0").touch()
    if name:
        folder = root / "sys/class/video4linux/video0"
        folder.mkdir(parents=True)
        (folder / "name").write_text(name + "\n")
    return root


def test_modes_of_a_webcam(tmp_path: Path) -> None:
    (camera,) = list_cameras(_device(tmp_path), WEBCAM)
    assert (camera.path, camera.name, camera.driver) == (
        "/dev/video0", "HD Pro Webcam C920", "uvcvideo",
    )  # fmt: skip
    assert camera.modes == (
        Mode(pixels="YUYV", size="640x480", fps=(30.0, 15.0)),
        Mode(pixels="YUYV", size="1920x1080", fps=(5.0,)),
        Mode(pixels="MJPG", size="1920x1080", fps=(30.0, 24.0)),
    )
    assert str(camera.modes[0]) == "YUYV 640x480 at 30/15 fps"


def test_fractional_rates_and_ranges_of_sizes(tmp_path: Path) -> None:
    kernel = Kernel("imx219", 0x1, {"RG10": {(16, 3280, 8, 16, 2464, 8): []}})
    (camera,) = list_cameras(_device(tmp_path), kernel)
    assert camera.modes == (Mode(pixels="RG10", size="16x16 to 3280x2464", fps=()),)
    ntsc = Kernel("grabber", 0x1, {"YUYV": {(720, 480): [(1001, 30000)]}})
    (camera,) = list_cameras(tmp_path, ntsc)
    assert camera.modes[0].fps == (29.97,)


def test_a_device_that_gives_no_frames_is_no_camera(tmp_path: Path) -> None:
    # A UVC camera has a second device file, for metadata.
    assert list_cameras(_device(tmp_path), Kernel("metadata", 0x00800000, {})) == []


def test_a_device_that_cannot_be_asked_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    root = _device(tmp_path, "USB Camera")

    def not_a_device(handle: int, request: int, buffer: bytearray) -> None:
        raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")

    (camera,) = list_cameras(root, not_a_device)
    assert (camera.name, camera.modes) == ("USB Camera", ())
    assert "no V4L2 device" in camera.reason

    def closed(path: object, flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", closed)
    (camera,) = list_cameras(root, WEBCAM)
    assert "usermod -aG video" in camera.reason


def test_a_driver_without_an_end_does_not_hold_us_up(tmp_path: Path) -> None:
    class Endless(Kernel):
        def _interval(self, buffer: bytearray) -> None:
            struct.pack_into("3I", buffer, 16, 1, 1, 30)

    kernel = Endless("odd", 0x1, {"YUYV": {(640, 480): []}})
    (camera,) = list_cameras(_device(tmp_path), kernel)
    assert len(camera.modes[0].fps) <= 64


def test_a_machine_without_cameras_has_none(tmp_path: Path) -> None:
    assert list_cameras(tmp_path) == []
