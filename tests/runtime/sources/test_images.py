"""Pictures are read whole or not at all."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.errors import CaptureError
from runtime.sources import Frame, Gap, open_source
from runtime.sources.depth import DepthRange
from runtime.sources.images import fault_of, read_image
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


def zeroed(data: bytes) -> bytes:
    """Return a file whose middle third was never written."""
    third = len(data) // 3
    return data[:third] + bytes(third) + data[2 * third :]


def share(part: float, end: bytes = b"") -> Callable[[bytes], bytes]:
    return lambda data: data[: int(len(data) * part)] + end


@pytest.mark.parametrize(
    ("suffix", "spoil", "says"),
    [
        pytest.param(".jpg", share(0.3, b"\xff\xd9"), "the picture is damaged", id="jpeg-ended"),
        pytest.param(".jpg", zeroed, "the picture is damaged", id="jpeg-zeroed"),
        pytest.param(".jpg", share(0), "the picture is empty (0 bytes)", id="jpeg-empty"),
        pytest.param(".png", zeroed, "the picture is damaged", id="png-zeroed"),
        pytest.param(".bmp", share(0.5), "cannot be read as an image", id="bmp-cut"),
        pytest.param(".ppm", share(0.5), "cannot be read as an image", id="ppm-cut"),
        pytest.param(".webp", share(0.5), "cannot be read as an image", id="webp-cut"),
        pytest.param(".tif", share(0.5), "cannot be read as an image", id="tiff-cut"),
        pytest.param(".bmp", share(0, b"text"), "cannot be read as an image", id="text"),
    ],
)
def test_a_picture_that_is_not_whole_is_left_out_whatever_its_kind(
    suffix: str, spoil: Callable[[bytes], bytes], says: str, tmp_path: Path,
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    files = folder_of(tmp_path / "all", suffix)
    files[3].write_bytes(spoil(files[3].read_bytes()))
    with caplog.at_level(logging.WARNING), open_source(tmp_path / "all") as source:
        items = list(source)
    assert source.damaged == 1
    assert sum(isinstance(item, Frame) for item in items) == 7
    assert [i for i in items if isinstance(i, Gap)] == [
        Gap(reason="1 damaged frame left out", t=4 / 30)
    ]
    assert [r.getMessage() for r in caplog.records] == [f"{files[3]}: {says}; left out"]
    if suffix in (".jpg", ".png"):
        assert capfd.readouterr().err == "", "libjpeg and libpng say nothing"
    with pytest.raises(CaptureError, match=r"003\..* (is damaged|is empty|cannot be read)"):
        read_image(files[3])


def test_a_folder_of_a_kind_that_is_not_known_is_refused(tmp_path: Path) -> None:
    for index in range(40):
        (tmp_path / f"{index:02d}.tiff").write_text("no image")
    with (
        open_source(tmp_path) as source,
        pytest.raises(CaptureError, match=r"04\.tiff cannot be read as an image"),
    ):
        list(source)


def _jpeg(picture: Any, *options: int) -> bytes:
    return bytes(cv2.imencode(".jpg", picture, options)[1])


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([cv2.IMWRITE_JPEG_PROGRESSIVE, 1], id="progressive"),
        pytest.param([cv2.IMWRITE_JPEG_OPTIMIZE, 1], id="optimized"),
        pytest.param([cv2.IMWRITE_JPEG_RST_INTERVAL, 3], id="restarts"),
        pytest.param([cv2.IMWRITE_JPEG_QUALITY, 100], id="best"),
        pytest.param([cv2.IMWRITE_JPEG_QUALITY, 5], id="worst"),
    ],
)
def test_whole_jpeg_files_are_not_called_damaged(options: list[int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (119, 161, 3), np.uint8)
    for picture in (next(pictures(1)), noise, np.full_like(noise, 9), noise[:, :, 0]):
        assert fault_of(_jpeg(picture, *options)) is None


def test_a_fault_in_what_an_application_added_is_none_of_the_picture() -> None:
    data = _jpeg(next(pictures(1)))
    added = b"\xff\xe1\x00\x10Exif\0\0" + bytes(range(8)) + b"\xff\xfe\x00\x06\xff\xda\xff\xd9"
    assert fault_of(data[:2] + added + data[2:]) is None


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


def test_colours_of_10_bits_in_16_are_stretched_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "colour.png"
    picture = next(pictures(1))
    cv2.imwrite(str(path), picture.astype(np.uint16) * 4)
    with caplog.at_level(logging.WARNING):
        found = read_image(path)
    low, high = np.percentile(picture, (1, 99))
    stretched = np.clip((picture - low) * (255 / (high - low)), 0, 255)
    assert np.abs(found - stretched).max() <= 1
    assert f"colour.png: colour values of more than 8 bits; {4 * low:.0f} to" in caplog.text


def test_a_black_beginning_does_not_change_colours_of_16_bits(tmp_path: Path) -> None:
    picture = next(pictures(1))
    depth = DepthRange("film")
    black = np.zeros_like(picture, np.uint16)
    assert not depth.uses_part(black)
    assert not depth.uses_part(picture.astype(np.uint16) * 257)
    assert not depth.uses_part(black + 5), "decided"


def test_all_channels_of_a_float_picture_are_used(tmp_path: Path) -> None:
    path = tmp_path / "float.tiff"
    picture = next(pictures(1))
    cv2.imwrite(str(path), picture.astype(np.float32) / 255)
    found = read_image(path)
    for channel in range(3):
        assert np.corrcoef(found[..., channel].ravel(), picture[..., channel].ravel())[0, 1] > 0.97


def test_values_that_are_no_numbers_are_black() -> None:
    values = np.linspace(20, 30, 100, dtype=np.float32).reshape(10, 10)
    values[0, :3] = np.nan, np.inf, -np.inf
    found = DepthRange("thermal").to_8_bits(values)
    assert [int(v) for v in found[0, :3]] == [0, 255, 0]
    assert (found.min(), found.max()) == (0, 255)


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
