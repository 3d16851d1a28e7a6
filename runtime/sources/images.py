"""Read picture files whole or not at all."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from runtime.errors import CaptureError
from runtime.sources.depth import DepthRange
from runtime.sources.quiet import MAX_PIXELS
from runtime.sources.uri import image_files

logger = logging.getLogger(__name__)

Image: TypeAlias = npt.NDArray[np.uint8]

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_MOST_SEGMENTS = 10_000  # before a JPEG's frame; real files have a dozen
_JPEG_SCAN, _JPEG_END, _PNG_END = b"\xff\xda", b"\xff\xd9", b"IEND"


def read_image(path: Path) -> Image:
    """Return a picture as uint8 BGR (H, W, 3).

    Raises:
        CaptureError: It is missing, no picture, or cut off: OpenCV would fill the rest with grey.
    """
    data = _bytes_of(path)
    if not is_whole(data):
        raise CaptureError(f"{path} is cut off; copy it again or remove it")
    return decode_image(data, path, DepthRange(str(path)))


def decode_image(data: bytes, path: Path, depth: DepthRange) -> Image:
    """Decode a picture file to uint8 BGR (H, W, 3).

    Args:
        data: The file's bytes.
        path: Its name, for messages.
        depth: Range of the pictures that belong together, where they have more than 8 bits.

    Raises:
        CaptureError: It is no picture, or too large a one.
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
        raise CaptureError(f"{path} cannot be read as an image; replace or remove it")
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    if pixels.dtype != np.uint16 or bool((pixels == pixels[..., :1]).all()):
        return depth.to_bgr(pixels[..., 0])
    return np.ascontiguousarray((pixels // 257).astype(np.uint8))


def _pixels_of(data: bytes) -> int:
    """Return the pixels that a PNG or JPEG file announces; 0 of others.

    OpenCV's own limit, which `quiet` sets for all kinds, holds only where cv2 was loaded after it.
    """
    if data.startswith(_PNG):
        return int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big")
    at = 2
    for _ in range(_MOST_SEGMENTS if data.startswith(_JPEG) else 0):
        if at + 9 > len(data):
            break
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # begins a frame
            return int.from_bytes(data[at + 5 : at + 7], "big") * int.from_bytes(
                data[at + 7 : at + 9], "big"
            )
        at += 1 if marker == 0xFF else 2 + length
    return 0


def _too_large(path: Path) -> CaptureError:
    return CaptureError(
        f"{path} has more than {MAX_PIXELS / 1e6:.0f} million pixels; make it smaller"
    )


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CaptureError(f"{path} cannot be read ({error.strerror})") from error


def is_whole(data: bytes) -> bool:
    """Tell whether a JPEG or PNG file has its end; True of other kinds, which OpenCV refuses."""
    if data.startswith(_JPEG):
        # Inside of a scan these two bytes do not occur; a thumbnail's end comes before it.
        return data.rfind(_JPEG_END) > data.rfind(_JPEG_SCAN) > 0
    return not data.startswith(_PNG) or _PNG_END in data[-64:]


class ImageFolder:
    """Read a folder of images as if it were a video file of constant rate.

    Attributes:
        damaged: Number of pictures that were left out so far, since they are cut off.
    """

    def __init__(self, folder: Path, fps: float) -> None:
        """List the images, without reading them."""
        self._files = image_files(folder)
        self._fps = fps
        self._next = 0
        self._data = b""
        self._depth = DepthRange(str(folder))
        self.damaged = 0

    def grab(self) -> bool:
        """Step to the next whole image; False after the last."""
        while self._next < len(self._files):
            self._next += 1
            path = self._files[self._next - 1]
            self._data = _bytes_of(path)
            if is_whole(self._data):
                return True
            self.damaged += 1
            logger.warning("%s: the picture is cut off; left out", path)
        return False

    def retrieve(self) -> tuple[bool, Any]:
        """Decode the image.

        Raises:
            CaptureError: The file is no image. It is not skipped: the clip would lack a moment.
        """
        return True, decode_image(self._data, self._files[self._next - 1], self._depth)

    def get(self, prop: int, /) -> float:
        """Return position, rate or count."""
        if prop == cv2.CAP_PROP_POS_MSEC:
            return 1000.0 * (self._next - 1) / self._fps
        if prop == cv2.CAP_PROP_FPS:
            return self._fps
        return float(len(self._files)) if prop == cv2.CAP_PROP_FRAME_COUNT else 0.0

    def release(self) -> None:
        """Nothing is held."""
