"""Open OpenCV's readers, with time-outs, without their noise, and with errors that help."""

from __future__ import annotations

import functools
import logging
import math
import os
from pathlib import Path
from typing import Any, Protocol

import cv2

from runtime.errors import BackendUnavailableError, CaptureError
from runtime.secrets import redact
from runtime.sources.diagnose import why_not_a_video
from runtime.sources.ffmpeg import FFmpegCapture, NoVideoError, has_pyav
from runtime.sources.frames import SourceConfig
from runtime.sources.images import ImageFolder
from runtime.sources.names import shown_name, text_for_opencv
from runtime.sources.uri import SourceUri, csi_pipeline

logger = logging.getLogger(__name__)

CSI_SIZE_WH = (1280, 720)
CSI_FPS = 30.0
MAX_FPS = 1000.0


class Capture(Protocol):
    """The part of `cv2.VideoCapture` that is used; a folder and a test's camera have it, too."""

    def grab(self) -> bool:
        """Take the next frame from the driver, without converting it."""

    def retrieve(self) -> tuple[bool, Any]:
        """Convert the frame last taken to uint8 BGR (H, W, 3)."""

    def get(self, prop: int, /) -> float:
        """Return a `cv2.CAP_PROP_*` value."""

    def release(self) -> None:
        """Let go of the device or file."""


def open_capture(uri: SourceUri, config: SourceConfig) -> Capture:
    """Open a source once, without a retry.

    Args:
        uri: What to open.
        config: Time-outs and what to ask of a camera.

    Returns:
        A reader that is open; no frame has been taken yet.

    Raises:
        CaptureError: It cannot be opened.
        BackendUnavailableError: A CSI camera, and OpenCV without GStreamer.
    """
    if uri.kind == "images":
        return ImageFolder(Path(uri.target), config.image_fps)
    if uri.kind == "camera":
        return _open_camera(uri, config)
    if uri.kind == "csi":
        return _open_csi(uri, config)
    if uri.kind == "file":
        file: Capture = open_file(Path(uri.target))
        return file
    return _open_stream(uri, config)


def damaged_frames(capture: Capture) -> int:
    """Return how many frames a reader left out since they were damaged, where it can tell."""
    return int(getattr(capture, "damaged", 0))


def has_gstreamer() -> bool:
    """Tell whether this OpenCV was built with GStreamer."""
    lines = cv2.getBuildInformation().splitlines()
    return any(line.strip().startswith("GStreamer:") and "YES" in line for line in lines)


def frames_per_second(capture: Capture) -> float | None:
    """Return the rate a reader states, or None where it states nothing a video can have."""
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if math.isfinite(fps) and 0 < fps <= MAX_FPS else None


def frame_count(capture: Capture) -> int | None:
    """Return how many frames a reader announces, or None for a stream without an end."""
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(count) if math.isfinite(count) and count > 0 else None


def count_frames(path: Path) -> int:
    """Decode a whole video file and return how many frames it has.

    Raises:
        CaptureError: It cannot be opened.
    """
    capture = open_file(path)
    try:
        count = 0
        while capture.grab():
            count += 1
        return count + damaged_frames(capture)
    finally:
        capture.release()


def position_s(capture: Capture) -> float:
    """Return the media time of the frame last grabbed, seconds; NaN where the file gives none.

    OpenCV's readers say 0 there. So of their zeros none is believed: the first frame of a second
    recording in one file is counted to the first. A reader that can tell has `time_s`.
    """
    if hasattr(capture, "time_s"):
        return float(capture.time_s())
    return capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0 or math.nan


def _checked(capture: Any, message: str) -> Capture:
    if not capture.isOpened():
        capture.release()
        raise CaptureError(message)
    opened: Capture = capture
    return opened


