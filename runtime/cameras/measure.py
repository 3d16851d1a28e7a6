"""What a source really gives: rate, jitter, age, size, order of colours; and what a clip wants."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from runtime.errors import CaptureError, StaleFrameError
from runtime.sources import Frame, SourceConfig, open_source
from runtime.sources.frames import Image
from runtime.sources.grabber import Opener
from runtime.sources.opencv import open_capture
from runtime.types import ClipSpec

_LEAST_FRAMES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a source gave while it was watched.

    Attributes:
        source: The source, without a password.
        live: Whether frames come in their own time.
        announced_fps: What it says of its rate, None where it says nothing.
        frames: How many came.
        seconds: From the first to the last.
        fps: What it really gave: for a file by its own clock.
        jitter_ms: How far from the median 95 % of the intervals lie.
        longest_ms: The longest interval.
        age_ms: Median time from the driver to the reader; None for a file.
        size_wh: Width and height, pixels.
        gaps: Why frames did not belong together.
        colours: What is known of the order of colours.
        picture: The newest frame, BGR.
    """

    source: str
    live: bool
    announced_fps: float | None
    frames: int
    seconds: float
    fps: float
    jitter_ms: float
    longest_ms: float
    age_ms: float | None
    size_wh: tuple[int, int]
    gaps: tuple[str, ...]
    colours: str
    picture: Image


def measure_source(
    source: str | int | Path, *, seconds: float, config: SourceConfig | None = None,
    opener: Opener = open_capture,
) -> Measurement:  # fmt: skip
    """Read a source for some time, every frame.

    Args:
        source: Camera, stream, file or folder.
        seconds: How long; of a file, so much of its own time.
        config: How to open it.
        opener: How a capture is opened; tests put a scripted camera here.

    Raises:
        CaptureError: It cannot be opened, or gave fewer than three frames.
    """
    config = replace(config or SourceConfig(), live_queue=64, file_queue=8)
    times: list[float] = []
    ages: list[float] = []
    gaps: list[str] = []
    newest: Frame | None = None
    first: Frame | None = None
    with open_source(source, config, opener=opener) as opened:
        begun = time.perf_counter()
        while True:
            try:
                item = opened.read()
            except StaleFrameError as error:
                gaps.append(str(error))
                item = None
                if opened.live and time.perf_counter() - begun < seconds:
                    continue
            if item is None:
                break
            if not isinstance(item, Frame):
                gaps.append(item.reason)
                continue
            first, newest = first or item, item
            times.append(item.arrival if opened.live else item.t)
            ages.append((time.perf_counter() - item.arrival) * 1e3)
            if times[-1] - times[0] >= seconds:
                break
        live, announced, shown = opened.live, opened.fps, str(opened)
    if newest is None or first is None or len(times) < _LEAST_FRAMES:
        raise CaptureError(
            f"{shown}: {len(times)} frames came in {seconds:g} s; at least {_LEAST_FRAMES} are "
            "needed; is the camera on, and is --seconds long enough?"
        )
    steps = np.diff(times) * 1e3
    middle = statistics.median(steps.tolist())
    return Measurement(
        source=shown, live=live, announced_fps=announced, frames=len(times),
        seconds=times[-1] - times[0],
        fps=(len(times) - 1) / max(times[-1] - times[0], 1e-9),
        jitter_ms=float(np.percentile(np.abs(steps - middle), 95)),
        longest_ms=float(steps.max()),
        age_ms=statistics.median(ages) if live else None,
        size_wh=(newest.image_bgr.shape[1], newest.image_bgr.shape[0]),
        gaps=tuple(gaps),
        colours=colour_order(source, first.image_bgr),
        picture=newest.image_bgr,
    )  # fmt: skip


def colour_order(source: str | int | Path, first_bgr: Image) -> str:
    """Say whether a source's first frame is blue first, by a second reader where there is one."""
    path = Path(str(source))
    blue, green, red = (float(first_bgr[..., i].mean()) for i in range(3))
    means = f"mean red {red:.0f}, green {green:.0f}, blue {blue:.0f}"
    if not path.is_file():
        return f"not checked: a live source has no second reader ({means}); look at --picture"
    capture = cv2.VideoCapture(str(path))
    try:
        good, other = capture.read()
    finally:
        capture.release()
    if not good or other is None or other.shape != first_bgr.shape:
        return f"not checked: OpenCV's own reader gives no such frame ({means})"
    same = float(np.abs(first_bgr.astype(np.int16) - other).mean())
    swapped = float(np.abs(first_bgr[..., ::-1].astype(np.int16) - other).mean())
    if abs(same - swapped) < 1.0:
        return f"not known: the picture is nearly grey ({means})"
    if same < swapped:
        return f"blue first, as it must be; checked against OpenCV's own reader ({means})"
    return f"RED AND BLUE ARE EXCHANGED against OpenCV's own reader ({means})"


def advice(found: Measurement, clip: ClipSpec) -> list[str]:
    """Say what a clip wants of a source, and whether it gives that."""
    wanted = clip.fps / clip.sampling_rate
    lines = [
        f"the clip wants {clip.num_frames} samples, one each {clip.period_s * 1e3:.0f} ms "
        f"({wanted:.3g} a second), at {clip.width}x{clip.height}"
    ]
    if found.fps < wanted * 0.98:
        lines.append(
            f"TOO SLOW: {found.fps:.3g} fps; real frames will be repeated to fill the clip. Choose "
            f"a mode with {wanted:.3g} fps or more, and more light: cameras lengthen exposure"
        )
    else:
        lines.append(f"fast enough: one frame in {found.fps / wanted:.3g} is used")
    limit_ms = clip.period_s * 1e3
    if found.jitter_ms > limit_ms / 2 or found.longest_ms > 2 * limit_ms:
        lines.append(
            f"UNSTEADY: intervals differ by {found.jitter_ms:.0f} ms, the longest is "
            f"{found.longest_ms:.0f} ms; a busy USB bus or network does that"
        )
    width, height = found.size_wh
    if width * height > 4 * 1280 * 720:
        lines.append(
            f"{width}x{height} is more than the clip can use; a mode of 1280x720 is cheaper"
        )
    elif width < clip.width or height < clip.height:
        lines.append(f"TOO SMALL: {width}x{height} is enlarged to {clip.width}x{clip.height}")
    if found.live and found.age_ms is not None and found.age_ms > limit_ms:
        lines.append(f"OLD: a frame is {found.age_ms:.0f} ms old when it is read")
    lines += [f"gap: {reason}" for reason in dict.fromkeys(found.gaps)]
    return lines


def measured_rows(found: Measurement) -> Sequence[tuple[str, str]]:
    """Return name and text of each figure."""
    announced = "nothing" if found.announced_fps is None else f"{found.announced_fps:.3f} fps"
    age = "a file's frames wait" if found.age_ms is None else f"{found.age_ms:.1f} ms"
    return [
        ("source", f"{found.source}, {'live' if found.live else 'recorded'}"),
        ("size", f"{found.size_wh[0]}x{found.size_wh[1]}"),
        ("rate", f"{found.fps:.3f} fps of {found.frames} frames in {found.seconds:.2f} s "
                 f"(it says {announced})"),
        ("jitter", f"{found.jitter_ms:.1f} ms at 95 %, longest interval {found.longest_ms:.1f} ms"),
        ("age", age),
        ("colours", found.colours),
    ]  # fmt: skip
