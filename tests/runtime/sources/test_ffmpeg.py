"""Video files through PyAV: what each frame is, and what the reader makes of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from runtime.errors import CaptureError
from runtime.sources import Frame, Gap, open_source
from runtime.sources.opencv import open_file
from tests.runtime.sources.films import (
    SIZE_WH,
    pictures,
    turn,
    write_film,
    write_large_film,
)


def read(path: Path | str) -> list[Frame | Gap]:
    with open_source(path) as source:
        return list(source)


def off(frame: Frame, index: int) -> float:
    """Return how far a frame is from picture `index`, levels on average."""
    expected = list(pictures(index + 1))[-1][:, :, ::-1].astype(float)
    return float(np.abs(frame.image_bgr.astype(float) - expected).mean())


def frames_of(items: list[Frame | Gap]) -> list[Frame]:
    return [item for item in items if isinstance(item, Frame)]


@pytest.mark.parametrize("name", ["i.mp4", "i.ts", "i.mkv"])
def test_interlaced_film_gives_its_own_pictures_and_says_so(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_film(tmp_path / name, interlaced=True)
    with caplog.at_level(logging.WARNING):
        frames = frames_of(read(path))
    assert len(frames) == 30
    for index in (0, 10, 20, 29):
        assert off(frames[index], index) < 12
    assert [frame.t for frame in frames] == pytest.approx([i / 25 for i in range(30)], abs=0.01)
    assert [r.getMessage() for r in caplog.records] == [
        f"{path}: it is interlaced; deinterlaced by FFmpeg's bwdif"
    ]


def test_interlaced_avi_keeps_its_times(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """AVI has a picture or an empty chunk for each unit of time, here milliseconds."""
    path = write_film(tmp_path / "i.avi", codec="mpeg4", options={"flags": "+ildct+ilme"})
    with caplog.at_level(logging.WARNING):
        frames = frames_of(read(path))
    assert [frame.t for frame in frames] == pytest.approx([i / 25 for i in range(30)], abs=0.01)
    assert [r.getMessage() for r in caplog.records] == [
        f"{path}: it is interlaced; deinterlaced by FFmpeg's bwdif",
        f"{path}: ended after 30 of 1200 announced frames; the others were left out when it was "
        "written, or are lost",
    ]


def test_interlaced_film_begins_at_its_own_start(tmp_path: Path) -> None:
    path = write_film(tmp_path / "late.ts", interlaced=True, stamp=lambda i: 1.4 + i / 25)
    frames = frames_of(read(path))
    assert [frame.t for frame in frames] == pytest.approx([i / 25 for i in range(30)], abs=0.01)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_film_is_turned_as_it_asks_for(degrees: int, tmp_path: Path) -> None:
    plain = write_film(tmp_path / "plain.mp4", count=3)
    turned = tmp_path / "turned.mp4"
    turn(plain, turned, degrees)
    upright = frames_of(read(plain))[0].image_bgr
    found = frames_of(read(turned))[0].image_bgr
    # The display matrix turns clockwise, as phones write it.
    np.testing.assert_array_equal(found, np.rot90(upright, -degrees // 90))


def test_a_single_wrong_stamp_does_not_move_what_follows(tmp_path: Path) -> None:
    path = write_film(tmp_path / "jump.ts", options={"bf": "0"})
    data = bytearray(path.read_bytes())
    pictures_at = [i for i in range(len(data) - 4) if data[i : i + 4] == b"\x00\x00\x01\xe0"]
    _move_stamp(data, pictures_at[10] + 9, seconds=3000)
    path.write_bytes(data)
    items = read(path)
    times = [frame.t for frame in frames_of(items)]
    assert times[-1] == pytest.approx(29 / 25, abs=0.01)
    gaps = [item for item in items if isinstance(item, Gap)]
    assert ["the file's clock jumps" in gap.reason for gap in gaps] == [True]


def _move_stamp(data: bytearray, place: int, *, seconds: int) -> None:
    """Add to the presentation time in an MPEG-TS packet: 33 bits in 5 bytes, 90 kHz."""
    first, *rest = data[place : place + 5]
    low = int.from_bytes(bytes(rest), "big")
    stamp = (first >> 1 & 7) << 30 | (low >> 17 & 0x7FFF) << 15 | low >> 1 & 0x7FFF
    stamp += seconds * 90000
    low = (stamp >> 15 & 0x7FFF) << 17 | 1 << 16 | (stamp & 0x7FFF) << 1 | 1
    data[place] = first & 0xF1 | (stamp >> 30 & 7) << 1
    data[place + 1 : place + 5] = low.to_bytes(4, "big")


def test_two_recordings_behind_each_other_are_not_mixed(tmp_path: Path) -> None:
    one = write_film(tmp_path / "one.ts", count=30, fps=24)
    two = write_film(tmp_path / "two.ts", count=20, fps=8)
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    items = read(both)
    gaps = [index for index, item in enumerate(items) if isinstance(item, Gap)]
    assert len(gaps) == 1
    behind = frames_of(items[gaps[0] :])
    assert len(behind) >= 18
    steps = np.diff([frame.t for frame in behind])
    assert np.median(steps) == pytest.approx(1 / 8, abs=0.01)


@pytest.mark.parametrize("size_wh", [SIZE_WH, (320, 240)], ids=["same-size", "other-size"])
def test_the_first_frame_of_a_second_recording_is_behind_the_gap(
    size_wh: tuple[int, int], tmp_path: Path
) -> None:
    plain = {"bf": "0"}
    one = write_film(tmp_path / "one.ts", count=30, options=plain)
    grey = (np.full((*size_wh[::-1], 3), 128, np.uint8) for _ in range(10))
    two = write_film(tmp_path / "two.ts", frames=grey, size_wh=size_wh, options=plain)
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    items = read(both)
    (gap,) = (item for item in items if isinstance(item, Gap))
    reasons = ["the file's clock jumps from 1.16 s to 0.00 s"]
    if size_wh != SIZE_WH:
        reasons.append("frame size changed from 160x120 to 320x240")
    assert gap == Gap(reason="; ".join(reasons), t=0.0)
    behind = frames_of(items[items.index(gap) :])
    assert [frame.image_bgr.std() < 3 for frame in frames_of(items)] == [False] * 30 + [True] * 10
    assert [frame.t for frame in behind] == pytest.approx([i / 25 for i in range(10)], abs=0.001)


@pytest.mark.parametrize("stop", [0, 12])
def test_a_clock_that_stands_still_is_repaired_by_the_rate(
    stop: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_film(tmp_path / "still.mkv", codec="mjpeg", pixels="yuvj420p", count=40,
                      written=lambda time_s: min(time_s, stop / 25))  # fmt: skip
    with caplog.at_level(logging.WARNING):
        items = read(path)
    assert len(items) == 40, "no gap"
    times = [frame.t for frame in frames_of(items)]
    assert times == pytest.approx([i / 25 for i in range(40)], abs=0.001)
    assert [r.getMessage() for r in caplog.records] == [
        f"{path}: the file's clock stands still at {stop / 25:.2f} s; times behind it by 25 frames "
        "per second"
    ]


@pytest.mark.parametrize("suffix", [".mkv", ".nut", ".ts", ".mp4"])
def test_a_film_whose_clock_begins_late_is_not_called_cut(
    suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_film(tmp_path / f"late{suffix}", stamp=lambda index: 40_000 + index / 25)
    with caplog.at_level(logging.WARNING):
        times = [frame.t for frame in frames_of(read(path))]
    assert times == pytest.approx([i / 25 for i in range(30)], abs=0.001)
    assert not caplog.records


def test_digital_video_of_tape_has_its_rate(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_film(tmp_path / "tape.dv", codec="dvvideo", size_wh=(720, 576), count=4)
    with caplog.at_level(logging.WARNING), open_source(path) as source:
        times = [frame.t for frame in frames_of(list(source))]
    assert source.fps == 25
    assert times == pytest.approx([0, 0.04, 0.08, 0.12])
    assert not [r for r in caplog.records if "frame rate" in r.getMessage()]


def test_a_size_that_changes_is_a_gap(tmp_path: Path) -> None:
    one = write_film(tmp_path / "one.ts", count=20)
    two = write_film(tmp_path / "two.ts", count=20, size_wh=(320, 240),
                     stamp=lambda index: (index + 20) / 25)  # fmt: skip
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    items = read(both)
    assert {frame.image_bgr.shape[1::-1] for frame in frames_of(items)} == {SIZE_WH, (320, 240)}
    assert any("frame size changed from 160x120 to 320x240" in item.reason
               for item in items if isinstance(item, Gap))  # fmt: skip


def test_a_damaged_frame_is_left_out_counted_and_a_gap(tmp_path: Path) -> None:
    path = write_film(tmp_path / "mjpeg.avi", codec="mjpeg", pixels="yuvj420p", count=30)
    data = bytearray(path.read_bytes())
    starts = [i for i in range(len(data) - 3) if data[i : i + 3] == b"\xff\xd8\xff"]
    for start, end in zip(starts[8::8], starts[9::8], strict=False):
        data[start + 3 : end - 8] = bytes(end - 8 - start - 3)
    path.write_bytes(data)
    with open_source(path) as source:
        items = list(source)
        assert source.damaged == 3
    assert len(frames_of(items)) == 27
    assert [i.reason for i in items if isinstance(i, Gap)] == ["1 damaged frame left out"] * 3


def test_a_jpeg_frame_that_is_cut_but_has_its_end_is_damaged(tmp_path: Path) -> None:
    path = cut_frames(tmp_path, lambda index: index % 10 == 5)
    with open_source(path) as source:
        items = list(source)
    assert source.damaged == 3
    frames = frames_of(items)
    assert [round(frame.t * 25) for frame in frames] == [i for i in range(30) if i % 10 != 5]
    assert all(off(frame, round(frame.t * 25)) < 12 for frame in frames)
    gaps = [item for item in items if isinstance(item, Gap)]
    assert gaps == [Gap(reason="1 damaged frame left out", t=i / 25) for i in (6, 16, 26)]


def test_a_film_of_jpeg_frames_that_break_the_standard_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = cut_frames(tmp_path, lambda index: True)
    with caplog.at_level(logging.WARNING), open_source(path) as source:
        frames = frames_of(list(source))
    assert source.damaged == 0
    assert [frame.t for frame in frames] == pytest.approx([i / 25 for i in range(30)])
    assert caplog.records[0].getMessage() == (
        f"{path}: its JPEG frames break the standard; damaged ones cannot be told"
    )


def cut_frames(folder: Path, cut: Callable[[int], bool]) -> Path:
    """Write a film of JPEG frames; some lack the lower part, and have an end all the same."""
    plain = write_film(folder / "plain.avi", codec="mjpeg", pixels="yuvj420p")
    path = folder / "cut.avi"
    with av.open(str(plain)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for index, packet in enumerate(p for p in source.demux(video=0) if p.size):
            data = bytes(packet)
            if cut(index):
                data = data[: len(data) * 6 // 10] + b"\xff\xd9"
            copy = av.Packet(data)
            copy.pts = copy.dts = index
            copy.time_base, copy.stream = Fraction(1, 25), stream
            copy.is_keyframe = True
            target.mux(copy)
    return path


def test_grey_of_16_bits_is_stretched_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ramp = np.linspace(7000, 9000, SIZE_WH[0] * SIZE_WH[1]).reshape(SIZE_WH[::-1])
    frames = (av.VideoFrame.from_ndarray(ramp.astype(np.uint16), "gray16le") for _ in range(3))
    path = write_film(tmp_path / "thermal.mkv", codec="ffv1", pixels="gray16le", frames=frames)
    with caplog.at_level(logging.WARNING):
        found = frames_of(read(path))
    assert len(found) == 3
    picture = found[0].image_bgr
    assert (picture.min(), picture.max()) == (0, 255)
    assert abs(float(picture.mean()) - 127.5) < 3
    assert "grey values of more than 8 bits; 7020 to 8979" in caplog.text


@pytest.mark.parametrize("pixels", ["ya16be", "rgb48be", "gbrp16le", "yuv420p16le", "rgba64le"])
def test_measurements_in_a_format_for_colour_are_stretched_and_said(
    pixels: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_deep(tmp_path / "thermal.nut", pixels, 7000, 9000)
    with caplog.at_level(logging.WARNING):
        found = frames_of(read(path))
    assert len(found) == 3
    picture = found[0].image_bgr
    assert (picture.min(), picture.max()) == (0, 255)
    assert abs(float(picture.mean()) - 127.5) < 4
    assert np.ptp(picture.astype(int), axis=2).max() <= 6, "grey"
    (warning,) = (r.getMessage() for r in caplog.records)
    assert "colour values of more than 8 bits; 70" in warning


@pytest.mark.parametrize(
    ("pixels", "top"), [("rgb48le", 65535), ("gbrp16le", 65535), ("yuv420p10le", 120)]
)
def test_a_film_of_more_bits_keeps_its_scale(
    pixels: str, top: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_deep(tmp_path / "film.nut", pixels, 0, top)
    with caplog.at_level(logging.WARNING):
        picture = frames_of(read(path))[0].image_bgr
    assert not caplog.records
    if top == 65535:
        assert abs(float(picture.mean()) - 127.5) < 2
    else:
        assert picture.max() < 25


def write_deep(path: Path, pixels: str, low: int, high: int) -> Path:
    """Write three frames without loss whose values rise evenly; colours are neutral."""
    shape = SIZE_WH[::-1]
    ramp = np.linspace(low, high, shape[0] * shape[1]).reshape(shape)
    codec = "ffv1" if pixels.startswith(("gbr", "yuv")) else "rawvideo"
    if pixels.startswith("ya"):
        path, codec = path.with_suffix(".mov"), "png"
    frames = []
    for _ in range(3):
        frame = av.VideoFrame(*SIZE_WH, pixels)
        order = ">u2" if pixels.endswith("be") else "<u2"
        for plane, part in zip(frame.planes, planes_of(pixels, ramp), strict=True):
            rows = np.zeros((plane.height, plane.line_size), np.uint8)
            data = part.astype(order).view(np.uint8).reshape(plane.height, -1)
            rows[:, : data.shape[1]] = data
            plane.update(rows)
        frames.append(frame)
    return write_film(path, codec=codec, pixels=pixels, frames=iter(frames))


def planes_of(pixels: str, ramp: np.ndarray) -> list[np.ndarray]:
    """Return the values of each plane: grey in a format for colour."""
    if pixels.startswith("yuv"):
        middle = 512 if "10" in pixels else 32768
        return [ramp, *[np.full(ramp[::2, ::2].shape, middle)] * 2]
    if pixels.startswith("gbrp"):
        return [ramp] * 3
    opaque = [np.full(ramp.shape, 65535)]
    parts = {"ya16be": [ramp, *opaque], "rgba64le": [ramp] * 3 + opaque}.get(pixels, [ramp] * 3)
    return [np.stack(parts, axis=2)]


NAMES = [
    pytest.param(b"caf\xe9.mp4", id="latin-1"),
    pytest.param("кино.mp4".encode(), id="cyrillic"),
    pytest.param(b"2026-11-28T12:30:00.mp4", id="colons"),
    pytest.param(b"~film.mp4", id="tilde"),
    pytest.param(b"film.mp4 ", id="space"),
    pytest.param(b"2024", id="number"),
    pytest.param(b"-film.mp4", id="dash"),
    pytest.param(b"a%03d.mp4", id="pattern"),
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_read(name: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = write_film(tmp_path / "plain.mp4", count=5)
    plain.rename(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    monkeypatch.chdir(tmp_path)
    assert len(frames_of(read(os.fsdecode(name)))) == 5


def test_a_folder_named_like_a_camera_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "2024").mkdir()
    for index, picture in enumerate(pictures(3)):
        cv2.imwrite(str(tmp_path / "2024" / f"{index}.png"), picture)
    monkeypatch.chdir(tmp_path)
    assert len(frames_of(read("2024"))) == 3


UNCOUNTED = [("raw.m4v", "mpeg4", "m4v"), ("raw.h264", "libx264", "h264"),
             ("piped.mkv", "libx264", "matroska"), ("live.webm", "libvpx", "webm")]  # fmt: skip


@pytest.mark.parametrize(("name", "codec", "format"), UNCOUNTED, ids=[u[0] for u in UNCOUNTED])
def test_files_that_do_not_say_their_length_are_read_whole(
    name: str, codec: str, format: str, tmp_path: Path
) -> None:
    path = write_film(tmp_path / name, codec=codec, format=format)
    frames = frames_of(read(path))
    assert len(frames) == 30
    times = [frame.t for frame in frames]
    assert np.diff(times).min() > 0


@pytest.mark.parametrize("number", [0, 7, 20])
def test_a_seek_by_number_gives_that_frame(number: int, tmp_path: Path) -> None:
    capture = open_file(write_film(tmp_path / "film.mp4"))
    wanted = None
    for _ in range(number + 1):
        _, wanted = capture.read()
    assert capture.set(cv2.CAP_PROP_POS_FRAMES, number)
    good, found = capture.read()
    assert good
    np.testing.assert_array_equal(found, wanted)
    assert capture.get(cv2.CAP_PROP_POS_MSEC) == pytest.approx(number * 40, abs=1)
    capture.release()
    assert not capture.isOpened()


def test_a_seek_by_time_lands_at_or_before_it(tmp_path: Path) -> None:
    capture = open_file(write_film(tmp_path / "film.mp4", options={"g": "5"}))
    assert capture.set(cv2.CAP_PROP_POS_MSEC, 600)
    assert capture.grab()
    assert capture.get(cv2.CAP_PROP_POS_MSEC) <= 600
    capture.release()


def check_refused(path: Path, says: str) -> None:
    with pytest.raises(CaptureError, match=says):
        read(path)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        pytest.param(lambda data: b"not a film\n" * 40, "it holds text", id="text"),
        pytest.param(lambda data: data[: len(data) // 3], "cut off", id="cut"),
    ],
)
def test_what_is_no_film_is_refused(
    spoil: Callable[[bytes], bytes], says: str, tmp_path: Path
) -> None:
    path = write_film(tmp_path / "film.mp4")
    path.write_bytes(spoil(path.read_bytes()))
    check_refused(path, says)


def test_sound_alone_is_no_film(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
    check_refused(path, "holds sound and no video; name a file with video")


def test_behind_a_torn_place_of_an_avi_no_frame_has_a_wrong_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_film(tmp_path / "torn.avi", codec="mjpeg", pixels="yuvj420p", count=100)
    data = bytearray(path.read_bytes())
    first, stop = len(data) * 4 // 10, len(data) * 6 // 10
    data[first:stop] = bytes(stop - first)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        frames = frames_of(read(path))
    assert 20 < len(frames) < 60
    for index, frame in enumerate(frames):
        assert frame.t == pytest.approx(index / 25, abs=0.001)
        assert off(frame, index) < 12
    assert "torn; what follows has no known time and is left out" in caplog.text


def test_a_film_of_very_large_frames_is_refused(tmp_path: Path) -> None:
    path = write_large_film(tmp_path / "large.mov")
    with pytest.raises(CaptureError, match="its frames have 16384x8192 pixels, more than 67 mill"):
        read(path)
