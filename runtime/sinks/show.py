"""A window that shows the frames with what is found."""

from __future__ import annotations

import os
import sys

import cv2

from runtime.bundle import ClipSpec
from runtime.errors import BackendUnavailableError, ConfigError
from runtime.results import FrameStatus, KeyframeResult
from runtime.sinks.base import Sink
from runtime.sinks.draw import draw
from runtime.sinks.pairing import Pairing
from runtime.sources import Frame

TITLE = "bmvit-edge"
QUIT_KEYS = frozenset({ord("q"), 27})


def has_display() -> bool:
    """Tell whether a window can be opened here."""
    if sys.platform != "linux":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


class ShowSink(Sink):
    """Show every frame; `q`, Esc or closing the window sets `done`."""

    wants_frames = True

    def __init__(self, *, clip: ClipSpec, stride: int, trained: bool) -> None:
        """Check that there is a display.

        Args:
            clip: The bundle's sampling.
            stride: The runner's stride, frames at the bundle's fps.
            trained: The bundle's flag; false is written on every frame.

        Raises:
            ConfigError: There is no display.
        """
        if not has_display():
            raise ConfigError(
                "--show needs a display and neither DISPLAY nor WAYLAND_DISPLAY is set; leave it "
                "out, or use --save FILE.mp4"
            )
        self.done = False
        self._trained = trained
        self._pairing = Pairing(clip, stride)
        self._opened = False

    def frame(self, frame: Frame, status: FrameStatus) -> None:
        """Show what is settled.

        Raises:
            BackendUnavailableError: This OpenCV was built without windows.
        """
        for item in self._pairing.add_frame(frame, status):
            image = draw(
                item.frame.image_bgr, result=item.result, status=status, trained=self._trained
            )
            try:
                if not self._opened:
                    cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL)
                    cv2.resizeWindow(TITLE, min(image.shape[1], 1280), min(image.shape[0], 720))
                    self._opened = True
                cv2.imshow(TITLE, image)
                key = cv2.waitKey(1) & 0xFF
                closed = cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1
            except cv2.error as error:
                raise BackendUnavailableError(
                    f"--show: this OpenCV {cv2.__version__} opens no window (the headless package "
                    "has none); use --save FILE.mp4"
                ) from error
            self.done = self.done or closed or key in QUIT_KEYS

    def result(self, result: KeyframeResult) -> None:
        """Take a result for the frames that wait and follow."""
        self._pairing.add_result(result)

    def close(self, *, ok: bool) -> None:
        """Close the window."""
        if self._opened:
            cv2.destroyWindow(TITLE)
            self._opened = False
