"""Clips are chosen by time, spread, repeatable, and refused where they stand for nothing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.calibrate import new_clips
from calibration.clips import choose_clips, plan_clips
from edge.data.clips import VideoInfo, probe_video, read_clip, read_resized_clip, sample_times
from edge.data.registry import open_dataset
from runtime.errors import CalibrationError, CaptureError
from runtime.preprocess import resize_reference
from runtime.types import ClipSpec

FORMAT = ClipSpec(num_frames=4, sampling_rate=1, fps=10.0, height=32, width=32)


def write_video(path: Path, *, seconds: float, fps: float = 20.0, flat: bool = False) -> Path:
    """Write a video whose frames carry their number in their brightness."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (64, 48))
    for index in range(round(seconds * fps)):
        frame = np.full((48, 64, 3), 0 if flat else index * 3 % 256, np.uint8)
        if not flat:
            frame[10:30, 10:30] = 255 - frame[10:30, 10:30]
        writer.write(frame)
    writer.release()
    return path


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name, seconds in (("a.avi", 3.0), ("b.avi", 2.0)):
        write_video(folder / name, seconds=seconds)
    return folder


def test_samples_lie_around_the_keyframe() -> None:
    assert sample_times(2.0, num_frames=4, period_s=0.5) == [1.0, 1.5, 2.0, 2.5]


@pytest.mark.parametrize(
    ("centre_s", "expected"),
    [
        pytest.param(1.0, [16, 18, 20, 22], id="on-frames"),
        pytest.param(1.02, [16, 18, 20, 22], id="nearest-is-earlier"),
        pytest.param(1.03, [17, 19, 21, 23], id="nearest-is-later"),
        pytest.param(0.2, [0, 2, 4, 6], id="first-frame"),
        pytest.param(2.85, [53, 55, 57, 59], id="last-frame"),
    ],
)
def test_a_clip_is_the_nearest_frames_in_time(
    tmp_path: Path, centre_s: float, expected: list[int]
) -> None:
    path = write_video(tmp_path / "v.avi", seconds=3.0)
    frames = read_clip(path, centre_s, num_frames=4, period_s=0.1)
    assert [round(float(f[0, 0].mean()) / 3) for f in frames] == expected


