"""Cameras of this machine and their modes, asked of the kernel (V4L2), without OpenCV.

Each request is one `ioctl` on the device file; structures and numbers are those of the kernel's
`videodev2.h`. Nothing is changed and no frame is taken. Not run on a camera by this project: its
machines have none; tests answer as a kernel does.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime.probes.base import ROOT, Files

_QUERYCAP, _ENUM_FMT = 0x80685600, 0xC0405602
_ENUM_SIZES, _ENUM_INTERVALS = 0xC02C564A, 0xC034564B
_CAPTURE, _CAPTURE_MPLANE, _DEVICE_CAPS = 0x1, 0x1000, 0x80000000
_DISCRETE = 1
_MOST = 64  # formats, sizes or rates; a driver that never ends its list must not end us

Ioctl = Callable[[int, int, bytearray], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """One size of one pixel format.

    Attributes:
        pixels: The format's four letters, such as MJPG or YUYV.
        size: Width and height, pixels, as text; a range where the driver gives one.
        fps: Rates that it has there, frames per second, the highest first.
    """

    pixels: str
    size: str
    fps: tuple[float, ...]

    def __str__(self) -> str:
        rates = "/".join(f"{rate:g}" for rate in self.fps)
        return f"{self.pixels} {self.size}" + (f" at {rates} fps" if rates else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """One device file that gives frames.

    Attributes:
        path: Its device file.
        name: What the driver calls it.
        driver: The driver's name.
        modes: What it can send.
        reason: Why it cannot be asked; empty where it answered.
    """

    path: str
    name: str
    driver: str = ""
    modes: tuple[Mode, ...] = ()
    reason: str = ""


def list_cameras(root: Path = ROOT, ioctl: Ioctl | None = None) -> list[Camera]:
    """Return the cameras of this machine; device files that give no frames are left out.

    Args:
        root: Folder that stands for `/`.
        ioctl: How a request is made of an open file: it fills the buffer or raises `OSError`.
    """
    files = Files(root)
    found = []
    for path in files.glob("dev/video*"):
        name, _ = files.text(f"sys/class/video4linux/{path.name}/name")
        shown = f"/dev/{path.name}"
        try:
            handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        except OSError as error:
            why = "no permission (sudo usermod -aG video $USER, then log in again)"
            reason = why if error.errno == errno.EACCES else str(error.strerror).lower()
            found.append(Camera(path=shown, name=name or "unknown", reason=reason))
            continue
        try:
            camera = _ask(handle, shown, name, ioctl or _ioctl)
        finally:
            os.close(handle)
        if camera is not None:
            found.append(camera)
    return found


def _ioctl(handle: int, request: int, buffer: bytearray) -> None:
    fcntl.ioctl(handle, request, buffer, True)


def _ask(handle: int, path: str, name: str | None, ioctl: Ioctl) -> Camera | None:
    buffer = bytearray(104)
    try:
        ioctl(handle, _QUERYCAP, buffer)
    except OSError as error:
        reason = f"it is no V4L2 device ({error.strerror})"
        return Camera(path=path, name=name or "unknown", reason=reason)
    driver, card, _, _, capabilities, device = struct.unpack_from("16s32s32sIII", buffer)
    if capabilities & _DEVICE_CAPS:
        capabilities = device
    if not capabilities & (_CAPTURE | _CAPTURE_MPLANE):
        return None  # metadata of a camera, or an encoder
    kind = 1 if capabilities & _CAPTURE else 9
    modes = tuple(_modes(handle, kind, ioctl))
    return Camera(path=path, name=_text(card) or name or "unknown", driver=_text(driver),
                  modes=modes)  # fmt: skip


def _modes(handle: int, kind: int, ioctl: Ioctl) -> Iterator[Mode]:
    for buffer in _listed(handle, _ENUM_FMT, 64, struct.pack("I", kind), ioctl):
        (code,) = struct.unpack_from("I", buffer, 44)
        pixels = struct.pack("I", code).decode("ascii", errors="replace").strip()
        for size in _listed(handle, _ENUM_SIZES, 44, struct.pack("I", code), ioctl):
            (how,) = struct.unpack_from("I", size, 8)
            if how != _DISCRETE:
                least_w, most_w, _, least_h, most_h, _ = struct.unpack_from("6I", size, 12)
                yield Mode(pixels=pixels, size=f"{least_w}x{least_h} to {most_w}x{most_h}", fps=())
                break
            width, height = struct.unpack_from("2I", size, 12)
            wanted = struct.pack("3I", code, width, height)
            rates = tuple(_rates(handle, wanted, ioctl))
            yield Mode(pixels=pixels, size=f"{width}x{height}", fps=rates)


def _rates(handle: int, wanted: bytes, ioctl: Ioctl) -> list[float]:
    rates = []
    for buffer in _listed(handle, _ENUM_INTERVALS, 52, wanted, ioctl):
        how, numerator, denominator = struct.unpack_from("3I", buffer, 16)
        if numerator:
            rates.append(round(denominator / numerator, 3))
        if how != _DISCRETE:
            break  # a range: its shortest interval stands first
    return sorted(rates, reverse=True)


def _listed(
    handle: int, request: int, size: int, behind_index: bytes, ioctl: Ioctl
) -> Iterator[bytearray]:
    """Yield the answers to a request with a rising index, until the driver says there are none."""
    for index in range(_MOST):
        buffer = bytearray(size)
        start = struct.pack("I", index) + behind_index
        buffer[: len(start)] = start
        try:
            ioctl(handle, request, buffer)
        except OSError:
            return
        yield buffer


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("utf-8", errors="replace").strip()
