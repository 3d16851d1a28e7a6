"""Pictures for clients: raw frames as JPEG, encoded once however many watch, and only then."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

import cv2

from runtime.sources import Frame, Image

logger = logging.getLogger(__name__)

QUALITY = 75


class FrameTaker(Protocol):
    """Where pictures go."""

    def frame(self, camera: str, jpeg: bytes, t: float) -> None:
        """Take a picture."""


def to_jpeg(image_bgr: Image, width: int | None = None, quality: int = QUALITY) -> bytes:
    """Encode a frame, made smaller where it is wider than `width` pixels."""
    height, own = image_bgr.shape[:2]
    if width is not None and own > width:
        size = (width, max(1, round(height * width / own)))
        # Means over areas take longer than the JPEG, except where areas are whole pixels.
        how = cv2.INTER_LINEAR if own % width else cv2.INTER_AREA
        image_bgr = cv2.resize(image_bgr, size, interpolation=how)
    ok, jpeg = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return jpeg.tobytes() if ok else b""


class Encoder(threading.Thread):
    """One thread for all cameras: of each it encodes the newest frame, one after the other."""

    def __init__(self, taker: FrameTaker, *, fps: float, width: int) -> None:
        """Begin; `start()` follows.

        Args:
            taker: Where pictures go.
            fps: Pictures a second at most, of each camera.
            width: Pixels at most.
        """
        super().__init__(name="pictures", daemon=True)
        self.encoded = 0
        self._taker, self._interval_s, self._width = taker, 1.0 / fps, width
        self._changed = threading.Condition()
        self._waiting: dict[str, Frame] = {}
        self._taken: dict[str, float] = {}
        self._stopping = False

    def offer(self, camera: str, frame: Frame) -> None:
        """Take a frame that somebody watches, unless the last one was just before it."""
        last = self._taken.get(camera)
        # A little early is in time: a camera's own rate must not become half of it.
        if last is not None and 0 <= frame.arrival - last < 0.8 * self._interval_s:
            return
        self._taken[camera] = frame.arrival
        with self._changed:
            self._waiting.pop(camera, None)
            self._waiting[camera] = frame
            self._changed.notify()

    def forget(self, camera: str) -> None:
        """Let go of a camera's frames."""
        with self._changed:
            self._waiting.pop(camera, None)
            self._taken.pop(camera, None)

    def stop(self) -> None:
        """Ask for the end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def run(self) -> None:
        """Encode until the end."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                if self._stopping:
                    return
                camera = next(iter(self._waiting))
                frame = self._waiting.pop(camera)
            try:
                jpeg = to_jpeg(frame.image_bgr, self._width)
            except cv2.error as error:
                logger.warning("camera %s: no picture: %s", camera, " ".join(str(error).split()))
                continue
            self.encoded += 1
            self._taker.frame(camera, jpeg, frame.t)