def test_a_late_seek_gives_the_frames_that_reading_on_gives(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.avi", seconds=6.0, fps=10.0)
    frames = read_clip(path, 5.0, num_frames=4, period_s=0.1)
    assert [round(float(f[0, 0].mean()) / 3) for f in frames] == [48, 49, 50, 51]


def test_pixels_are_those_of_the_devices_resize(videos: Path) -> None:
    raw = read_clip(videos / "a.avi", 1.0, num_frames=4, period_s=0.1)
    clip = read_resized_clip(videos / "a.avi", 1.0, num_frames=4, period_s=0.1, height=32, width=40)
    expected = [resize_reference(frame, 32, 40)[:, :, ::-1] for frame in raw]
    assert np.array_equal(clip, np.stack(expected))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, "no video file", id="missing"),
        pytest.param(b"", "empty", id="zero-bytes"),
        pytest.param(b"no video\n" * 50, "not a video", id="text"),
    ],
)
def test_what_is_no_video_is_named(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "x.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CaptureError, match=words):
        probe_video(path)


def test_a_time_behind_the_end_is_refused(videos: Path) -> None:
    with pytest.raises(CaptureError, match="no frames around"):
        read_clip(videos / "b.avi", 60.0, num_frames=4, period_s=0.1)


def test_clips_are_spread_and_repeatable(videos: Path) -> None:
    first = choose_clips(videos, FORMAT, count=8, seed=3)
    again = choose_clips(videos, FORMAT, count=8, seed=3)
    other = choose_clips(videos, FORMAT, count=8, seed=4)
    assert first.frames_rgb.shape == (8, 4, 32, 32, 3)
    assert [s.path.name for s in first.sources] == ["a.avi"] * 4 + ["b.avi"] * 4
    assert np.array_equal(first.frames_rgb, again.frames_rgb)
    assert first.sources == again.sources
    assert first.sources != other.sources


def test_every_video_gives_one_before_any_gives_two() -> None:
    infos = [
        VideoInfo(path=Path(f"{n}.mp4"), duration_s=d, fps=30.0, size_wh=(64, 48))
        for n, d in (("a", 100.0), ("b", 1.0), ("c", 50.0))
    ]
    plan = plan_clips(infos, FORMAT, count=10)
    counts = [sum(s.path == i.path for s in plan) for i in infos]
    assert sum(counts) == 10
    assert min(counts) >= 2
    assert all(
        FORMAT.period_s * 2 <= s.centre_s <= i.duration_s - FORMAT.period_s
        for i in infos
        for s in plan
        if s.path == i.path
    )


def test_unusable_videos_are_reported_by_name(
    videos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (videos / "broken.mp4").write_bytes(b"text")
    write_video(videos / "short.avi", seconds=0.1)
    write_video(videos / "flat.avi", seconds=1.0, flat=True)
    found = choose_clips(videos, FORMAT, count=9)
    assert set(found.unreadable) == {"broken.mp4", "short.avi"}
    assert found.constant == 3
    assert len(found.sources) == 6
    assert "broken.mp4" in caplog.text
    assert "only 6 clips" in caplog.text


@pytest.mark.parametrize(
    ("fill", "words"),
    [
        pytest.param(lambda folder: None, "no usable video", id="empty-folder"),
        pytest.param(
            lambda folder: (folder / "x.mp4").write_bytes(b""),
            "x.mp4: .* is empty",
            id="broken-only",
        ),
        pytest.param(
            lambda folder: write_video(folder / "f.avi", seconds=1.0, flat=True),
            "one flat colour",
            id="constant",
        ),
        pytest.param(lambda folder: folder.rmdir(), "no calibration data", id="missing"),
    ],
)
def test_data_that_stands_for_nothing_is_refused(tmp_path: Path, fill, words: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    fill(folder)
    with pytest.raises(CalibrationError, match=words):
        choose_clips(folder, FORMAT, count=4)


def test_a_data_set_gives_the_clips_it_teaches(tmp_path: Path) -> None:
    clip = ClipSpec(num_frames=4, sampling_rate=1, fps=10.0, height=32, width=48)
    clips = new_clips("synthetic-train:10", clip, count=4)
    assert clips.frames_rgb.shape == (4, 4, 32, 48, 3)
    shape = ClipSpec(num_frames=4, height=32, width=48, sampling_rate=1, fps=10.0)
    world = open_dataset("synthetic-train:10", shape)
    for frames, source, index in zip(clips.frames_rgb, clips.sources, (0, 2, 5, 7), strict=True):
        sample = world[index]
        assert np.array_equal(frames, sample.frames_rgb)
        assert str(source.path) == sample.clip_id
    assert len(new_clips("synthetic-val:3", clip, count=9).sources) == 3


def test_a_part_of_ones_own_data_gives_the_clips_of_that_part_alone(videos: Path) -> None:
    data = videos.parent
    (data / "classes.txt").write_text("walk\n")
    for part, name in (("train", "a"), ("val", "b")):
        rows = "".join(f"{name},{t},0.1,0.1,0.5,0.9,1,0\n" for t in (0.5, 1.0, 1.5))
        (data / f"annotations_{part}.csv").write_text(rows)
    clips = new_clips(f"{data}:train", FORMAT, count=9)
    assert len(clips.sources) == 3
    assert {source.path.parts[0] for source in clips.sources} == {"a"}
    with pytest.raises(CalibrationError, match="no calibration data"):
        new_clips(f"{data}:nonsense", FORMAT, count=9)


def test_several_data_sets_give_their_shares() -> None:
    mixed = new_clips("synthetic-train:9*2+synthetic-val:9", FORMAT, count=9)
    names = [str(source.path) for source in mixed.sources]
    assert len(mixed.frames_rgb) == 9
    assert sum("train" in name for name in names) == 6
    assert sum("val" in name for name in names) == 3
    assert mixed.wanted == 9


def test_a_folder_named_like_a_data_set_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("synthetic-train").mkdir()
    with pytest.raises(CalibrationError, match=r"no usable video|no video"):
        new_clips("synthetic-train", FORMAT, count=2)


def test_real_videos_give_clips(shared_data: Path) -> None:
    found = choose_clips(shared_data / "videos" / "mmaction2_demo.mp4", FORMAT, count=5)
    assert found.frames_rgb.shape[0] == 5
    assert found.frames_rgb.std() > 10
