"""Read one clip of a video file by time, without torch.

A clip is `num_frames` samples, `period_s` apart, with the keyframe (sample `num_frames // 2`) at
the asked time. Each sample is the frame whose time stamp is nearest: frames are never counted, so a
video of another or of a varying rate gives the same moments. Calibration and training read through
this module and resize with the device's own filter.

A live clip has no sample before the first frame: the runtime waits until a clip is whole. Labels
also stand at the ends of a video, so where `clamp` is asked for, the first and the last frame are
repeated there, as the runtime repeats the newest frame of a source that is late.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from runtime.errors import CaptureError
from runtime.preprocess import resize_reference
from runtime.sources.opencv import count_frames, damaged_frames, open_file

Frame = npt.NDArray[np.uint8]

VIDEO_SUFFIXES = frozenset(
    {
        ".mp4",
        ".avi",
        ".mkv",
        ".mov",
        ".webm",
        ".m4v",
        ".mpg",
        ".mpeg",
        ".ts",
        ".wmv",
        ".flv",
        ".m2ts",
        ".mts",
        ".3gp",
        ".ogv",
        ".vob",
        ".dv",
        ".h264",
        ".264",
        ".h265",
        ".265",
        ".hevc",
        ".mjpeg",
        ".mjpg",
        ".gif",
    }
)
# How far before the first sample a seek aims: decoders land on a keyframe near it, not on it.
_SEEK_MARGIN_S = 1.0
_SEEK_MARGINS_S = (_SEEK_MARGIN_S, 10.0)
# Counting so many frames costs about as much as a seek.
_COUNTED_FRAMES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """What a video file says about itself.

    Attributes:
        path: The file.
        duration_s: Length, seconds, from the container's frame count and rate.
        fps: Nominal rate, frames per second.
        size_wh: Width and height, px.
    """

    path: Path
    duration_s: float
    fps: float
    size_wh: tuple[int, int]


def find_videos(folder_or_file: Path) -> list[Path]:
    """Return the video files of a folder and of the folders in it, by name; or the one file."""
    if folder_or_file.is_file():
        return [folder_or_file]
    paths = (p for p in folder_or_file.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
    return sorted(p for p in paths if p.is_file())


def probe_video(path: Path) -> VideoInfo:
    """Open a video, decode its first frame, and say how long it is.

    Raises:
        CaptureError: It is missing, empty, no video, or does not say how long it is.
    """
    capture = _open(path)
    try:
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        count = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        good, frame = capture.read()
    finally:
        capture.release()
    if not good or frame is None:
        raise CaptureError(f"{path} opens, but its first frame cannot be decoded")
    if not (math.isfinite(fps) and fps > 0):
        raise CaptureError(f"{path} says {fps} frames per second; expected above 0")
    if not (math.isfinite(count) and count > 0):
        count = count_frames(path)  # raw and live recordings do not say it
    height, width = frame.shape[:2]
    return VideoInfo(path=path, duration_s=count / fps, fps=fps, size_wh=(width, height))


def sample_times(centre_s: float, *, num_frames: int, period_s: float) -> list[float]:
    """Return the time of each sample of a clip, seconds; the keyframe is at `centre_s`."""
    return [centre_s + (index - num_frames // 2) * period_s for index in range(num_frames)]


def read_clip(
    path: Path, centre_s: float, *, num_frames: int, period_s: float, clamp: bool = False
) -> list[Frame]:
    """Read the frames nearest to each sample time.

    Args:
        path: Video file.
        centre_s: Time of the keyframe, seconds from the first frame.
        num_frames: Samples of the clip.
        period_s: Seconds from one sample to the next.
        clamp: Repeat the first and the last frame where the clip reaches beyond the video; the
            keyframe itself must lie in it.

    Returns:
        `num_frames` frames (Hs, Ws, 3) uint8 BGR; a frame that is nearest twice comes twice.

    Raises:
        CaptureError: The video cannot be read, or has no frame near one of the times.
    """
    times = sample_times(centre_s, num_frames=num_frames, period_s=period_s)
    keyframe = num_frames // 2 if clamp else None
    frames = None
    for margin in _SEEK_MARGINS_S:
        start = times[0] - margin
        # Where a seek landed behind the first sample, one further back may not; else read it all.
        frames = _read_from(path, start, times, keyframe)
        if frames is not None or start <= 0:
            break
    if frames is None:
        frames = _read_from(path, None, times, keyframe)
    if frames is None or len(frames) < len(times):
        raise CaptureError(
            f"{path} has no frames around {times[0]:.2f} s to {times[-1]:.2f} s; it is shorter "
            "than it says, or damaged there"
        )
    return frames


def _read_from(
    path: Path, start_s: float | None, times: Sequence[float], keyframe: int | None
) -> list[Frame] | None:
    """Seek once and choose frames; None where the seek led too far. None for start: no seek."""
    capture = _open(path)
    try:
        if start_s is not None and start_s > 0:
            capture.set(cv2.CAP_PROP_POS_MSEC, start_s * 1000.0)
        return _nearest(_stamped(capture), times, from_start=start_s is None, keyframe=keyframe)
    finally:
        capture.release()


def read_numbered(path: Path, numbers: Sequence[int], *, keyframe: int) -> list[Frame]:
    """Read frames by their number, as an annotation counts them that was made on single frames.

    Args:
        path: Video file.
        numbers: Numbers from 0, ascending; one may stand there several times.
        keyframe: Which of them must be there; behind it the last frame that there is will do.

    Returns:
        One frame (Hs, Ws, 3) uint8 BGR for each number.

    Raises:
        CaptureError: The video cannot be read, or ends before its keyframe.
    """
    capture = _open(path)
    try:
        number = _skip_to(capture, numbers[0])
        if number < 0:
            capture.release()
            capture = _open(path)
            number = 0
        found = _counted(capture, number, numbers, keyframe)
    finally:
        capture.release()
    if len(found) <= keyframe:
        raise CaptureError(
            f"{path} has no frame {numbers[len(found)]} that can be decoded; it is shorter than "
            "its annotation says, or damaged there"
        )
    return found + [found[-1]] * (len(numbers) - len(found))


def _counted(capture: Any, number: int, numbers: Sequence[int], keyframe: int) -> list[Frame]:
    """Count frames from `number` on and choose; the last one decoded ends a list that is short."""
    found: list[Frame] = []
    newest: Frame | None = None
    damaged = damaged_frames(capture)
    while len(found) < len(numbers) and capture.grab():
        # Frames that were left out have numbers, too.
        number += damaged_frames(capture) - damaged
        damaged = damaged_frames(capture)
        wanted = numbers[len(found)]
        if number == wanted or len(found) > keyframe:
            good, frame = capture.retrieve()
            newest = frame if good else newest
            while good and len(found) < len(numbers) and numbers[len(found)] == number:
                found.append(frame)
        number += 1
    if keyframe < len(found) < len(numbers) and newest is not None:
        found.append(newest)
    return found


def _skip_to(capture: Any, number: int) -> int:
    """Seek near a far frame; return the number of the frame that comes next, -1 if unknown.

    Only a stamp that confirms it makes a seek by number trustworthy, and a near frame is counted
    to as fast.
    """
    if number < _COUNTED_FRAMES:
        return 0
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    start = number - _COUNTED_FRAMES // 4
    if not (math.isfinite(fps) and fps > 0 and capture.set(cv2.CAP_PROP_POS_FRAMES, start)):
        return -1
    if not capture.grab():
        return -1
    at = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000.0 * fps
    return start + 1 if abs(at - start) < 0.25 else -1


def read_resized_clip(
    path: Path,
    centre_s: float,
    *,
    num_frames: int,
    period_s: float,
    height: int,
    width: int,
    clamp: bool = False,
) -> npt.NDArray[np.uint8]:
    """Read a clip and resize it as the device does; (T, height, width, 3) uint8 RGB.

    Raises:
        CaptureError: As `read_clip`.
    """
    frames = read_clip(path, centre_s, num_frames=num_frames, period_s=period_s, clamp=clamp)
    return resize_frames(frames, height, width)


def resize_frames(frames: Sequence[Frame], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Resize BGR frames to (T, height, width, 3) uint8 RGB; a frame given twice is resized once."""
    done: dict[int, Frame] = {}
    for frame in frames:
        if id(frame) not in done:
            done[id(frame)] = _resize(frame, height, width)[:, :, ::-1]
    return np.ascontiguousarray(np.stack([done[id(frame)] for frame in frames]))


