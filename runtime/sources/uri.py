"""Tell from what the user wrote which kind of source is meant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from runtime.errors import CaptureError, ConfigError
from runtime.secrets import redact
from runtime.sources.names import badly_encoded, shown_name

Kind = Literal["camera", "csi", "stream", "http", "file", "images"]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"})
STREAM_SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "rtp", "udp", "tcp", "srt"})
KNOWN = (
    "a camera number such as 0, v4l2:///dev/video0, csi://0, rtsp://host/path, "
    "http(s)://..., a video file, or a folder of images"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceUri:
    """A source, understood.

    Attributes:
        kind: What has to be opened.
        target: Camera number, device path, address, file or folder, as text.
        shown: The same for messages, without a password.
    """

    kind: Kind
    target: str
    shown: str

    @property
    def live(self) -> bool:
        """Tell whether frames come in their own time (http is decided when it is open)."""
        return self.kind in ("camera", "csi", "stream", "http")


def parse_uri(source: str | int | Path) -> SourceUri:
    """Understand a source; files and folders must exist.

    Args:
        source: What the user gave.

    Returns:
        The kind of source and where it is.

    Raises:
        ConfigError: The scheme is not known, or the text is empty.
        CaptureError: The file or folder does not exist, or holds nothing to read.
    """
    text = str(source)
    if not text.strip():
        raise ConfigError(f"--source is empty; give {KNOWN}")
    if not _is_there(text):
        text = text.strip()  # a name may end with a space, but what was typed seldom does
    numbered = re.fullmatch(r"\d{1,4}", text) is not None
    if numbered and (Path(f"/dev/video{int(text)}").exists() or not _is_there(text)):
        return SourceUri(kind="camera", target=text, shown=f"camera {text}")
    scheme, separator, rest = text.partition("://")
    if separator:
        return _parse_scheme(text, scheme.lower(), rest)
    if text.startswith("/dev/video"):
        return SourceUri(kind="camera", target=text, shown=f"camera {text}")
    return _parse_path(Path(text))


def csi_pipeline(sensor: int, *, size_wh: tuple[int, int], fps: float) -> str:
    """Return the GStreamer pipeline of a Jetson's CSI camera.

    `nvarguscamerasrc` gives NV12 in the GPU's memory; `nvvidconv` brings it out as BGRx, the
    nearest to OpenCV's BGR that it knows. `drop` and `max-buffers` keep only the newest frame.

    Args:
        sensor: Number of the sensor, 0 for the first.
        size_wh: Width and height asked of the sensor, pixels.
        fps: Frames per second asked of the sensor.

    Returns:
        The text for `cv2.VideoCapture(text, cv2.CAP_GSTREAMER)`.
    """
    width, height = size_wh
    rate = round(fps * 1000)
    fraction = f"{rate // 1000}/1" if rate % 1000 == 0 else f"{rate}/1000"
    return (
        f"nvarguscamerasrc sensor-id={sensor} ! "
        f"video/x-raw(memory:NVMM), width=(int){width}, height=(int){height}, "
        f"format=(string)NV12, framerate=(fraction){fraction} ! "
        "nvvidconv ! video/x-raw, format=(string)BGRx ! "
        "videoconvert ! video/x-raw, format=(string)BGR ! "
        "appsink drop=true max-buffers=1 sync=false"
    )


def image_files(folder: Path) -> list[Path]:
    """Return a folder's images in natural order: `img_2.jpg` before `img_10.jpg`."""
    files = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    return sorted(files, key=_natural)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(p), p) if p.isdigit() else (1, 0, p.lower()) for p in parts if p]


def _parse_scheme(text: str, scheme: str, rest: str) -> SourceUri:
    shown = redact(text)
    if scheme == "v4l2":
        if not rest.startswith("/"):
            raise ConfigError(
                f"--source {shown}: write the device's path, as in v4l2:///dev/video0"
            )
        return SourceUri(kind="camera", target=rest, shown=f"camera {rest}")
    if scheme == "csi":
        if not rest.isdigit():
            raise ConfigError(f"--source {shown}: write the sensor's number, as in csi://0")
        return SourceUri(kind="csi", target=rest, shown=shown)
    if scheme == "file":
        return _parse_path(Path(unquote(rest.removeprefix("localhost"))))
    if scheme in STREAM_SCHEMES or scheme in ("http", "https"):
        kind: Kind = "http" if scheme.startswith("http") else "stream"
        if badly_encoded(text):
            raise ConfigError(
                f"--source {shown}: user or password has a character that ends them; write it "
                "percent-encoded: # as %23, / as %2F, ? as %3F, @ as %40, [ as %5B, ] as %5D"
            )
        try:
            host = urlsplit(text).netloc
        except ValueError as error:
            raise ConfigError(f"--source {shown}: no address that can be read: {error}") from error
        if not host:
            raise ConfigError(f"--source {shown}: there is no host after {scheme}://")
        return SourceUri(kind=kind, target=text, shown=shown)
    raise ConfigError(f"--source {shown}: {scheme}:// is not known; give {KNOWN}")


def _is_there(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False


def _parse_path(path: Path) -> SourceUri:
    try:
        return _existing(path if path.exists() else path.expanduser())
    except (OSError, RuntimeError, ValueError) as error:  # too long, a closed folder, ~nobody, \0
        reason = getattr(error, "strerror", None) or error
        raise CaptureError(f"{shown_name(path)[:80]}: cannot be looked at: {reason}") from error


def _existing(path: Path) -> SourceUri:
    shown = shown_name(path)
    if path.is_dir():
        if not image_files(path):
            kinds = " ".join(sorted(IMAGE_SUFFIXES))
            raise CaptureError(f"{shown}: the folder holds no image ({kinds})")
        return SourceUri(kind="images", target=str(path), shown=shown)
    if not path.exists():
        pattern = "; for images give their folder" if re.search(r"[*?]|%\d*d", shown) else ""
        raise CaptureError(f"{redact(shown)}: no such file or folder{pattern}")
    if not path.is_file():
        raise CaptureError(
            f"{shown}: is a pipe or a device that is no camera; give a file, or serve it by rtsp"
        )
    if path.stat().st_size == 0:
        raise CaptureError(f"{shown}: the file is empty (0 bytes); copy or record it again")
    return SourceUri(kind="file", target=str(path), shown=shown)
