"""Read picture files whole or not at all."""

from __future__ import annotations

import logging
import zlib
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from runtime.errors import CaptureError
from runtime.sources import jpeg
from runtime.sources.depth import DepthRange
from runtime.sources.quiet import MAX_PIXELS
from runtime.sources.uri import image_files

logger = logging.getLogger(__name__)

Image: TypeAlias = npt.NDArray[np.uint8]

_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"
_MOST_UNREADABLE = 5  # pictures at a folder's beginning
_CRITICAL = frozenset(range(ord("A"), ord("Z") + 1))  # begins the name of a chunk that is needed


def read_image(path: Path) -> Image:
    """Return a picture as uint8 BGR (H, W, 3).

    Raises:
        CaptureError: It is missing, no picture, or not whole: OpenCV would fill the rest with grey.
    """
    data = _bytes_of(path)
    fault = fault_of(data)
    if fault:
        raise CaptureError(f"{path} is {fault}; copy it again or remove it")
    return _to_bgr(_decoded(data, path), DepthRange(str(path)))


def fault_of(data: bytes) -> str | None:
    """Return what is wrong with a picture file, as far as its bytes tell; None if nothing is known.

    Of JPEG and PNG they tell all; other kinds are refused by OpenCV if they are not whole.
    """
    if not data:
        return "empty (0 bytes)"
    if data.startswith(jpeg.START):
        return jpeg.fault_of(data) if jpeg.pixels_of(data) <= MAX_PIXELS else None
    return _png_fault(data) if data.startswith(_PNG) else None


def _png_fault(data: bytes) -> str | None:
    """Return whether a PNG file is cut off, or damaged by the check sums of its chunks."""
    at = len(_PNG)
    while at + 12 <= len(data):
        stop = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if stop > len(data):
            break
        check = int.from_bytes(data[stop - 4 : stop], "big")
        if data[at + 4] in _CRITICAL and zlib.crc32(memoryview(data)[at + 4 : stop - 4]) != check:
            return "damaged"
        if data[at + 4 : at + 8] == _PNG_END:
            return None
        at = stop
    return "cut off"


def _decoded(data: bytes, path: Path) -> Any:
    """Decode a picture file to BGR (H, W, 3) of its own depth.

    Raises:
        CaptureError: It is too large.
        _UnreadableError: It is no picture.
    """
    if _pixels_of(data) > MAX_PIXELS:
        raise _too_large(path)
    try:
        flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR
        pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if "MAX_IMAGE_PIXELS" in str(error):
            raise _too_large(path) from None
        pixels = None
    if pixels is None:
        raise _UnreadableError(f"{path} cannot be read as an image; replace or remove it")
    return pixels


def _to_bgr(pixels: Any, depth: DepthRange) -> Image:
    """Bring a picture to uint8 BGR (H, W, 3); `depth` is that of those that belong together."""
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    if not depth.whole and bool((pixels == pixels[..., :1]).all()):
        return depth.to_bgr(pixels[..., 0])
    if pixels.dtype != np.uint16 or depth.uses_part(pixels):
        return depth.to_bgr(pixels)
    return np.ascontiguousarray((pixels // 257).astype(np.uint8))


def _pixels_of(data: bytes) -> int:
    """Return the pixels that a PNG or JPEG file announces; 0 of others.

    OpenCV's own limit, which `quiet` sets for all kinds, holds only where cv2 was loaded after it.
    """
    if data.startswith(_PNG):
        return int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big")
    return jpeg.pixels_of(data) if data.startswith(jpeg.START) else 0


def _too_large(path: Path) -> CaptureError:
    return CaptureError(
        f"{path} has more than {MAX_PIXELS / 1e6:.0f} million pixels; make it smaller"
    )


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CaptureError(f"{path} cannot be read ({error.strerror})") from error


class _UnreadableError(CaptureError):
    """No picture, or of a kind that OpenCV does not know."""


class ImageFolder:
    """Read a folder of images as if it were a video file of constant rate.

    Attributes:
        damaged: Number of pictures that were left out so far, since they are not whole.
    """

    def __init__(self, folder: Path, fps: float) -> None:
        """List the images, without reading them."""
        self._files = image_files(folder)
        self._fps = fps
        self._next = 0
        self._data = b""
        self._pixels: Any = None  # of a file that only its decoder can judge
        self._depth = DepthRange(str(folder))
        self.damaged = 0

    def grab(self) -> bool:
        """Step to the next whole image; False after the last."""
        while self._next < len(self._files):
            self._next += 1
            fault = self._take(self._files[self._next - 1])
            if fault is None:
                return True
            self.damaged += 1
            logger.warning("%s: %s; left out", self._files[self._next - 1], fault)
        return False

    def _take(self, path: Path) -> str | None:
        """Read a file; return why it is no whole picture."""
        self._data, self._pixels = _bytes_of(path), None
        fault = fault_of(self._data)
        if fault:
            return f"the picture is {fault}"
        if not self._data.startswith((jpeg.START, _PNG)):
            try:
                self._pixels = _decoded(self._data, path)
            except _UnreadableError:
                if self._next - self.damaged == 1 and self._next >= _MOST_UNREADABLE:
                    raise  # a folder of a kind that OpenCV does not know
                return "cannot be read as an image"
        return None

    def retrieve(self) -> tuple[bool, Any]:
        """Decode the image.

        Raises:
            CaptureError: The file is whole, and of a kind that OpenCV does not know.
        """
        if self._pixels is None:
            self._pixels = _decoded(self._data, self._files[self._next - 1])
        return True, _to_bgr(self._pixels, self._depth)

    def get(self, prop: int, /) -> float:
        """Return position, rate or count."""
        if prop == cv2.CAP_PROP_POS_MSEC:
            return 1000.0 * (self._next - 1) / self._fps
        if prop == cv2.CAP_PROP_FPS:
            return self._fps
        return float(len(self._files)) if prop == cv2.CAP_PROP_FRAME_COUNT else 0.0

    def release(self) -> None:
        """Nothing is held."""
