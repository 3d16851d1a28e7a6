"""A camera's newest packets, still encoded, and how some of them become a file."""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from runtime.errors import SinkError

# Codecs that MP4 has a place for; all others go into Matroska.
_MP4 = frozenset({"h264", "hevc", "av1", "mpeg4"})


@dataclass(frozen=True, slots=True)
class Packet:
    """An encoded frame.

    Attributes:
        data: Its bytes.
        at: When it came, seconds of the monotonic clock.
        keyframe: Whether a decoder can begin here.
        stream: The connection that it came by.
    """

    data: bytes
    at: float
    keyframe: bool
    pts: int | None
    dts: int | None
    duration: int | None
    time_base: Fraction
    stream: Template


class Template:
    """What a file has to know of a stream, kept longer than the stream itself."""

    def __init__(self, stream: Any) -> None:
        """Copy the parameters of an open stream."""
        import av

        self.codec = str(stream.codec_context.name)
        self._memory = av.open(io.BytesIO(), "w", format="matroska")
        # Opaque: nothing is encoded or decoded by it.
        self.stream = self._memory.add_stream_from_template(stream, opaque=True)

    @property
    def suffix(self) -> str:
        """Return the file's suffix that suits the codec."""
        return ".mp4" if self.codec in _MP4 else ".mkv"


class PacketRing:
    """Keeps packets of the last seconds, at most so many bytes, from a keyframe on.

    One thread adds, others take; what was taken is not changed any more.
    """

    def __init__(self, *, seconds: float, most_bytes: int) -> None:
        """Begin empty.

        Args:
            seconds: How far back the ring goes, beside `hold`.
            most_bytes: Of all packets; beyond it the oldest go whatever is held.
        """
        self._seconds, self._most = seconds, most_bytes
        self._packets: deque[Packet] = deque()
        self._bytes = 0
        self._held: float | None = None
        self._template: Template | None = None
        self._lock = threading.Lock()

    def restart(self, template: Template) -> None:
        """Take what comes from another connection from now on."""
        with self._lock:
            self._template = template

    def hold(self, since: float | None) -> None:
        """Keep what came at `since` or later, however old it gets; None ends it."""
        with self._lock:
            self._held = since

    def add(self, packet: Any, at: float) -> None:
        """Copy a packet of PyAV's that came at `at`, seconds of the monotonic clock."""
        template = self._template
        if template is None or packet.time_base is None:
            return
        kept = Packet(
            bytes(packet), at, bool(packet.is_keyframe), packet.pts, packet.dts,
            packet.duration, packet.time_base, template,
        )  # fmt: skip
        with self._lock:
            self._packets.append(kept)
            self._bytes += len(kept.data)
            oldest = at - self._seconds
            if self._held is not None:
                oldest = min(oldest, self._held)
            self._trim(oldest)

    def _trim(self, oldest: float) -> None:
        """Drop groups of pictures that end before `oldest`, and the oldest beyond the bytes."""
        packets = self._packets
        while self._bytes > self._most or self._second_key_before(oldest):
            self._bytes -= len(packets.popleft().data)
            # A group without its keyframe cannot be decoded.
            while packets and not packets[0].keyframe:
                self._bytes -= len(packets.popleft().data)

    def _second_key_before(self, oldest: float) -> bool:
        """Tell whether the first group ends before `oldest`."""
        for number, packet in enumerate(self._packets):
            if packet.at > oldest:
                return False
            if number and packet.keyframe:
                return True
        return False

    def between(self, start: float, end: float, *, at: float | None = None) -> list[Packet]:
        """Return the packets of one connection from the last keyframe before `start` until `end`.

        It is the connection that was there at `at`, by default at `start`. Where it begins later
        than `start`, from its first keyframe on; where it was lost before `end`, up to there. Empty
        where nothing came.
        """
        with self._lock:
            packets = list(self._packets)
        if not packets:
            return []
        moment = start if at is None else at
        before = [packet for packet in packets if packet.at <= moment]
        stream = (before[-1] if before else packets[0]).stream
        ours = [packet for packet in packets if packet.stream is stream and packet.at <= end]
        keys = [number for number, packet in enumerate(ours) if packet.keyframe]
        if not keys:
            return []
        return ours[max([n for n in keys if ours[n].at <= start], default=keys[0]) :]


def write_packets(path: Path, packets: Sequence[Packet]) -> None:
    """Write packets of one connection as a file, without encoding them again.

    Args:
        path: File to make; its suffix says which container.
        packets: In order, the first a keyframe.

    Raises:
        SinkError: The container does not take them, or the disk does not.
    """
    import av

    options = {"movflags": "+faststart"} if path.suffix == ".mp4" else {}
    try:
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream_from_template(packets[0].stream.stream, opaque=True)
            zero: int | None = None
            last = -1
            for kept in packets:
                dts = kept.pts if kept.dts is None else kept.dts
                if dts is None:  # a container needs a time; without one it cannot be placed
                    continue
                zero = dts if zero is None else zero
                # Cameras repeat times, and go back where they set their clock.
                last = max(dts - zero, last + 1)
                packet = av.Packet(kept.data)
                packet.stream = stream
                packet.time_base = kept.time_base
                packet.dts = last
                packet.pts = last if kept.pts is None else max(kept.pts - zero, last)
                packet.duration = kept.duration or 0
                packet.is_keyframe = kept.keyframe
                container.mux(packet)
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SinkError(f"{path} cannot be written: {reason}") from error
