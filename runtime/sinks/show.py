"""A window that shows the frames with what is found."""

from __future__ import annotations

import os
import socket
import sys

import cv2

from runtime.errors import BackendUnavailableError, ConfigError
from runtime.results import FrameStatus, KeyframeResult
from runtime.sinks.base import Sink
from runtime.sinks.draw import draw
from runtime.sinks.pairing import Pairing
from runtime.sources import Frame
from runtime.types import ClipSpec

TITLE = "bmvit-edge"
X_PORT = 6000
QUIT_KEYS = frozenset({ord("q"), 27})


def has_display() -> bool:
    """Tell whether a window can be opened here: on Linux, whether a display server answers.

    A variable alone is not enough: Qt ends the whole process when nobody is at the display.
    """
    if sys.platform != "linux":
        return True
    return _answers(os.environ.get("DISPLAY", "")) or _wayland()


def _answers(display: str) -> bool:
    """Try to reach an X server: `:0` on this machine, `host:0` over the network."""
    host, separator, number = display.rpartition(":")
    number = number.partition(".")[0]
    if not separator or not number.isdigit():
        return False
    if host and host != "unix":
        try:
            socket.create_connection((host, X_PORT + int(number)), timeout=1.0).close()
        except OSError:
            return False
        return True
    path = f"/tmp/.X11-unix/X{number}"
    # Linux X servers also listen on the abstract name; in a container only one may be there.
    return _connects(path) or _connects(f"\0{path}")


def _wayland() -> bool:
    name = os.environ.get("WAYLAND_DISPLAY", "")
    folder = os.environ.get("XDG_RUNTIME_DIR", "")
    return bool(name) and _connects(name if name.startswith("/") else f"{folder}/{name}")


def _connects(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


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
            display = os.environ.get("DISPLAY", "")
            raise ConfigError(
                f"--show needs a display and none answers (DISPLAY is {display!r}); "
                "leave it out, or use --save FILE.mp4"
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
