"""Read video files and network streams through PyAV, whose FFmpeg tells what OpenCV's hides.

OpenCV scales a picture whose size changes, returns memory that was never written for an interlaced
one (4.13 and later), turns a rotated one in some versions and not in others, and has no word for a
damaged frame (docs/adr/0028-video-reader.md). Here each frame says what it is. The class has the
methods of `cv2.VideoCapture` that the project uses, so that a reader of either kind will do.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from runtime.errors import CaptureError
from runtime.sources.deinterlace import Deinterlacer
from runtime.sources.pixels import PixelConverter
from runtime.sources.quiet import MAX_PIXELS

if TYPE_CHECKING:
    import av

logger = logging.getLogger(__name__)

# More bytes than these between two packets of an AVI file belong to another chunk, or are torn.
_BETWEEN_PACKETS, _HEADER, _MOST_BETWEEN = 4096, 1024, 1 << 20
_CHUNK = re.compile(rb"\d\d(wb|tx)|ix\d\d|RIFF|LIST|JUNK|idx1")
# FFmpeg's AVFMT_NOTIMESTAMPS: raw streams, whose times are guessed from the place in the file.
_NO_STAMPS, _RAW_FPS = 0x80, 25.0
# Of these the length is the last frame's time, not the time between the first and the last.
_LENGTH_FROM_ZERO = ("matroska,webm", "nut")
# So many packets in a row without a picture are a stream that cannot be decoded.
_MOST_WITHOUT_A_FRAME = 500
# A film whose first so many JPEG frames are all refused by a strict decoder is read leniently.
_MOST_REFUSED = 10
_MICROSECONDS = 1_000_000


def has_pyav() -> bool:
    """Tell whether PyAV can be imported."""
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


def stream_options() -> dict[str, str]:
    """Return FFmpeg's options for a network stream: TCP, or what the environment asks for.

    `OPENCV_FFMPEG_CAPTURE_OPTIONS` has the form that OpenCV knows: `key;value|key;value`.
    """
    words = os.environ.get("OPENCV_FFMPEG_CAPTURE_OPTIONS", "")
    given = dict(word.split(";", 1) for word in words.split("|") if ";" in word)
    return {"rtsp_transport": "tcp", **given}


class NoVideoError(ValueError):
    """A media file has sound, or the picture of a cover, and no video."""


class FFmpegCapture:
    """One open video, with the part of `cv2.VideoCapture`'s interface that the project uses.

    Attributes:
        damaged: Number of frames that could not be decoded whole so far. They are left out.
        on_packet: Called with every packet of the video, as it came, before it is decoded; what it
            needs later it has to copy.
    """

    def __init__(
        self, target: str, *, shown: str, live: bool = False, open_timeout_s: float | None = None,
        read_timeout_s: float | None = None,
    ) -> None:  # fmt: skip
        """Open a file or an address.

        Args:
            target: Path or address.
            shown: The same as it may be shown in a message.
            live: Decode with the least delay, in place of the highest rate.
            open_timeout_s: Longest time to open an address.
            read_timeout_s: Longest time to wait for data.

        Raises:
            OSError: It cannot be opened.
            ValueError: It holds no video that can be decoded.
            CaptureError: Its frames are too large.
        """
        import av

        self._container: Any = None
        self._frames: Iterator[Any] = iter(())
        self._ready: deque[Any] = deque()
        self._frame: Any = None
        self._codec: Any = None
        self.damaged = 0
        self.on_packet: Callable[[Any], None] | None = None
        self._shown = shown
        self._file: Any = None
        self._target = target
        self._deinterlacer = Deinterlacer(shown)
        self._converter: PixelConverter | None = PixelConverter(shown)
        options = {}
        if "://" in target:
            options = stream_options()
            source: Any = target
        else:
            source = self._source(Path(target))
        try:
            self._container = av.open(
                source, options=options, metadata_errors="replace",
                timeout=(open_timeout_s, read_timeout_s) if open_timeout_s else None,
            )  # fmt: skip
        except av.FFmpegError as error:
            self._close_file()
            raise OSError(str(error)) from error
        try:
            videos = [s for s in self._container.streams.video if not _is_cover(s)]
            if not videos:
                raise NoVideoError("it has no video stream")
            self._stream: Any = videos[0]
            self._stream.thread_type = "SLICE" if live else "AUTO"
            width, height = self._stream.codec_context.width, self._stream.codec_context.height
            if width * height > MAX_PIXELS:
                raise CaptureError(
                    f"{shown}: its frames have {width}x{height} pixels, more than "
                    f"{MAX_PIXELS / 1e6:.0f} million; make them smaller (ffmpeg -vf scale=1920:-2)"
                )
            self._codec = self._stream.codec_context
            self._strict = self._codec.name == "mjpeg"
            # Without it, FFmpeg fills what is missing of a JPEG frame with grey, and says nothing.
            strict = {"err_detect": "explode"} if self._strict else {}
            self._codec.options = {"max_pixels": str(MAX_PIXELS), **strict}
            self._base: Fraction | None = self._stream.time_base
            self._first: int | None = self._stream.start_time
            self._stampless = bool(self._container.format.flags & _NO_STAMPS)
            # AVI and raw streams have no times: FFmpeg counts packets.
            self._counts_packets = self._stampless or self._container.format.name == "avi"
            self._grabbed = 0
            self._frames = self._decode()
        except BaseException:
            self.release()
            raise

    def _source(self, path: Path) -> Any:
        """Return what PyAV opens: a path, or a file where the name is no valid text."""
        try:
            str(path).encode("utf-8")
        except UnicodeEncodeError:
            self._file = path.open("rb")
            return self._file
        # Named as a file, so that `a:b.mp4` is not taken for a protocol.
        return f"file:{path}"

    def isOpened(self) -> bool:  # noqa: N802  (OpenCV's name)
        """Tell whether it is open: it is from the beginning until `release`."""
        return self._container is not None

    @property
    def stream(self) -> Any:
        """Return the video's stream, for whoever takes the packets; valid until `release`."""
        return self._stream

    def grab(self) -> bool:
        """Decode the next whole frame; False at the end."""
        import av

        try:
            self._frame = next(self._frames, None)
        except (av.FFmpegError, OSError) as error:
            logger.debug("%s: %s", self._shown, error)
            self._frame = None
        self._grabbed += self._frame is not None
        return self._frame is not None

    def retrieve(self) -> tuple[bool, Any]:
        """Return the frame last grabbed as uint8 BGR (H, W, 3), turned as the file asks for."""
        frame = self._frame
        if frame is None or self._converter is None:
            return False, None
        pixels = self._converter.to_bgr(frame)
        quarters = round(frame.rotation / 90) % 4
        return True, np.ascontiguousarray(np.rot90(pixels, quarters) if quarters else pixels)

    def read(self) -> tuple[bool, Any]:
        """Grab and retrieve."""
        return self.retrieve() if self.grab() else (False, None)

    def get(self, prop: int, /) -> float:
        """Return position (of the frame last grabbed), rate, count or size; 0 if not known."""
        if self._container is None:
            return 0.0
        if prop == cv2.CAP_PROP_POS_MSEC:
            seconds = self.time_s()
            return 0.0 if math.isnan(seconds) else seconds * 1000.0  # as OpenCV says it
        if prop == cv2.CAP_PROP_FPS:
            return self._rate()
        if prop == cv2.CAP_PROP_FRAME_COUNT:
            return float(self._stream.frames or self._estimate())
        if prop == cv2.CAP_PROP_FRAME_WIDTH:
            return float(self._stream.codec_context.width)
        if prop == cv2.CAP_PROP_FRAME_HEIGHT:
            return float(self._stream.codec_context.height)
        return 0.0

    def set(self, prop: int, value: float, /) -> bool:
        """Seek by time (lands on a keyframe before it) or by number (lands on the frame)."""
        fps = self._rate()
        if prop == cv2.CAP_PROP_POS_MSEC:
            return self._seek(value / 1000.0)
        if prop != cv2.CAP_PROP_POS_FRAMES or fps <= 0 or not self._seek(value / fps):
            return False
        for frame in self._frames:
            if self._seconds(frame) * fps > value - 0.5:
                self._ready.appendleft(frame)
                return True
        return False

    def release(self) -> None:
        """Close it."""
        container, self._container = self._container, None
        # FFmpeg's threads must end here, not when Python's collector comes by: in a process that
        # was forked since, they are gone, and whoever waits for them waits for ever.
        self._frames = iter(())
        self._ready.clear()
        self._frame = self._stream = self._codec = self._converter = None
        self._deinterlacer.forget()
        if container is not None:
            container.close()
        self._close_file()

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _seek(self, seconds: float) -> bool:
        import av

        if self._base is None or self._stampless:
            return False
        offset = (self._first or 0) + round(seconds / self._base)
        try:
            self._container.seek(offset, stream=self._stream, backward=True)
        except av.FFmpegError:
            return False
        self._ready.clear()
        self._frames = self._decode()
        self._deinterlacer.forget()
        return True

    def _rate(self) -> float:
        rate = self._stream.average_rate or self._stream.guessed_rate
        if self._container.format.name == "dv":
            rate = self._stream.guessed_rate  # the mean is that of the stamps' unit
        return float(rate) if rate else 0.0

    def _estimate(self) -> float:
        """Return about how many frames the file's length means; 0 if it states none."""
        duration, base = self._stream.duration, self._base
        if duration and base:
            return round(float(duration * base) * self._rate())
        whole = self._container.duration or 0
        if self._container.format.name in _LENGTH_FROM_ZERO:
            begin = max(0, self._container.start_time or 0)
            whole -= begin if begin < whole else 0
        return round(whole / _MICROSECONDS * self._rate())

    def time_s(self) -> float:
        """Return the time of the frame last grabbed, seconds; NaN where the file gives none."""
        if self._frame is None:
            return math.nan
        if self._stampless:
            fps = self._rate() or _RAW_FPS
            return (self._grabbed - 1 + self.damaged) / fps
        return self._seconds(self._frame)

    def _seconds(self, frame: av.VideoFrame) -> float:
        """Return the frame's own time after the first; NaN where the file gives none."""
        if self._container.format.name == "avi":
            # It has times of decoding only; those of showing are guessed, and wrong with B-frames.
            # A filter leaves them in the stream's unit.
            stamp, base = frame.dts, self._base
        else:
            stamp, base = frame.pts, frame.time_base or self._base
        if stamp is None or base is None or self._base is None:
            return math.nan
        if self._first is None:
            self._first = round(stamp * base / self._base)
        return float(stamp * base - self._first * self._base)

    def _decode(self) -> Iterator[Any]:
        """Yield whole frames, deinterlaced; damaged ones are counted and left out."""
        import av

        packets = self._container.demux(self._stream)
        early: list[Any] = []  # what came before the first frame, of a strict decoder
        silent = 0
        end = 0  # of the packet before, in the file
        while True:
            while self._ready:
                yield self._ready.popleft()
            try:
                packet = next(packets)
            except (StopIteration, av.EOFError):
                yield from self._deinterlacer.rest()
                return
            torn = bool(self._counts_packets and end and packet.pos and self._torn(end, packet.pos))
            if self.on_packet is not None and packet.size:
                self.on_packet(packet)
            if torn:
                packet = None  # gives what the decoder holds back, and no more
            elif packet.pos and packet.size:
                end = packet.pos + packet.size
            if self._strict and self._grabbed == 0 and packet is not None:
                early.append(packet)
            try:
                frames = self._codec.decode(packet)
            except av.InvalidDataError:
                self.damaged += 1
                frames = self._leniently(early)
            except av.EOFError:
                return
            silent = 0 if frames else silent + 1
            if silent > _MOST_WITHOUT_A_FRAME:
                return
            for frame in frames:
                if frame.is_corrupt:
                    self.damaged += 1
                else:
                    self._ready.extend(self._deinterlacer.push(frame))
            if torn:
                # Frames are missing, nobody knows how many, and times come from counting them.
                logger.warning("%s: torn; what follows has no known time and is left out",
                               self._shown)  # fmt: skip
                yield from self._ready
                return

    def _leniently(self, packets: list[Any]) -> list[Any]:
        """Decode a film's first packets again if a strict decoder takes none of them."""
        import av

        if not self._strict or self._grabbed or self._ready or self.damaged < _MOST_REFUSED:
            return []
        logger.warning("%s: its JPEG frames break the standard; damaged ones cannot be told",
                       self._shown)  # fmt: skip
        self._strict, self.damaged = False, 0
        strict, self._codec = self._codec, av.CodecContext.create("mjpeg", "r")
        self._codec.options = {"max_pixels": str(MAX_PIXELS)}
        self._codec.extradata, self._codec.thread_type = strict.extradata, strict.thread_type
        frames = []
        for packet in packets:
            try:
                frames += self._codec.decode(packet)
            except av.InvalidDataError:
                self.damaged += 1
        return frames

    def _torn(self, end: int, start: int) -> bool:
        """Tell whether the bytes between two packets are none that a container puts there."""
        if start - end <= _BETWEEN_PACKETS:
            return False
        if self._file is not None:
            return False  # FFmpeg reads it: its place is not ours to change
        with Path(self._target).open("rb") as file:
            file.seek(end)
            # The chunk's own header is before its start.
            between = file.read(min(start - end - _HEADER, _MOST_BETWEEN))
        return _CHUNK.search(between) is None

    def reduced(self, clip_wh: tuple[int, int]) -> tuple[Any, tuple[int, int]] | None:
        """Return the frame last taken, reduced by its decoder, and its own width and height.

        None where it is not reduced (`PixelConverter.reduced`).
        """
        frame = self._frame
        if frame is None or self._converter is None:
            return None
        pixels = self._converter.reduced(frame, clip_wh)
        return None if pixels is None else (pixels, (frame.width, frame.height))


def _is_cover(stream: Any) -> bool:
    """Tell whether a stream is a picture that comes with a file, such as a cover."""
    return "attached_pic" in str(getattr(stream, "disposition", "")).lower()
