"""Frames of a video at even times: those that a clip's keyframe at such a time would show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2

from edge.data.media import Media, nearest_number
from edge.labelling.detectors import Image
from runtime.errors import CaptureError
from runtime.sources.images import read_image
from runtime.sources.opencv import open_file


def sampled_frames(media: Media, every_s: float) -> Iterator[Image]:
    """Decode a video once and give the frame nearest to 0, `every_s`, 2 `every_s`, ... seconds.

    The same array comes again where one frame is nearest to several times.

    Raises:
        CaptureError: It cannot be opened, or no frame can be decoded.
    """
    if media.numbering is not None:
        yield from _pictures(media, every_s)
        return
    capture = open_file(media.path)
    try:
        yield from _from_file(media, capture, every_s)
    finally:
        capture.release()


def frame_times(media: Media) -> list[float]:
    """Return when each frame of a video is shown, seconds, by the file's own stamps.

    The mean rate does not say it: encoders leave frames out where little moves.
    """
    if media.numbering is not None:
        return [number / media.fps for number in range(media.num_frames)]
    capture = open_file(media.path)
    times: list[float] = []
    try:
        while capture.grab():
            times.append(float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000.0)
    finally:
        capture.release()
    return times


def _from_file(media: Media, capture: Any, every_s: float) -> Iterator[Image]:
    count = 0
    interval = 1.0 / media.fps
    before: tuple[float, Image] | None = None
    while capture.grab():
        t = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000.0
        if before is not None and t <= before[0]:
            continue  # a stamp that does not rise says nothing
        good, frame = capture.retrieve()
        if not good or frame is None:
            continue
        while count * every_s <= t:
            wanted = count * every_s
            nearer = before is not None and wanted - before[0] <= t - wanted
            yield before[1] if before is not None and nearer else frame
            count += 1
        before = (t, frame)
    if before is None:
        raise CaptureError(f"{media.path} has no frame that can be decoded")
    if count * every_s <= before[0] + interval / 2:
        yield before[1]


def _pictures(media: Media, every_s: float) -> Iterator[Image]:
    assert media.numbering is not None
    count, last = 0, -1
    frame: Image | None = None
    while count * every_s <= (media.num_frames - 0.5) / media.fps:
        number = nearest_number(count * every_s * media.fps, media.num_frames)
        if number != last:
            path = media.path / media.numbering.name(number)
            frame = read_image(path)
            last = number
        assert frame is not None
        yield frame
        count += 1
