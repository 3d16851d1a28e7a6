"""Write drawn frames as an mp4; OpenCV only."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

import runtime.sources.quiet  # noqa: F401  (FFmpeg would name each encoder that is not here)
from runtime.errors import SinkError
from runtime.outputs import atomic_file


def write_mp4(
    path: Path, frames_bgr: Iterable[npt.NDArray[np.uint8]], *, size_wh: tuple[int, int], fps: float
) -> int:
    """Write a video, whole or not at all, and return its number of frames.

    Args:
        path: Of the file; its folder is made.
        frames_bgr: uint8 (H, W, 3), made as they are written.
        size_wh: Their width and height.
        fps: Frames per second.

    Raises:
        SinkError: The file cannot be written.
    """
    count = 0
    with atomic_file(path) as part:
        writer = cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*"mp4v"), fps, size_wh)
        if not writer.isOpened():
            raise SinkError(f"{path} cannot be written as mp4; check its name and OpenCV's FFmpeg")
        try:
            for frame in frames_bgr:
                writer.write(frame)
                count += 1
        finally:
            writer.release()
    return count
