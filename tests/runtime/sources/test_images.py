"""Pictures are read whole or not at all."""

from __future__ import annotations

import logging
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.errors import CaptureError
from runtime.sources import Frame, Gap, open_source
from runtime.sources.images import read_image
from tests.runtime.sources.films import pictures


def folder_of(path: Path, suffix: str, count: int = 8) -> list[Path]:
    path.mkdir()
    files = []
    for index, picture in enumerate(pictures(count)):
        files.append(path / f"{index:03d}{suffix}")
        cv2.imwrite(str(files[-1]), picture)
    return files


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_cut_off_picture_is_named_counted_and_a_gap(
    suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = folder_of(tmp_path / "all", suffix)
    cut = files[3::4]
    for file in cut:
        file.write_bytes(file.read_bytes()[: file.stat().st_size * 3 // 10])
    with caplog.at_level(logging.WARNING), open_source(tmp_path / "all") as source:
        items = list(source)
    assert source.damaged == 2
    assert sum(isinstance(item, Frame) for item in items) == 6
    # The second one is the last picture: nothing comes behind it.
    assert [i.reason for i in items if isinstance(i, Gap)] == ["1 damaged frame left out"]
    assert [r.getMessage() for r in caplog.records] == [
        f"{file}: the picture is cut off; left out" for file in cut
    ]
    with pytest.raises(CaptureError, match="is cut off; copy it again or remove it"):
        read_image(cut[0])


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_grey_values_of_16_bits_share_one_range(
    suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "thermal"
    folder.mkdir()
    ramp = np.linspace(7000, 9000, 160 * 120).reshape(120, 160)
    for index, top in enumerate((0, -500, 1000)):
        cv2.imwrite(str(folder / f"{index}{suffix}"), (ramp + top).astype(np.uint16))
    with caplog.at_level(logging.WARNING), open_source(folder) as source:
        images = [item.image_bgr for item in source if isinstance(item, Frame)]
    assert [(int(image.min()), int(image.max())) for image in images] == [
        (0, 255), (0, 205), (109, 255)
    ]  # fmt: skip
    # The range grew from 7020 - 8979 to 6520 - 9979.
    middle = [float(image[60, 80].mean()) for image in images]
    assert middle[0] == pytest.approx(127, abs=2)
    assert middle[2] == pytest.approx((9000 - 6520) / (9979 - 6520) * 255, abs=3)
    assert len(caplog.records) == 1


def test_colours_of_16_bits_keep_their_scale(tmp_path: Path) -> None:
    path = tmp_path / "colour.png"
    picture = next(pictures(1))
    cv2.imwrite(str(path), picture.astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_image(path), picture)


def test_a_picture_with_bytes_behind_its_end_is_whole(tmp_path: Path) -> None:
    (file,) = folder_of(tmp_path / "one", ".jpg", count=1)
    file.write_bytes(file.read_bytes() + b"\0" * 100)
    assert read_image(file).shape == (120, 160, 3)


def test_a_picture_of_very_many_pixels_is_refused(tmp_path: Path) -> None:
    """A PNG of 30,000 x 30,000 white pixels: 110 kB in the file, 2.7 GB in memory."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    side = 30_000
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side // 8 + 1) * side), 9)
    path = tmp_path / "large.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )
    with pytest.raises(CaptureError, match="has more than 67 million pixels"):
        read_image(path)


def test_a_jpeg_that_announces_very_many_pixels_is_refused(tmp_path: Path) -> None:
    (path,) = folder_of(tmp_path / "one", ".jpg", count=1)
    data = bytearray(path.read_bytes())
    place = data.index(b"\xff\xc0") + 5
    assert data[place : place + 4] == struct.pack(">HH", 120, 160)
    data[place : place + 4] = struct.pack(">HH", 60_000, 60_000)
    path.write_bytes(data)
    with pytest.raises(CaptureError, match="has more than 67 million pixels"):
        read_image(path)
