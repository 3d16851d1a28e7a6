"""A camera that plays a script, in place of OpenCV's reader."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np

from runtime.errors import CaptureError
from runtime.sources import SourceConfig, SourceUri


class FakeCapture:
    """A camera that plays a script: a size is a frame, "lost" ends it, a number waits, seconds."""

    def __init__(
        self, script: Iterable[Any], *, fps: float = 30.0, times: list[float] | None = None
    ) -> None:
        self._script = iter(script)
        self._times = iter(times or itertools.count(0, 1 / fps))
        self._fps = fps
        self._position = 0.0
        self._frame: Any = None
        self.released = False
        self.retrieved = 0

    def grab(self) -> bool:
        step = next(self._script, "lost")
        while isinstance(step, float):
            time.sleep(step)
            step = next(self._script, "lost")
        if step == "lost":
            return False
        self._frame = step
        self._position = next(self._times)
        return True

    def retrieve(self) -> tuple[bool, Any]:
        self.retrieved += 1
        if isinstance(self._frame, tuple):
            width, height = self._frame
            return True, np.full((height, width, 3), 7, np.uint8)
        return True, self._frame

    def get(self, prop: int, /) -> float:
        if prop == cv2.CAP_PROP_POS_MSEC:
            return self._position * 1000
        return self._fps if prop == cv2.CAP_PROP_FPS else 0.0

    def release(self) -> None:
        self.released = True


class FakeCamera:
    """Open one scripted capture after the other; a string in place of a script refuses to open."""

    def __init__(self, *scripts: Iterable[Any] | str, **kwargs: Any) -> None:
        self.captures: list[FakeCapture] = []
        self.opened = 0
        self._scripts = list(scripts)
        self._kwargs = kwargs

    def __call__(self, uri: SourceUri, config: SourceConfig) -> FakeCapture:
        self.opened += 1
        script = self._scripts.pop(0) if self._scripts else "no such camera"
        if isinstance(script, str):
            raise CaptureError(script)
        self.captures.append(FakeCapture(script, **self._kwargs))
        return self.captures[-1]


def steady(count: int, size_wh: tuple[int, int], *, fps: float) -> Iterator[Any]:
    """Return the script of a camera that gives `count` frames at a steady rate."""
    for _ in range(count):
        yield 1 / fps
        yield size_wh
