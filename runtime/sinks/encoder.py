"""Encode frames of a video: through PyAV into files that can be played at any moment, or OpenCV.

A file of PyAV is written in fragments of about a second, so that a run that is killed loses no
more than that. OpenCV writes an MP4's index last: without its end the file cannot be played.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import cv2

from runtime.errors import SinkError
from runtime.sources import Image
from runtime.sources.ffmpeg import has_pyav
from runtime.sources.names import text_for_opencv

# First what plays everywhere; pip's OpenCV has no H.264 encoder and falls back to MPEG-4 part 2.
CODECS: dict[str, tuple[str, ...]] = {
    ".mp4": ("avc1", "mp4v"),
    ".m4v": ("avc1", "mp4v"),
    ".mov": ("avc1", "mp4v"),
    ".mkv": ("avc1", "mp4v"),
    ".avi": ("MJPG",),
}
_ENCODERS = {"avc1": "libx264", "mp4v": "mpeg4"}
_SETTINGS = {
    # No frames that wait for later ones; the sizes of `veryfast` at the cost of 10 ms a 720p frame.
    "libx264": {"preset": "veryfast", "crf": "23", "bf": "0"},
    "mpeg4": {"qscale": "4"},
}
# Fragments while it grows, one index when it is finished: FFmpeg's own way of both. Without an
# empty index in front, FFmpeg 5 (OpenCV 4.8) reads three frames of a file that was cut off.
_FLAGS = "hybrid_fragmented+frag_keyframe+empty_moov+default_base_moof"
_MUXER: dict[str, tuple[str, dict[str, str]]] = {
    ".mp4": ("mp4", {"movflags": _FLAGS, "flush_packets": "1"}),
    ".m4v": ("mp4", {"movflags": _FLAGS, "flush_packets": "1"}),
    ".mov": ("mov", {"movflags": _FLAGS, "flush_packets": "1"}),
    ".mkv": ("matroska", {"cluster_time_limit": "1000", "flush_packets": "1"}),
}


class Encoder(Protocol):
    """A video that is being written.

    Attributes:
        codec: Four letters of the codec.
        whole_without_end: Whether the file can be played if its end is never written.
    """

    codec: str
    whole_without_end: bool

    def write(self, image_bgr: Image) -> None:
        """Append a frame (H, W, 3) uint8 of the size given at the start.

        Raises:
            OSError: The disk refuses it.
        """

    def release(self) -> None:
        """Write the end and close the file.

        Raises:
            OSError: The disk refuses it.
        """


class FragmentEncoder:
    """Writes fragments through PyAV."""

    whole_without_end = True

    def __init__(self, part: Path, codec: str, *, fps: float, size_wh: tuple[int, int]) -> None:
        """Open the file.

        Raises:
            OSError: It cannot be written, or not with this codec at this size.
        """
        import av

        self.codec = codec
        name, options = _MUXER[part.suffix.lower()]
        encoder = _ENCODERS[codec]
        with _as_os_errors():
            # With a protocol in front no part of the name is taken for one.
            self._container = av.open(f"file:{part.absolute()}", "w", format=name, options=options)
            try:
                rate = Fraction(fps).limit_denominator(1 << 16)
                stream: Any = self._container.add_stream(
                    encoder, rate=rate, options=dict(_SETTINGS[encoder])
                )
                stream.width, stream.height = size_wh
                stream.pix_fmt = "yuv420p"
                stream.gop_size = max(1, round(fps))
                stream.codec_context.open()
                self._container.start_encoding()
            except BaseException:
                self._container.close()
                raise
        self._stream = stream
        self._make, self._count = av.VideoFrame.from_ndarray, 0

    def write(self, image_bgr: Image) -> None:
        """Append a frame."""
        frame = self._make(image_bgr, format="bgr24")
        frame.pts, self._count = self._count, self._count + 1
        frame.time_base = 1 / self._stream.codec_context.framerate
        with _as_os_errors():
            self._container.mux(self._stream.encode(frame))

    def release(self) -> None:
        """Write the end and close the file."""
        with _as_os_errors():
            try:
                self._container.mux(self._stream.encode(None))
            finally:
                self._container.close()


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """Raise what FFmpeg or PyAV refuses as `OSError`."""
    import av

    try:
        yield
    except OSError:
        raise
    except (av.FFmpegError, ValueError) as error:
        raise OSError(getattr(error, "errno", 0), str(error)) from error


class OpenCVEncoder:
    """Writes through OpenCV, which tells no error of writing."""

    def __init__(self, part: Path, codec: str, *, fps: float, size_wh: tuple[int, int]) -> None:
        """Open the file.

        Raises:
            OSError: It cannot be written, or not with this codec at this size.
        """
        self.codec = codec
        self.whole_without_end = part.suffix.lower() in (".avi", ".mkv")
        self._writer = cv2.VideoWriter(
            text_for_opencv(part), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, size_wh
        )
        if not self._writer.isOpened():
            self._writer.release()
            raise OSError(f"OpenCV writes no {codec}")

    def write(self, image_bgr: Image) -> None:
        """Append a frame."""
        self._writer.write(image_bgr)

    def release(self) -> None:
        """Write the end and close the file."""
        self._writer.release()


def needs_opencv(path: Path) -> bool:
    """Tell whether OpenCV writes such a video, as PyAV is not installed or writes another kind."""
    return not has_pyav() or path.suffix.lower() not in _MUXER


def open_encoder(part: Path, *, fps: float, size_wh: tuple[int, int]) -> Encoder:
    """Open a video for writing, with the first codec that works.

    Args:
        part: The file; its suffix, a key of `CODECS`, says what it becomes.
        fps: Frames a second.
        size_wh: Width and height, pixels.

    Raises:
        SinkError: No codec works.
    """
    suffix = part.suffix.lower()
    kinds: list[type[FragmentEncoder] | type[OpenCVEncoder]] = [OpenCVEncoder]
    if not needs_opencv(part):
        kinds.insert(0, FragmentEncoder)
    for kind in kinds:
        for codec in CODECS[suffix]:
            try:
                return kind(part, codec, fps=fps, size_wh=size_wh)
            except OSError:
                continue
    raise SinkError(
        f"no codec of {', '.join(CODECS[suffix])} can be written here at "
        f"{size_wh[0]}x{size_wh[1]}, {fps:g} fps; try a name that ends in .avi"
    )
