"""Open OpenCV's readers, with time-outs, without their noise, and with errors that help."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, Protocol

import cv2

from runtime.errors import BackendUnavailableError, CaptureError
from runtime.sources.diagnose import why_not_a_video
from runtime.sources.frames import SourceConfig
from runtime.sources.uri import SourceUri, csi_pipeline, image_files

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


class ImageFolder:
    """Read a folder of images as if it were a video file of constant rate."""

    def __init__(self, folder: Path, fps: float) -> None:
        """List the images, without reading them."""
        self._files = image_files(folder)
        self._fps = fps
        self._next = 0

    def grab(self) -> bool:
        """Step to the next image; False after the last."""
        self._next += 1
        return self._next <= len(self._files)

    def retrieve(self) -> tuple[bool, Any]:
        """Read the image.

        Raises:
            CaptureError: The file is no image. It is not skipped: the clip would lack a moment.
        """
        path = self._files[self._next - 1]
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise CaptureError(f"{path}: cannot be read as an image; replace or remove it")
        return True, image

    def get(self, prop: int, /) -> float:
        """Return position, rate or count."""
        if prop == cv2.CAP_PROP_POS_MSEC:
            return 1000.0 * (self._next - 1) / self._fps
        if prop == cv2.CAP_PROP_FPS:
            return self._fps
        return float(len(self._files)) if prop == cv2.CAP_PROP_FRAME_COUNT else 0.0

    def release(self) -> None:
        """Nothing is held."""


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
        return _open_file(uri)
    return _open_stream(uri, config)


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


def position_s(capture: Capture) -> float:
    """Return the media time of the frame last grabbed, seconds."""
    return capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0


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


def _open_file(uri: SourceUri) -> Capture:
    capture = cv2.VideoCapture(uri.target, cv2.CAP_FFMPEG)
    if capture.isOpened():
        opened: Capture = capture
        return opened
    raise CaptureError(f"{uri.shown}: cannot be opened: {why_not_a_video(Path(uri.target))}")


def _open_stream(uri: SourceUri, config: SourceConfig) -> Capture:
    # UDP loses packets under load and then shows torn frames; FFmpeg takes the option from here
    # only. A user who set the variable knows better.
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")
    timeouts = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        max(1, round(config.open_timeout_s * 1000)),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        max(1, round(config.read_timeout_s * 1000)),
    ]
    return _checked(
        cv2.VideoCapture(uri.target, cv2.CAP_FFMPEG, timeouts),
        f"{uri.shown}: nobody serves this stream (tried for at most {config.open_timeout_s:g} s); "
        "check address, port and password, and that the camera is on",
    )
