"""Tell whether a JPEG file holds a whole picture.

libjpeg, which OpenCV decodes with, fills what is missing with grey, and tells no one but stderr.
FFmpeg's decoder can be strict, and is asked at an eighth of the size, for a fifth to a third of the
time of OpenCV's. Each call has a decoder of its own, so threads do not meet.
"""

from __future__ import annotations

from collections.abc import Iterator

START = b"\xff\xd8\xff"
_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_MOST_SEGMENTS = 10_000  # before a JPEG's frame; real files have a dozen
_STRICT = {"err_detect": "explode", "lowres": "3"}
# Baseline, extended and progressive: what libjpeg and FFmpeg share.
_COMMON_FRAMES = (0xC0, 0xC1, 0xC2)


def pixels_of(data: bytes) -> int:
    """Return the pixels that a file announces; 0 if it does not."""
    place = _frame_at(data)
    return _number(data, place + 5) * _number(data, place + 7) if place else 0


def fault_of(data: bytes) -> str | None:
    """Return what is wrong with a JPEG file, `cut off` or `damaged`; None if nothing is known."""
    # Inside of a scan these two bytes do not occur; a thumbnail's end comes before it.
    if not data.rfind(_END) > data.rfind(_SCAN) > 0:
        return "cut off"
    try:
        import av
    except ImportError:
        return None
    place = _frame_at(data)
    if place and (data[place + 1] not in _COMMON_FRAMES or data[place + 4] != 8):
        return None
    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.options, decoder.thread_count = _STRICT, 1
    try:
        decoder.decode(av.Packet(_picture_alone(data)))
    except av.InvalidDataError:
        return "damaged"
    except av.FFmpegError:  # a kind that it does not know
        return None
    return None


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and stop of each segment before the scan, and the scan as the last."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        if at + 9 > len(data):
            return
        marker = data[at + 1]
        if marker == _SCAN[1]:
            yield marker, at, len(data)
            return
        if marker == 0xFF:
            at += 1
            continue
        stop = at + 2 + _number(data, at + 2)
        yield marker, at, stop
        at = stop


def _frame_at(data: bytes) -> int:
    """Return where the segment begins that tells the picture's size; 0 if there is none."""
    for marker, start, _ in _segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return start
    return 0


def _picture_alone(data: bytes) -> bytes:
    """Return a file without what belongs to applications: a fault in there is none of ours."""
    kept = [data[:2]]
    for marker, start, stop in _segments(data):
        if not 0xE0 <= marker <= 0xEF and marker != 0xFE:
            kept.append(data[start:stop])
        if marker == _SCAN[1]:
            return b"".join(kept)
    return data


def _number(data: bytes, place: int) -> int:
    return int.from_bytes(data[place : place + 2], "big")
