"""Clips are cut as the runtime cuts them; ends are repeated, and a seek changes nothing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.data.annotations import ClipPlace, Tube
from edge.data.clips import read_clip, read_numbered, sample_times
from edge.data.media import Media, MediaFolder, nearest_number, numbering_of, open_media
from edge.data.registry import open_dataset
from runtime.errors import CaptureError, ConfigError
from runtime.sampler import Sampler
from runtime.types import ClipSpec

SHAPE = ClipSpec(num_frames=8, height=32, width=32, sampling_rate=4, fps=30.0)
REAL = ["mmaction2_test.avi", "mmaction2_demo.mp4", "one-by-one-person.mp4"]


def whole(path: Path, most: int = 300) -> tuple[list[float], list[np.ndarray]]:
    """Decode a video from its start, without a seek."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    times: list[float] = []
    frames: list[np.ndarray] = []
    while len(frames) < most and capture.grab():
        t = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000.0
        if times and t <= times[-1]:
            continue  # an old AVI's last frame has the time 0
        times.append(t)
        frames.append(cv2.resize(capture.retrieve()[1], (64, 48)))
    capture.release()
    return times, frames


def differ(frames: list[np.ndarray], numbers: list[int], clip: list[np.ndarray]) -> list[int]:
    """Return the samples of a clip that are not the frames of these numbers, byte for byte."""
    assert len(clip) == len(numbers)
    return [
        sample
        for sample, (number, picture) in enumerate(zip(numbers, clip, strict=True))
        if not np.array_equal(frames[number], cv2.resize(picture, (64, 48)))
    ]


def write_video(path: Path, count: int, fps: float = 20.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (64, 48))
    for index in range(count):
        picture = np.full((48, 64, 3), 16 * (index % 16), np.uint8)
        picture[:24] = 16 * (index // 16 % 16)
        writer.write(picture)
    writer.release()
    return path


def told(picture: np.ndarray) -> int:
    return round(picture[:20].mean() / 16) * 16 + round(picture[28:].mean() / 16)


@pytest.mark.parametrize("name", REAL)
def test_a_clip_holds_the_frames_that_the_runtime_would_choose(
    shared_data: Path, name: str
) -> None:
    path = shared_data / "videos" / name
    times, frames = whole(path, 160)
    sampler = Sampler(sampling_rate=SHAPE.sampling_rate, fps=SHAPE.fps)
    chosen: list[int] = []
    for index, t in enumerate(times):
        sample = sampler.offer(t)
        chosen += chosen[-1:] * sample.repeats + [index] * sample.takes
    for first in (0, len(chosen) - SHAPE.num_frames):
        centre_s = times[0] + (first + SHAPE.keyframe_index) * SHAPE.period_s
        clip = read_clip(path, centre_s, num_frames=8, period_s=SHAPE.period_s, clamp=True)
        assert differ(frames, chosen[first : first + SHAPE.num_frames], clip) == []


@pytest.mark.parametrize("name", REAL[:2])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0], ids=["start", "middle", "end"])
def test_ends_are_repeated_and_a_seek_changes_nothing(
    shared_data: Path, name: str, share: float
) -> None:
    path = shared_data / "videos" / name
    times, frames = whole(path)
    keyframe = int(share * (len(times) - 1))
    centre_s = times[keyframe]
    wanted = sample_times(centre_s, num_frames=8, period_s=SHAPE.period_s)
    expected = [int(np.argmin([abs(t - w) for t in times])) for w in wanted]
    by_time = read_clip(path, centre_s, num_frames=8, period_s=SHAPE.period_s, clamp=True)
    assert differ(frames, expected, by_time) == []
    if share < 1:  # the frame without a time can be counted, and so comes last there
        by_number = open_media(path).read_at_frame(keyframe, SHAPE)
        assert differ(frames, expected, by_number) == []


def test_a_keyframe_outside_of_the_video_is_refused_though_ends_are_repeated(
    tmp_path: Path,
) -> None:
    path = write_video(tmp_path / "v.avi", 20)
    clip = read_clip(path, 0.95, num_frames=4, period_s=0.5, clamp=True)
    assert [told(p) for p in clip] == [0, 9, 19, 19]
    for centre_s in (-1.6, 2.0):
        with pytest.raises(CaptureError, match="no frames around"):
            read_clip(path, centre_s, num_frames=4, period_s=0.5, clamp=True)
    with pytest.raises(CaptureError, match="no frames around"):
        read_clip(path, 0.1, num_frames=4, period_s=1.0)


@pytest.mark.parametrize("first", [0, 100, 255, 256, 300, 390])
def test_far_frames_are_found_by_number(tmp_path: Path, first: int) -> None:
    path = write_video(tmp_path / "v.avi", 400)
    numbers = [first, first, first + 3, first + 9]
    frames = read_numbered(path, numbers, keyframe=2)
    assert [told(p) for p in frames] == [n % 256 for n in numbers]


