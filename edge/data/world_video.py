"""A video file of the benchmark world, and what is true in it; OpenCV and NumPy only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from edge.data.mp4 import write_mp4
from edge.data.synthetic.video import Image, VideoFrame, render_video

SIZE_WH = (640, 360)
FPS = 30.0


def write_world_video(path: Path, *, seconds: float, seed: int) -> list[VideoFrame]:
    """Write a video of 640x360 at 30 fps, whole or not at all, and return its frames' truth.

    Args:
        path: An mp4 file; its folder is made.
        seconds: Length.
        seed: Which video.

    Returns:
        The frames in order, with their pictures let go of (of size 0).

    Raises:
        SinkError: The file cannot be written.
        ConfigError: A value is out of range.
    """
    frames = render_video(seed, seconds, SIZE_WH, FPS)
    truth: list[VideoFrame] = []

    def pictures() -> Iterator[Image]:
        for frame in frames:
            truth.append(replace(frame, image_bgr=frame.image_bgr[:0].copy()))
            yield frame.image_bgr

    write_mp4(path, pictures(), size_wh=SIZE_WH, fps=FPS)
    return truth
