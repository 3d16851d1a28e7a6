"""Sources give real frames with true times, say what is wrong, and never make a frame up."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.errors import (
    BackendUnavailableError,
    CameraLostError,
    CaptureError,
    ConfigError,
    EdgeError,
    StaleFrameError,
)
from runtime.sampler import Sampler
from runtime.sources import Frame, Gap, SourceConfig, csi_pipeline, open_source, parse_uri
from runtime.sources import opencv as opencv_module
from runtime.sources.media_clock import Pace
from tests.runtime.fake_camera import FakeCamera, FakeCapture, steady

FAST = SourceConfig(
    max_age_ms=100,
    read_timeout_s=1,
    open_timeout_s=1,
    reconnect_backoff_s=0.02,
    reconnect_deadline_s=2,
    live_queue=64,
)


def read_all(source: Any) -> tuple[list[Frame | Gap], list[StaleFrameError], EdgeError | None]:
    """Read to the end, going on after stale frames."""
    items: list[Frame | Gap] = []
    stale: list[StaleFrameError] = []
    while True:
        try:
            item = source.read()
        except StaleFrameError as error:
            stale.append(error)
            continue
        except EdgeError as error:
            return items, stale, error
        if item is None:
            return items, stale, None
        items.append(item)


def frames_of(items: list[Frame | Gap]) -> list[Frame]:
    return [i for i in items if isinstance(i, Frame)]


def gaps_of(items: list[Frame | Gap]) -> list[str]:
    return [i.reason for i in items if isinstance(i, Gap)]


SIZE = (32, 24)


# --- what the user writes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "target", "live"),
    [
        pytest.param("0", "camera", "0", True, id="index"),
        pytest.param(2, "camera", "2", True, id="int"),
        pytest.param("v4l2:///dev/video0", "camera", "/dev/video0", True, id="v4l2"),
        pytest.param("/dev/video1", "camera", "/dev/video1", True, id="device-path"),
        pytest.param("csi://1", "csi", "1", True, id="csi"),
        pytest.param("rtsp://h:8554/a", "stream", "rtsp://h:8554/a", True, id="rtsp"),
        pytest.param("http://h/a.mjpg", "http", "http://h/a.mjpg", True, id="http"),
    ],
)
def test_an_address_is_understood(text: str | int, kind: str, target: str, live: bool) -> None:
    uri = parse_uri(text)
    assert (uri.kind, uri.target, uri.live) == (kind, target, live)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        pytest.param("", ConfigError, "empty", id="nothing"),
        pytest.param("ftp://h/a", ConfigError, "ftp:// is not known", id="scheme"),
        pytest.param("csi://left", ConfigError, "csi://0", id="csi-name"),
        pytest.param("v4l2://0", ConfigError, "v4l2:///dev/video0", id="v4l2-number"),
        pytest.param("rtsp://", ConfigError, "no host", id="no-host"),
        pytest.param("nothere.mp4", CaptureError, "no such file", id="missing-file"),
        pytest.param("file:///no/where.mp4", CaptureError, "no such file", id="missing-file-uri"),
        pytest.param("rtsp://[::1", ConfigError, "no address", id="open-bracket"),
        pytest.param("x" * 5000, CaptureError, "^x{80}: .*name too long", id="long-name"),
        pytest.param("~nobody-of-that-name/a.mp4", CaptureError, "home", id="unknown-home"),
        pytest.param("/dev/null", CaptureError, "device", id="device"),
        pytest.param("img_%03d.png", CaptureError, "give their folder", id="pattern"),
    ],
)
def test_an_impossible_address_is_one_sentence(
    text: str, error: type[EdgeError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        parse_uri(text)
    assert "\n" not in str(caught.value)


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(CaptureError, match="is a pipe"):
        parse_uri(tmp_path / "pipe.mp4")


@pytest.mark.parametrize(
    "text", ["~/a b.mp4", "file://{home}/a%20b.mp4", "file://localhost{home}/a%20b.mp4"]
)
def test_ways_to_write_a_path(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a b.mp4").write_bytes(b"video")
    assert parse_uri(text.format(home=tmp_path)).target == str(tmp_path / "a b.mp4")


@pytest.mark.parametrize(
    ("fps", "fraction"), [(30.0, "30/1"), (29.97, "29970/1000"), (120.0, "120/1")], ids=str
)
def test_the_csi_pipeline_asks_for_size_and_rate_and_keeps_the_newest(
    fps: float, fraction: str
) -> None:
    text = csi_pipeline(1, size_wh=(1920, 1080), fps=fps)
    assert text.startswith("nvarguscamerasrc sensor-id=1 ! ")
    assert "width=(int)1920, height=(int)1080" in text
    assert f"framerate=(fraction){fraction} " in text
    assert text.endswith("appsink drop=true max-buffers=1 sync=false")
    assert "format=(string)BGR !" in text


def test_csi_without_gstreamer_says_how_to_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opencv_module, "has_gstreamer", lambda: False)
    with pytest.raises(BackendUnavailableError, match="getBuildInformation"):
        open_source("csi://0")


def test_a_camera_that_does_not_exist_is_named() -> None:
    with pytest.raises(CaptureError, match="there is no /dev/video63"):
        open_source(63)


# --- files ----------------------------------------------------------------------------------------


def test_a_file_gives_every_frame_in_order_with_media_time(shared_data: Path) -> None:
    path = shared_data / "videos" / "mmaction2_demo.mp4"
    with open_source(path) as source:
        frames = frames_of(list(source))
        assert not source.live
        assert (source.fps, source.frame_count, source.dropped) == (28.0, 280, 0)
    assert [f.index for f in frames] == list(range(280))
    assert [f.t for f in frames] == pytest.approx([i / 28 for i in range(280)], abs=1e-6)
    assert frames[0].image_bgr.shape == (256, 340, 3)
    assert all(b.arrival >= a.arrival for a, b in itertools.pairwise(frames))


def test_ntsc_rate_stays_a_fraction(shared_data: Path) -> None:
    with open_source(shared_data / "videos" / "no_person_dog.mp4") as source:
        last = deque(source, maxlen=1).pop()
        assert source.fps == pytest.approx(30000 / 1001, abs=1e-6)
    assert isinstance(last, Frame)
    assert last.t == pytest.approx(288 * 1001 / 30000, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "count"), [("mmaction2_test.avi", 164), ("asl_gestures/bird.mkv", 63)], ids=str
)
def test_times_rise_in_containers_that_report_odd_ones(
    shared_data: Path, name: str, count: int
) -> None:
    with open_source(shared_data / "videos" / name) as source:
        times = [f.t for f in frames_of(list(source))]
        assert source.end_note is None
    assert len(times) == count
    assert all(0 < b - a < 0.2 for a, b in itertools.pairwise(times))


def test_frames_the_clip_does_not_want_are_not_converted() -> None:
    camera = FakeCamera([SIZE] * 60)
    with open_source(__file__, sampler=Sampler(sampling_rate=4, fps=30.0), opener=camera) as source:
        frames = frames_of(list(source))
        assert source.grabbed == 60
    assert [f.index for f in frames] == list(range(0, 60, 4))
    assert camera.captures[0].retrieved == 15


def test_keep_all_delivers_the_others_too() -> None:
    with open_source(
        __file__,
        SourceConfig(keep_all=True),
        sampler=Sampler(sampling_rate=4, fps=30.0),
        opener=FakeCamera([SIZE] * 20),
    ) as source:
        frames = frames_of(list(source))
    assert [f.index for f in frames] == list(range(20))
    assert [f.index for f in frames if f.sample and f.sample.wanted] == [0, 4, 8, 12, 16]


def test_a_slow_reader_of_a_file_loses_nothing_and_little_is_read_ahead() -> None:
    camera = FakeCamera([SIZE] * 50)
    with open_source(__file__, SourceConfig(file_queue=3), opener=camera) as source:
        time.sleep(0.1)
        assert source.grabbed <= 4
        assert len(frames_of(list(source))) == 50
        assert source.dropped == 0


def test_a_file_in_real_time_arrives_as_from_a_camera() -> None:
    config = SourceConfig(real_time=True, file_queue=1)
    with open_source(__file__, config, opener=FakeCamera([SIZE] * 12)) as source:
        frames = frames_of(list(source))
    arrivals, times = [f.arrival for f in frames], [f.t for f in frames]
    assert len(arrivals) == 12
    assert all(
        later - arrivals[0] >= t - times[0] - 1e-6 for later, t in zip(arrivals, times, strict=True)
    ), "no frame comes before it is due"


def test_the_pace_of_a_file_begins_again_where_its_clock_jumps() -> None:
    pace = Pace(fps=10.0)
    assert pace.wait_s(7.0, 100.0) == 0.0, "the first frame is due at once"
    assert pace.wait_s(7.5, 100.1) == pytest.approx(0.4)
    assert pace.wait_s(8.0, 103.0) == 0.0, "late"
    assert pace.wait_s(11.5, 104.0) == pytest.approx(0.5), "and no later because of it"
    assert pace.wait_s(2.0, 105.0) == 0.0, "back"
    assert pace.wait_s(2.25, 105.0) == pytest.approx(0.25)
    assert pace.wait_s(900.0, 106.0) == 0.0, "far ahead"
    slow = Pace(fps=0.1)
    assert slow.wait_s(0.0, 0.0) == 0.0
    assert slow.wait_s(10.0, 1.0) == 9.0, "a picture each ten seconds"


@pytest.fixture
def broken(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that makes a broken file by name."""

    def make(name: str) -> Path:
        path = tmp_path / name
        path.write_bytes(
            {
                "zero.mp4": b"",
                "text.mp4": b"this is not a video\n" * 20,
                "noise.mp4": bytes(range(1, 256)) * 50,
                "noise.xyz": bytes(range(1, 256)) * 50,
            }[name]
        )
        return path

    return make


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("zero.mp4", "empty", id="zero-bytes"),
        pytest.param("text.mp4", "holds text", id="text"),
        pytest.param("noise.mp4", "does not begin as such a file does", id="noise-mp4"),
        pytest.param("noise.xyz", "not known to this OpenCV", id="noise"),
    ],
)
def test_a_broken_file_is_one_sentence(
    broken: Callable[[str], Path], name: str, words: str
) -> None:
    with pytest.raises(CaptureError, match=words) as caught:
        open_source(broken(name))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_mp4_without_its_index_is_said_to_be_cut(tmp_path: Path, shared_data: Path) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes((shared_data / "videos" / "mmaction2_demo.mp4").read_bytes()[:200_000])
    with pytest.raises(CaptureError, match="cut off before its index"):
        open_source(cut)