def test_behind_the_last_frame_it_is_repeated_up_to_the_keyframe_only(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.avi", 20)
    assert [told(p) for p in read_numbered(path, [15, 18, 21, 30], keyframe=1)] == [15, 18, 19, 19]
    with pytest.raises(CaptureError, match="no frame 21"):
        read_numbered(path, [15, 18, 21, 30], keyframe=2)


@pytest.mark.parametrize(
    ("position", "number"),
    [(0.0, 0), (0.5, 0), (0.51, 1), (-3.0, 0), (8.9, 9), (9.5, 9), (40.0, 9), (2.4999, 2)],
)
def test_the_nearest_frame_is_the_earlier_of_two(position: float, number: int) -> None:
    assert nearest_number(position, 10) == number


@pytest.mark.parametrize(
    ("names", "says"),
    [
        pytest.param(["00001.jpg", "00002.jpg", "00004.jpg"], "after 00002.jpg comes", id="gap"),
        pytest.param(["a.jpg", "b.jpg"], "has no number", id="no-number"),
        pytest.param(["1.jpg", "2.jpg", "x2.jpg"], "comes x2.jpg", id="other-name"),
        pytest.param(["1.jpg", "1.png"], "comes 1.png", id="twice"),
    ],
)
def test_pictures_must_be_counted(names: list[str], says: str) -> None:
    with pytest.raises(CaptureError, match=says):
        numbering_of(Path("folder"), names)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["00001.jpg", "00002.jpg"], id="padded"),
        pytest.param([f"{i}.png" for i in range(8, 13)], id="not-padded"),
        pytest.param(["id_1_000005.jpg", "id_1_000010.jpg", "id_1_000015.jpg"], id="steps"),
        pytest.param(["0.jpg"], id="one"),
    ],
)
def test_names_of_pictures_are_kept_as_a_rule(names: list[str]) -> None:
    numbering = numbering_of(Path("folder"), names)
    assert [numbering.name(index) for index in range(len(names))] == names


def test_two_videos_of_one_name_need_their_suffix(tmp_path: Path) -> None:
    for name in ("a.avi", "a.mp4", "b.avi"):
        (tmp_path / name).touch()
    folder = MediaFolder(tmp_path)
    assert folder.find("b") == folder.find("b.avi") == tmp_path / "b.avi"
    assert folder.find("a.mp4") == tmp_path / "a.mp4"
    assert folder.find("../a.mp4") is None
    with pytest.raises(CaptureError, match="more than one"):
        folder.find("a")


@pytest.mark.parametrize(
    "content", [pytest.param(b"", id="empty"), pytest.param(b"no video" * 99, id="text")]
)
def test_what_is_no_video_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=r"v\.mp4"):
        open_media(path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(CaptureError, match="holds no picture"):
        open_media(tmp_path / "folder")


def test_times_of_an_annotation_become_frames() -> None:
    media = Media(path=Path("v"), fps=30.0, num_frames=27030, size_wh=(1, 1), start_s=900.0)
    assert media.frame_at(902.0) == 60
    assert media.frame_at(0.0) == 0
    assert media.frame_at(5000.0) == 27029
    assert media.end_s == 1801.0


FRAMES, BOXES = np.arange(3), np.ones((3, 4), np.float32)


@pytest.mark.parametrize(
    ("frames", "boxes", "label", "says"),
    [
        pytest.param(FRAMES[::-1], BOXES, 0, "ascend", id="order"),
        pytest.param(FRAMES - 1, BOXES, 0, "from 0", id="below-0"),
        pytest.param(FRAMES[:0], BOXES[:0], 0, "K of 1 or more", id="empty"),
        pytest.param(FRAMES.astype(np.int32), BOXES, 0, "int64", id="frames-type"),
        pytest.param(FRAMES, BOXES[:2], 0, "expected float32", id="count"),
        pytest.param(FRAMES, BOXES * np.float32(np.inf), 0, "not finite", id="infinite"),
        pytest.param(FRAMES, BOXES, -1, "label -1", id="label"),
    ],
)
def test_a_tube_is_whole(frames: np.ndarray, boxes: np.ndarray, label: int, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Tube(video="v", label=label, frames=frames, boxes=boxes)
    assert len(Tube(video="v", label=0, frames=FRAMES, boxes=BOXES)) == 3


@pytest.mark.parametrize("place", [("", 0, 0.0), ("v", -1, 0.0), ("v", 0, float("nan"))])
def test_a_place_is_one(place: tuple[str, int, float]) -> None:
    with pytest.raises(ConfigError, match="a clip at"):
        ClipPlace(video=place[0], frame=place[1], timestamp=place[2])


def test_a_drawn_world_lies_in_no_video() -> None:
    clips = open_dataset("synthetic-val:3", SHAPE)
    assert clips.where(0) is None
    assert clips.tubes() == []
    assert clips.label_ids == tuple(range(1, 19))