def resize_rgb(frames: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Resize (T, Hs, Ws, 3) uint8 as the device does; the order of channels stays."""
    if frames.shape[1:3] == (height, width):
        return frames  # the filter's weights are then 1: the same bytes
    return np.stack([_resize(np.ascontiguousarray(frame), height, width) for frame in frames])


def _resize(frame: Frame, height: int, width: int) -> Frame:
    """Resize with the native twin where it is built: the same to the bit, ten times faster."""
    try:
        from runtime._native import Preprocess
    except ImportError:
        return resize_reference(frame, height, width)
    resized: Frame = Preprocess(height, width, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)).resize(frame)
    return resized


def _open(path: Path) -> Any:
    if not path.is_file():
        raise CaptureError(f"no video file at {path}")
    if path.stat().st_size == 0:
        raise CaptureError(f"{path} is empty (0 bytes)")
    return open_file(path)


def _stamped(capture: Any) -> Iterator[tuple[float, Any]]:
    """Grab frame by frame; yield each time in seconds, and the capture to retrieve it from."""
    while capture.grab():
        yield float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000.0, capture


def _nearest(
    stamped: Iterator[tuple[float, Any]],
    times: Sequence[float],
    *,
    from_start: bool = False,
    keyframe: int | None = None,
) -> list[Frame] | None:
    """Choose for each time the nearest frame; None where the stream began too late for the first.

    A time up to a second before the first frame, or one interval between frames behind the last,
    takes that frame; where a keyframe is named, any time does for which that one is no further.
    """
    chosen: list[Frame] = []
    before: tuple[float, Frame] | None = None
    last = interval = math.inf
    for t, capture in stamped:
        if last == math.inf and t > max(times[0], 1e-6) and not from_start:
            return None
        if t <= last < math.inf:
            continue  # a stamp that does not rise says nothing
        interval, last = (t - last if last < math.inf else interval), t
        if t < times[0] - _SEEK_MARGIN_S:
            continue  # decoded for the ones behind it only; not worth a conversion to BGR
        good, frame = capture.retrieve()
        if not good:
            continue
        while len(chosen) < len(times) and times[len(chosen)] <= t:
            wanted = times[len(chosen)]
            must_be_near = keyframe is None or len(chosen) >= keyframe
            if before is None and t - wanted > _SEEK_MARGIN_S and must_be_near:
                return None
            nearer = before is not None and wanted - before[0] <= t - wanted
            chosen.append(before[1] if before is not None and nearer else frame)
        before = (t, frame)
        if len(chosen) == len(times):
            return chosen
    end = (before[0] if before else 0.0) + (1.5 * interval if math.isfinite(interval) else 0.0)
    if keyframe is not None and times[keyframe] <= end:
        end = math.inf
    while before is not None and len(chosen) < len(times) and times[len(chosen)] <= end:
        chosen.append(before[1])
    return chosen