def _open_camera(uri: SourceUri, config: SourceConfig) -> Capture:
    numbered = uri.target.isdigit()
    device = Path(f"/dev/video{uri.target}" if numbered else uri.target)
    if Path("/dev").is_dir() and not device.exists():
        found = " ".join(sorted(str(p) for p in Path("/dev").glob("video*"))) or "none"
        raise CaptureError(f"{uri.shown}: there is no {device}; cameras found: {found}")
    target: int | str = int(uri.target) if numbered else uri.target
    capture = cv2.VideoCapture(target, cv2.CAP_V4L2)
    message = (
        f"{uri.shown}: {device} cannot be opened; it may be in use by another program, be no "
        "capture device, or need the user to be in the group 'video'"
    )
    _checked(capture, message)
    if config.size_wh is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, config.size_wh[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, config.size_wh[1])
        got = tuple(int(capture.get(p)) for p in (3, 4))
        if got != config.size_wh:
            capture.release()
            raise CaptureError(f"{uri.shown}: asked for {config.size_wh} pixels, it gives {got}")
    if config.camera_fps is not None:
        capture.set(cv2.CAP_PROP_FPS, config.camera_fps)
    # A driver queue adds a frame of age per slot. Drivers may refuse; the grabber thread empties
    # the queue anyway.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


def _open_csi(uri: SourceUri, config: SourceConfig) -> Capture:
    if not has_gstreamer():
        raise BackendUnavailableError(
            f"{uri.shown}: a CSI camera needs OpenCV with GStreamer, and this OpenCV "
            f"{cv2.__version__} is built without it; use the system's OpenCV (on a Jetson: "
            "python3-opencv of JetPack) and look for 'GStreamer: YES' in "
            'python -c "import cv2; print(cv2.getBuildInformation())"'
        )
    pipeline = csi_pipeline(
        int(uri.target),
        size_wh=config.size_wh or CSI_SIZE_WH,
        fps=config.camera_fps or CSI_FPS,
    )
    return _checked(
        cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER),
        f"{uri.shown}: the pipeline does not start; try it by hand: gst-launch-1.0 {pipeline}",
    )


def open_file(path: Path) -> Any:
    """Open a video file: with PyAV where it is installed, else with OpenCV.

    Returns:
        An open reader with `cv2.VideoCapture`'s methods; no frame has been taken yet.

    Raises:
        CaptureError: It cannot be opened, or its name cannot be handed to OpenCV.
    """
    shown = shown_name(path)
    if has_pyav():
        try:
            return FFmpegCapture(str(path), shown=shown)
        except NoVideoError as error:
            raise CaptureError(
                f"{shown} holds sound and no video; name a file with video"
            ) from error
        except (OSError, ValueError) as error:
            logger.debug("%s: %s", shown, error)
            raise CaptureError(f"{shown}: cannot be opened: {why_not_a_video(path)}") from error
    _say_once(
        "PyAV is not installed: OpenCV reads video files, and cannot tell interlaced frames, a "
        "change of size or damage (pip install av)"
    )
    capture = cv2.VideoCapture(text_for_opencv(path), cv2.CAP_FFMPEG)
    # Versions differ in what they do unasked (opencv#26795).
    if capture.isOpened() and capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1):
        return capture
    if capture.isOpened():
        return capture
    raise CaptureError(f"{shown}: cannot be opened: {why_not_a_video(path)}")


@functools.cache
def _say_once(text: str) -> None:
    logger.warning("%s", text)


def _open_stream(uri: SourceUri, config: SourceConfig) -> Capture:
    message = (
        f"{uri.shown}: nobody serves this stream (tried for at most {config.open_timeout_s:g} s); "
        "check address, port and password, and that the camera is on"
    )
    if has_pyav():
        try:
            return FFmpegCapture(
                uri.target, shown=uri.shown, live=True, open_timeout_s=config.open_timeout_s,
                read_timeout_s=config.read_timeout_s,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            logger.debug("%s: %s", uri.shown, redact(str(error)))
            raise CaptureError(message) from error
    # UDP loses packets under load and then shows torn frames; FFmpeg takes the option from here
    # only. A user who set the variable knows better.
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")
    timeouts = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        max(1, round(config.open_timeout_s * 1000)),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        max(1, round(config.read_timeout_s * 1000)),
    ]
    return _checked(cv2.VideoCapture(uri.target, cv2.CAP_FFMPEG, timeouts), message)
