"""Small video files with known pictures: a square that moves over a fixed ground."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

SIZE_WH = (160, 120)
SQUARE_RGB = (20, 220, 40)


def pictures(count: int, size_wh: tuple[int, int] = SIZE_WH) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield RGB pictures; the square's left side is at 8 + 2 * index."""
    width, height = size_wh
    ground = np.random.default_rng(0).integers(60, 200, (height // 8, width // 8, 3), np.uint8)
    for index in range(count):
        picture = ground.repeat(8, 0).repeat(8, 1).copy()
        left = 8 + 2 * index
        picture[40:80, left : left + 24] = SQUARE_RGB
        yield picture


def write_film(
    path: Path, *, count: int = 30, fps: int = 25, codec: str = "libx264",
    stamp: Callable[[int], float] | None = None, interlaced: bool = False,
    size_wh: tuple[int, int] = SIZE_WH, pixels: str = "yuv420p", format: str | None = None,
    frames: Iterator[Any] | None = None, options: dict[str, str] | None = None,
    written: Callable[[float], float] | None = None,
) -> Path:  # fmt: skip
    """Encode pictures.

    `stamp` gives the time of each in seconds; `written` the time that stands in the file (no
    B-frames), from that of the encoder.
    """
    settings = {"preset": "ultrafast"} if codec == "libx264" else {}
    if interlaced:
        settings["x264-params"] = "tff=1:interlaced=1"
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, rate=fps, options={**settings, **(options or {})})
        stream.width, stream.height = size_wh
        stream.pix_fmt = pixels
        # MPEG-2 has a list of rates.
        stream.codec_context.time_base = Fraction(1, fps if codec == "mpeg2video" else 1000)
        for index, picture in enumerate(frames or pictures(count, size_wh)):
            if isinstance(picture, np.ndarray):
                frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pixels)
            else:
                frame = picture
            frame.time_base = Fraction(1, 1000)
            frame.pts = round((stamp(index) if stamp else index / fps) * 1000)
            container.mux(_written(stream.encode(frame), written))
        container.mux(_written(stream.encode(), written))
    return path


def _written(packets: list[Any], written: Callable[[float], float] | None) -> list[Any]:
    for packet in packets if written else ():
        time_s = written(float(packet.pts * packet.time_base))
        packet.pts = packet.dts = round(time_s / packet.time_base)
    return packets


def write_large_film(path: Path) -> Path:
    """Encode one grey frame of 16384x8192: 230 kB."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=10)
        stream.width, stream.height, stream.pix_fmt = 16384, 8192, "gray"
        frame = av.VideoFrame(16384, 8192, "gray")
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turn(plain: Path, turned: Path, degrees: int) -> None:
    """Copy an MP4 file, and have it shown so many degrees clockwise."""
    shutil.copy(plain, turned)
    _write_rotation(turned, degrees)


def _write_rotation(path: Path, degrees: int) -> None:
    """Put a rotation into the track header of an MP4 file."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    cosine, sine = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    matrix = (cosine, sine, 0, -sine, cosine, 0, 0, 0, 16384)
    for index, value in enumerate(matrix):
        scaled = value * 65536
        data[place + 4 * index : place + 4 * index + 4] = int(scaled).to_bytes(
            4, "big", signed=True
        )
    path.write_bytes(data)