def test_a_video_cut_in_the_middle_says_how_much_came(
    tmp_path: Path, shared_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cut = tmp_path / "cut.avi"
    cut.write_bytes((shared_data / "videos" / "mmaction2_test.avi").read_bytes()[:100_000])
    with open_source(cut) as source:
        count = len(frames_of(list(source)))
        note = source.end_note
    assert 0 < count < 164
    assert note is not None
    assert f"ended after {count} of 164 announced frames" in note
    assert note in caplog.text


def test_a_file_without_a_single_frame_is_an_error() -> None:
    with (
        open_source(__file__, opener=FakeCamera([])) as source,
        pytest.raises(CaptureError, match="none can be decoded"),
    ):
        source.read()


def test_nothing_but_our_sentence_reaches_stderr(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("hello")
    code = (
        "from runtime.sources import open_source\n"
        f"for s in ({str(text)!r}, 'rtsp://127.0.0.1:9/x', 63):\n"
        "    try: open_source(s)\n"
        "    except Exception as e: print(type(e).__name__)\n"
        "import sys; assert 'torch' not in sys.modules"
    )
    quiet = {k: v for k, v in os.environ.items() if not k.startswith("OPENCV")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, env=quiet,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.stdout.split() == ["CaptureError"] * 3
    assert done.stderr == ""


def test_nobody_at_an_rtsp_address_is_an_error_within_the_time_out() -> None:
    start = time.perf_counter()
    with pytest.raises(CaptureError, match="nobody serves this stream"):
        open_source("rtsp://127.0.0.1:9/none", SourceConfig(open_timeout_s=1))
    assert time.perf_counter() - start < 3


# --- folders of images ----------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Path]:
    """Return a folder of twelve images, numbered without leading zeros, and a text file."""
    for i in range(12):
        cv2.imwrite(str(tmp_path / f"img_{i}.png"), np.full((20, 30, 3), 10 * i, np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_images_come_in_natural_order_at_the_given_rate(images: Path) -> None:
    with open_source(images, SourceConfig(image_fps=12.5)) as source:
        frames = frames_of(list(source))
    assert [int(f.image_bgr[0, 0, 0]) for f in frames] == [10 * i for i in range(12)]
    assert [f.t for f in frames] == pytest.approx([i / 12.5 for i in range(12)])
    assert source.fps == 12.5


def test_an_image_of_another_size_is_a_gap(images: Path) -> None:
    cv2.imwrite(str(images / "img_5.png"), np.zeros((40, 30, 3), np.uint8))
    with open_source(images) as source:
        items = list(source)
    assert len(frames_of(items)) == 12
    assert gaps_of(items) == [
        "frame size changed from 30x20 to 30x40",
        "frame size changed from 30x40 to 30x20",
    ]


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="holds no image"):
        open_source(tmp_path)


# --- live sources ---------------------------------------------------------------------------------


def test_only_the_newest_frame_waits_and_the_others_are_counted() -> None:
    with open_source(0, SourceConfig(), opener=FakeCamera([SIZE] * 10 + [0.6])) as source:
        time.sleep(0.2)
        item = source.read()
        assert isinstance(item, Frame)
        assert item.index == 9
        assert source.dropped == 9
        assert source.live


def test_a_stream_begins_behind_its_backlog_even_where_one_old_frame_was_slow() -> None:
    slow = 0.05  # more than a frame: the processor was away
    old = [slow, SIZE, *[SIZE] * 10, slow, SIZE, *[SIZE] * 9]
    camera = FakeCamera([*old, *steady(8, SIZE, fps=30)])
    with open_source("rtsp://camera/1", FAST, opener=camera) as source:
        first = source.read()
    assert isinstance(first, Frame)
    # The first of the fresh ones shows that there is no more; the second is handed over.
    assert first.index == 21 + 1


@pytest.mark.parametrize("together", [2, 3])
def test_a_camera_that_sends_several_frames_at_once_is_seen_at_once(together: int) -> None:
    """No two frames in a row are waited for, and yet there is no backlog."""
    script = [step for _ in range(6) for step in (together / 30, *[SIZE] * together)]
    config = replace(FAST, max_age_ms=2_000)
    with open_source("rtsp://camera/1", config, opener=FakeCamera(script)) as source:
        first = source.read()
    assert isinstance(first, Frame)
    assert first.index == together


def test_frames_kept_to_be_drawn_never_cost_a_sample() -> None:
    sampler = Sampler(sampling_rate=4, fps=30.0)
    script = list(itertools.chain.from_iterable([SIZE, 1 / 60] for _ in range(40)))
    config = SourceConfig(live_queue=8, keep_all=True, max_age_ms=10_000)
    with open_source(0, config, sampler=sampler, opener=FakeCamera([*script, 1.0])) as source:
        time.sleep(1.0)
        items = [source.read() for _ in range(source.waiting)]
    frames = frames_of([i for i in items if i is not None])
    taken = [f for f in frames if f.sample and f.sample.wanted]
    assert len(frames) <= 16
    assert [f.sample.filled for f in taken if f.sample] == list(range(1, len(taken) + 1))
    assert source.dropped > 0


def test_a_stalled_camera_is_stale_once_and_then_goes_on() -> None:
    with open_source(0, FAST, opener=FakeCamera([SIZE, SIZE, 0.4, SIZE], [SIZE])) as source:
        first = [source.read(), source.read()]
        assert all(isinstance(i, Frame) for i in first)
        with pytest.raises(StaleFrameError, match="more than the 100 ms allowed"):
            source.read()
        third = source.read()
        assert isinstance(third, Frame)
        assert third.index == 2
        assert third.t - first[1].t > 0.3  # type: ignore[union-attr]


def test_a_lost_camera_that_comes_back_is_a_gap() -> None:
    camera = FakeCamera([SIZE] * 3, "still off", [SIZE] * 2 + [0.05])
    with open_source(0, FAST, opener=camera) as source:
        items, _, error = read_all(source)
        assert source.reconnects == 1
    kinds = ["gap" if isinstance(i, Gap) else i.index for i in items]
    assert kinds == [0, 1, 2, "gap", 3, 4]
    assert "attempt 2" in gaps_of(items)[0]
    assert isinstance(error, CameraLostError)
    assert camera.opened == 6
    assert all(c.released for c in camera.captures)


def test_a_camera_that_stays_away_is_lost_within_the_bound() -> None:
    camera = FakeCamera([SIZE] * 3)
    start = time.perf_counter()
    with open_source(0, FAST, opener=camera) as source:
        items, _, error = read_all(source)
    assert len(frames_of(items)) == 3
    assert isinstance(error, CameraLostError)
    assert "lost after 3 frames and did not come back in 3 attempts" in str(error)
    assert "no such camera" in str(error)
    assert camera.opened == 4
    assert time.perf_counter() - start < 2


def test_attempts_stop_at_their_common_deadline() -> None:
    config = SourceConfig(reconnect_attempts=50, reconnect_backoff_s=0.2, reconnect_deadline_s=0.5)
    camera = FakeCamera([SIZE])
    start = time.perf_counter()
    with open_source(0, config, opener=camera) as source:
        _, _, error = read_all(source)
    assert isinstance(error, CameraLostError)
    assert camera.opened <= 4
    assert time.perf_counter() - start < 1.5


def test_a_camera_that_opens_but_gives_nothing_is_lost() -> None:
    with open_source(0, FAST, opener=FakeCamera([], [], [], [])) as source:
        _, _, error = read_all(source)
    assert isinstance(error, CameraLostError)
    assert "gave no frame" in str(error)


def test_a_changed_frame_size_restarts_the_clip() -> None:
    sampler = Sampler(sampling_rate=1, fps=30.0)
    script = [SIZE, 0.034, SIZE, 0.034, SIZE, (64, 48), 0.034, (64, 48), 0.02]
    with open_source(0, FAST, sampler=sampler, opener=FakeCamera(script)) as source:
        items, _, _ = read_all(source)
    at = next(i for i, item in enumerate(items) if isinstance(item, Gap))
    assert gaps_of(items)[0] == "frame size changed from 32x24 to 64x48"
    after = items[at + 1]
    assert isinstance(after, Frame)
    assert after.sample is not None
    assert (after.sample.filled, after.sample.takes) == (1, 1)


def test_a_pause_longer_than_the_limit_is_a_gap_before_the_next_frame() -> None:
    sampler = Sampler(sampling_rate=4, fps=30.0, max_gap_s=0.1)
    with open_source(
        0, FAST, sampler=sampler, opener=FakeCamera([SIZE, 0.2, SIZE, 0.02])
    ) as source:
        items, stale, _ = read_all(source)
    assert [type(i) for i in items[:3]] == [Frame, Gap, Frame]
    assert "no frame for" in gaps_of(items)[0]
    assert len(stale) >= 1


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        pytest.param(np.zeros((24, 32), np.uint8), r"\(24, 32\)", id="grey"),
        pytest.param(np.zeros((24, 32, 4), np.uint8), r"\(24, 32, 4\)", id="four-channels"),
        pytest.param(np.zeros((24, 32, 3), np.uint16), "uint16", id="sixteen-bit"),
        pytest.param(None, "cannot be decoded", id="no-picture"),
    ],
)
def test_a_picture_that_is_not_bgr_is_refused(picture: Any, words: str) -> None:
    camera = FakeCamera([{"image": 1}])
    with open_source(0, FAST, opener=lambda u, c: _with_picture(camera(u, c), picture)) as source:
        _, _, error = read_all(source)
    assert isinstance(error, CaptureError)
    assert re.search(words, str(error))


def _with_picture(capture: FakeCapture, picture: Any) -> FakeCapture:
    capture.retrieve = lambda: (picture is not None, picture)  # type: ignore[method-assign]
    return capture


def test_closing_ends_the_thread_and_releases_the_camera() -> None:
    camera = FakeCamera([SIZE] * 5 + [0.3] + [SIZE] * 1000)
    before = threading.active_count()
    source = open_source(0, SourceConfig(), opener=camera)
    source.read()
    source.close()
    assert threading.active_count() == before
    assert camera.captures[0].released
    assert source.read() is None


def test_a_driver_that_hangs_does_not_hold_close_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = SourceConfig(read_timeout_s=0.1)
    source = open_source(0, config, opener=FakeCamera([SIZE, 3.0, SIZE]))
    source.read()
    start = time.perf_counter()
    source.close()
    assert time.perf_counter() - start < 2
    assert "did not return within" in caplog.text


@pytest.mark.parametrize(
    "kwargs",
    [
        pytest.param({"max_age_ms": 0}, id="age"),
        pytest.param({"live_queue": 0}, id="queue"),
        pytest.param({"open_timeout_s": float("inf")}, id="time-out"),
        pytest.param({"max_age_ms": float("nan")}, id="age-nan"),
        pytest.param({"max_age_ms": 1e300}, id="age-endless"),
        pytest.param({"reconnect_attempts": -1}, id="attempts"),
    ],
)
def test_impossible_limits_are_refused(kwargs: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SourceConfig(**kwargs)
