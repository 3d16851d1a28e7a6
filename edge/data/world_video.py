"""A video file of the benchmark world, and what is true in it; OpenCV and NumPy only."""

from __future__ import annotations

from pathlib import Path

import cv2

import runtime.sources.quiet  # noqa: F401  (FFmpeg would name each encoder that is not here)
from edge.data.synthetic.video import VideoFrame, render_video
from runtime.errors import SinkError

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
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}.part{path.suffix}")
    writer = cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*"mp4v"), FPS, SIZE_WH)
    if not writer.isOpened():
        raise SinkError(f"{path} cannot be written as mp4; check the folder and OpenCV's FFmpeg")
    truth = []
    try:
        for frame in frames:
            writer.write(frame.image_bgr)
            truth.append(
                VideoFrame(
                    image_bgr=frame.image_bgr[:0],
                    t=frame.t,
                    actors=frame.actors,
                    bystanders=frame.bystanders,
                )
            )
    finally:
        writer.release()
    part.replace(path)
    return truth
