"""Sinks write whole files or none, and draw what a person can read."""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.cli.stopping import stoppable
from runtime.decode import Detections
from runtime.errors import CameraLostError, CaptureError, ConfigError, EdgeError, SinkError
from runtime.results import FrameStatus, KeyframeResult, Timings
from runtime.sinks import (
    JsonLinesSink,
    JsonStdoutSink,
    ShowSink,
    Sink,
    Sinks,
    TableSink,
    VideoSink,
    draw,
    encoder,
    video_file,
)
from runtime.sinks.draw import NEUTRAL, UNTRAINED, Style, colour_of, plain
from runtime.sinks.layout import Rect, place
from runtime.sinks.pairing import Pairing
from runtime.sinks.table import row
from runtime.sinks.video_file import VideoFile
from runtime.sources import Frame, Image
from runtime.types import ClipSpec

NAMES = ("stand", "walk", "talk to (e.g., self, a person)", "geh\u00f6rt")
CLIP = ClipSpec(num_frames=8, sampling_rate=4, fps=30.0, height=32, width=32)
STRIDE = 8


def make_result(
    frame: int = 28,
    *,
    boxes: list[tuple[float, float, float, float]] | None = None,
    trained: bool = True,
    size_wh: tuple[int, int] = (320, 240),
    **changes: Any,
) -> KeyframeResult:
    """Return a result whose keyframe lies 12 frames (at 30 fps) before its newest frame."""
    boxes = [(20, 60, 90, 220)] if boxes is None else boxes
    actions = np.tile(np.array([0.91, 0.2, 0.7, 0.1], np.float32), (len(boxes), 1))
    values: dict[str, Any] = {
        "frame": frame,
        "t": frame / 30,
        "keyframe": frame - 12,
        "keyframe_t": (frame - 12) / 30,
        "latency_ms": 34.25,
        "detections": Detections(
            xyxy=np.array(boxes, np.float32).reshape(-1, 4),
            actor=np.linspace(0.9, 0.5, len(boxes), dtype=np.float32),
            actions=actions,
            token=np.arange(len(boxes)),
        ),
        "class_names": NAMES,
        "action_conf": 0.5,
        "trained": trained,
        "size_wh": size_wh,
        "timings": Timings(capture_ms=1, preprocess_ms=2, inference_ms=3, decode_ms=4),
    }
    return KeyframeResult(**(values | changes))


def make_frame(index: int, *, fps: float = 30.0, size_wh: tuple[int, int] = (64, 48)) -> Frame:
    image = np.full((size_wh[1], size_wh[0], 3), index % 200, np.uint8)
    return Frame(image_bgr=image, index=index, t=index / fps, arrival=0.0)


def make_status(*, live: bool = False, warming_up: bool = False, fps: float = 30.0) -> FrameStatus:
    return FrameStatus(
        warming_up=warming_up, samples=3, num_frames=8, dropped=5, live=live, fps=fps
    )


def run(
    sinks: Sinks,
    *,
    frames: Iterable[Frame] = (),
    results: Iterable[KeyframeResult] = (),
    live: bool = False,
    end: BaseException | None = None,
) -> None:
    """Play a run into sinks, and end it with an error if one is given."""
    with sinks:
        for frame in frames:
            sinks.frame(frame, make_status(live=live))
        for result in results:
            sinks.result(result)
        if end is not None:
            raise end


@pytest.mark.parametrize(
    ("action_conf", "named"),
    [
        pytest.param(0.5, {NAMES[0]: 0.91, NAMES[2]: 0.7}, id="one for all"),
        pytest.param((0.95, 0.2, 0.7, 0.11), {NAMES[2]: 0.7, NAMES[1]: 0.2}, id="each its own"),
    ],
)
def test_an_action_is_named_from_its_threshold_on(
    action_conf: float | tuple[float, ...], named: dict[str, float]
) -> None:
    actions = np.array([[0.91, 0.2, 0.7, 0.1]], np.float64)  # equal to a threshold is enough
    found = make_result(action_conf=action_conf)
    result = replace(found, detections=replace(found.detections, actions=actions))
    assert result.actions(0) == named
    assert list(result.actions(0)) == list(named), "best first"
    assert result.to_dict()["detections"][0]["actions"] == named


LOST = CameraLostError("camera 0: lost")


# --- JSON Lines and table -------------------------------------------------------------------------


def test_a_line_holds_what_is_promised() -> None:
    assert make_result().to_dict() == {
        "frame": 28,
        "t": 0.933333,
        "keyframe": 16,
        "keyframe_t": 0.533333,
        "latency_ms": 34.25,
        "detections": [
            {
                "xyxy": [20.0, 60.0, 90.0, 220.0],
                "actor": 0.9,
                "actions": {"stand": 0.91, "talk to (e.g., self, a person)": 0.7},
            }
        ],
    }
    assert make_result(trained=False).to_dict()["trained"] is False


def test_json_lines_appear_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with Sinks([JsonLinesSink(path)]) as sinks:
        sinks.result(make_result(28))
        assert not path.exists()
        assert (tmp_path / "out.jsonl.part").read_text().count("\n") == 1
        sinks.result(make_result(36))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["frame"] for line in lines] == [28, 36]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.jsonl"]


def test_after_a_failed_run_the_part_is_kept_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sinks = Sinks([JsonLinesSink(tmp_path / "out.jsonl")])
    with pytest.raises(CameraLostError):
        run(sinks, results=[make_result()], end=LOST)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.jsonl.part"]
    assert "1 results of the failed run are in" in caplog.text


def test_interrupting_is_a_proper_end(tmp_path: Path) -> None:
    sinks = Sinks([JsonLinesSink(tmp_path / "out.jsonl")])
    with pytest.raises(KeyboardInterrupt):
        run(sinks, results=[make_result()], end=KeyboardInterrupt())
    assert (tmp_path / "out.jsonl").exists()


def test_an_existing_file_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("mine")
    with pytest.raises(SinkError, match="is there already"):
        JsonLinesSink(path)
    JsonLinesSink(path, overwrite=True).close(ok=True)
    assert path.read_text() == ""


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="No such file or directory"):
        JsonLinesSink(tmp_path / "no" / "out.jsonl")
    with pytest.raises(SinkError, match="there is no folder"):
        video_sink(tmp_path / "no" / "out.mp4")


def test_table_has_a_line_per_keyframe(capsys: pytest.CaptureFixture[str]) -> None:
    sink = TableSink()
    sink.result(make_result())
    sink.result(make_result(36, boxes=[], trained=False))
    sink.result(make_result(44, boxes=[(i, 0, i + 9, 9) for i in range(6)]))
    header, one, none, many = capsys.readouterr().out.splitlines()
    assert header.split()[:2] == ["frame", "t"]
    assert "0.90 [20 60 90 220] stand 0.91, talk to (e.g., self, a person) 0.70" in one
    assert none.endswith("-  (untrained)")
    assert many.endswith("+2 more")


class FullStdout(io.StringIO):
    """A file on a disk that is full."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("make", [JsonStdoutSink, TableSink], ids=["json", "table"])
def test_a_full_disk_behind_stdout_is_one_sentence(
    make: Callable[[], Sink], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", FullStdout())
    with pytest.raises(SinkError, match="No space left"):
        make().result(make_result())


def test_all_sinks_are_closed_when_one_fails(tmp_path: Path) -> None:
    class Failing(Sink):
        def close(self, *, ok: bool) -> None:
            raise SinkError("first")

    path = tmp_path / "out.jsonl"
    with pytest.raises(SinkError, match="first"), Sinks([Failing(), JsonLinesSink(path)]):
        pass
    assert path.exists()


# --- drawing --------------------------------------------------------------------------------------

SIZES = [(1920, 1080), (640, 480), (320, 240), (240, 426), (64, 48)]


@pytest.mark.parametrize("size_wh", SIZES, ids=str)
def test_drawing_leaves_the_input_alone_and_marks_the_box(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    image = np.full((height, width, 3), 90, np.uint8)
    box = (0.3 * width, 0.4 * height, 0.6 * width, 0.85 * height)
    result = make_result(boxes=[box], size_wh=size_wh)
    drawn = draw(image, result=result, status=make_status())
    assert (image == 90).all()
    assert drawn.shape == image.shape
    corner = drawn[round(box[3]) - 1, round(box[2]) - 1]
    if min(size_wh) < 100:  # the label covers the box
        return
    assert tuple(int(v) for v in corner) == colour_of(0)


def test_an_actor_without_an_action_is_drawn_in_grey() -> None:
    image = np.zeros((240, 320, 3), np.uint8)
    drawn = draw(image, result=make_result(action_conf=0.99))
    assert tuple(int(v) for v in drawn[219, 89]) == NEUTRAL


def test_below_all_thresholds_the_likeliest_action_is_shown_as_a_question() -> None:
    result = make_result(action_conf=0.99)
    assert result.actions(0) == {}
    assert result.likeliest(0) == ("stand", pytest.approx(0.91))
    assert "0.90 [20 60 90 220] stand? 0.91" in row(result)
    named = draw(np.zeros((240, 320, 3), np.uint8), result=make_result())
    asked = draw(np.zeros((240, 320, 3), np.uint8), result=result)
    assert (named != asked).any()


def test_untrained_weights_are_written_on_every_frame_even_without_a_result() -> None:
    image = np.full((240, 320, 3), 90, np.uint8)
    for result in (None, make_result(trained=False), make_result()):
        marked = draw(image, result=result, trained=False)
        assert tuple(int(v) for v in marked[3, 316]) == (40, 40, 210)
    assert (draw(image, result=None) == image).all()


def test_warming_up_is_shown_until_the_clip_is_whole() -> None:
    image = np.full((240, 320, 3), 90, np.uint8)
    cold = draw(image, result=None, status=make_status(warming_up=True))
    assert (cold[-12:, :60] != 90).any()
    assert (draw(image, result=None, status=make_status()) == image).all()


@pytest.mark.parametrize("size_wh", [(1920, 1080), (640, 480), (320, 240)], ids=str)
def test_letters_are_large_enough_and_the_banner_fits(size_wh: tuple[int, int]) -> None:
    style = Style.of(size_wh)
    width, _ = style.text_wh(UNTRAINED)
    assert width + 2 * style.pad < size_wh[0] / 2
    assert style.leading >= 0.026 * min(size_wh)
    assert style.leading >= 12


def test_colours_are_stable_and_differ() -> None:
    colours = [colour_of(i) for i in range(20)]
    assert colours == [colour_of(i) for i in range(20)]
    assert len(set(colours)) == 20


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("walk", "walk", id="short"),
        pytest.param("a" * 30, "a" * 14 + "..", id="long"),
        pytest.param("geh\u00f6rt", "geho?rt", id="umlaut"),
        pytest.param("a\nb", "ab", id="line-break"),
    ],
)
def test_names_become_what_the_font_has(text: str, shown: str) -> None:
    assert plain(text, 16) == shown


@pytest.mark.parametrize("seed", range(5), ids="seed{}".format)
def test_labels_stay_inside_and_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame_wh, taken = (320, 240), [Rect(0, 225, 120, 15)]
    for _ in range(30):
        x, y = (int(rng.integers(-20, size)) for size in frame_wh)
        box = Rect(x, y, int(rng.integers(1, 150)), int(rng.integers(1, 150)))
        spot = place((90, 24), box, frame_wh, taken)
        if spot is None:
            continue
        assert spot.x >= 0
        assert spot.y >= 0
        assert spot.x + spot.w <= frame_wh[0]
        assert spot.y + spot.h <= frame_wh[1]
        assert all(spot.overlap(other) <= 0.02 * spot.area for other in taken)
        taken.append(spot)
    assert len(taken) > 5


def test_a_lonely_label_sits_on_its_box() -> None:
    assert place((50, 20), Rect(100, 100, 60, 80), (320, 240), []) == Rect(100, 80, 50, 20)


# --- frames and their results ---------------------------------------------------------------------


def test_boxes_of_a_file_appear_around_their_keyframe() -> None:
    pairing, shown = Pairing(CLIP, STRIDE), {}
    for index in range(80):
        for item in pairing.add_frame(make_frame(index), make_status()):
            shown[item.frame.index] = item.result.keyframe if item.result else None
        if index >= 28 and (index - 28) % 8 == 0:
            pairing.add_result(make_result(index))
    for item in pairing.rest():
        shown[item.frame.index] = item.result.keyframe if item.result else None
    assert list(shown) == list(range(80))
    assert [shown[i] for i in (9, 10, 16, 19, 21, 24, 61)] == [None, 16, 16, 16, 24, 24, 64]
    assert all(k is None or abs(i - k) <= 6 for i, k in shown.items())
    assert sum(k is None for k in shown.values()) == 10 + (79 - 70)


def test_frames_that_wait_are_bounded() -> None:
    frame_bytes = make_frame(0).image_bgr.nbytes
    pairing = Pairing(CLIP, STRIDE, max_bytes=4 * frame_bytes)
    out = []
    for index in range(12):
        out += pairing.add_frame(make_frame(index), make_status(warming_up=True))
        assert len(pairing) <= 4
    assert [item.frame.index for item in out] == list(range(8))


def test_live_frames_do_not_wait() -> None:
    pairing = Pairing(CLIP, STRIDE)
    pairing.add_result(make_result(28))
    (item,) = pairing.add_frame(make_frame(29), make_status(live=True))
    assert item.result is not None
    (late,) = pairing.add_frame(make_frame(120), make_status(live=True))
    assert late.result is None


# --- video ----------------------------------------------------------------------------------------


def video_sink(path: Path, **kwargs: Any) -> VideoSink:
    return VideoSink(path, clip=CLIP, stride=STRIDE, trained=True, **kwargs)


def count_frames(path: Path) -> tuple[int, float]:
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.grab():
        count += 1
    return count, capture.get(cv2.CAP_PROP_FPS)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov"])
@pytest.mark.parametrize("fps", [30.0, 30000 / 1001, 12.5], ids="{:.3f}".format)
def test_a_video_has_every_frame_and_the_float_rate(
    tmp_path: Path, suffix: str, fps: float
) -> None:
    path = tmp_path / f"out{suffix}"
    with Sinks([video_sink(path)]) as sinks:
        for index in range(45):
            sinks.frame(make_frame(index, fps=fps), make_status(fps=fps))
        assert not path.exists()
    count, rate = count_frames(path)
    assert count == 45
    assert rate == pytest.approx(fps, abs=0.01)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_variable_rate_runs_at_true_speed(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    times = [0, 1 / 30, 2 / 30, 6 / 30, 7 / 30, 10 / 30]
    with Sinks([video_sink(path)]) as sinks:
        for i, t in enumerate(times):
            frame = make_frame(i)
            moved = Frame(image_bgr=frame.image_bgr, index=i, t=t, arrival=0.0)
            sinks.frame(moved, make_status())
    assert count_frames(path)[0] == 11


def test_a_long_pause_is_cut_out(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with Sinks([video_sink(path)]) as sinks:
        for index in [*range(10), *range(900, 910)]:
            sinks.frame(make_frame(index), make_status(live=True))
    assert count_frames(path)[0] == 20


def test_another_size_is_scaled_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "out.mp4"
    with Sinks([video_sink(path)]) as sinks:
        sinks.frame(make_frame(0), make_status(live=True))
        sinks.frame(make_frame(1, size_wh=(128, 96)), make_status(live=True))
    assert count_frames(path)[0] == 2
    assert "frames of 128x96 are scaled to the video's 64x48" in caplog.text


def test_the_playable_part_of_a_failed_run_is_kept(tmp_path: Path) -> None:
    sinks = Sinks([video_sink(tmp_path / "out.mp4")])
    with pytest.raises(CameraLostError):
        run(sinks, frames=map(make_frame, range(40)), results=[make_result()], end=LOST)
    assert [p.name for p in tmp_path.iterdir()] == ["out.part.mp4"]
    assert count_frames(tmp_path / "out.part.mp4")[0] == 40


def test_a_run_that_failed_before_its_first_result_leaves_no_video(tmp_path: Path) -> None:
    sinks = Sinks([video_sink(tmp_path / "out.mp4")])
    with pytest.raises(CameraLostError):
        run(sinks, frames=map(make_frame, range(40)), end=LOST)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_video_of_one_frame_is_whole(suffix: str, tmp_path: Path) -> None:
    run(Sinks([video_sink(tmp_path / f"out{suffix}")]), frames=[make_frame(0)])
    assert count_frames(tmp_path / f"out{suffix}")[0] == 1


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_video_may_have_any_name(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = tmp_path / os.fsdecode(b"\x93\xfa" + suffix.encode())
    run(Sinks([video_sink(path)]), frames=map(make_frame, range(20)), results=[make_result()])
    shutil.move(path, tmp_path / f"plain{suffix}")
    assert count_frames(tmp_path / f"plain{suffix}")[0] == 20
    assert [p.name for p in tmp_path.iterdir()] == [f"plain{suffix}"]


def test_a_name_that_opencv_cannot_take_is_refused_before_the_first_frame(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"x93.avi: the name is no UTF-8 text"):
        video_sink(tmp_path / os.fsdecode(b"\x93.avi"))


def test_ctrl_c_between_a_frame_and_its_count_costs_no_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = VideoFile(tmp_path / "out.mp4", fps=30.0, size_wh=(64, 48), overwrite=False)
    for i in range(5):
        file.write(make_frame(i).image_bgr)
    writer = file._writer

    class Interrupted:
        def write(self, image_bgr: Image) -> None:
            writer.write(image_bgr)
            raise KeyboardInterrupt

        def release(self) -> None:
            writer.release()

    monkeypatch.setattr(file, "_writer", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        file.write(make_frame(5).image_bgr)
    # Frames that still wait for their result are written after the interruption.
    monkeypatch.setattr(file, "_writer", writer)
    file.write(make_frame(6).image_bgr)
    assert file.close(ok=True) == tmp_path / "out.mp4"
    assert count_frames(tmp_path / "out.mp4")[0] == 7


def test_a_run_without_a_frame_leaves_no_video(tmp_path: Path) -> None:
    with Sinks([video_sink(tmp_path / "out.mp4")]):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.gif", "out", "out.webm"])
def test_an_unknown_suffix_is_refused_with_the_choices(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"choose from: \.mp4 "):
        video_sink(tmp_path / name)


def test_an_existing_video_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_text("mine")
    with pytest.raises(SinkError, match="is there already"):
        video_sink(path)
    assert path.read_text() == "mine"


def test_a_nearly_full_disk_is_noticed_and_what_was_written_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    free = iter([usage.free] * 3)
    monkeypatch.setattr(
        video_file.shutil, "disk_usage", lambda _: usage._replace(free=next(free, 1000))
    )
    with pytest.raises(SinkError, match="the disk is full"):
        run(
            Sinks([video_sink(tmp_path / "out.mp4")]), frames=map(make_frame, range(100)), live=True
        )
    assert [path.name for path in tmp_path.iterdir()] == ["out.part.mp4"]
    assert count_frames(tmp_path / "out.part.mp4")[0] == 2 * video_file.CHECK_EVERY


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 6 MB, or skip where that is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    mounted = shutil.which("mount") and subprocess.run(command, capture_output=True, check=False)
    if not mounted or mounted.returncode:
        pytest.skip("mounting a small tmpfs needs root and a kernel that allows it")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def noisy_frames(count: int) -> Iterator[Frame]:
    rng = np.random.default_rng(0)
    for index in range(count):
        image = rng.integers(0, 255, (480, 640, 3), np.uint8)
        yield Frame(image_bgr=image, index=index, t=index / 30, arrival=0.0)


def test_a_disk_that_runs_full_is_one_sentence(small_disk: Path) -> None:
    sinks = Sinks([video_sink(small_disk / "out.mp4")])
    with pytest.raises(SinkError, match=r"out\.mp4: the disk is full"):
        run(sinks, frames=noisy_frames(200), live=True)
    assert [path.name for path in small_disk.iterdir()] == ["out.part.mp4"]
    assert count_frames(small_disk / "out.part.mp4")[0] >= video_file.CHECK_EVERY


def test_json_on_a_full_disk_is_one_sentence(small_disk: Path) -> None:
    (small_disk / "big").write_bytes(b"x" * ((6 << 20) - 9000))
    sinks = Sinks([JsonLinesSink(small_disk / "out.jsonl")])
    with pytest.raises(SinkError, match="No space left on device after"):
        run(sinks, results=map(make_result, range(1000)))
    part = (small_disk / "out.jsonl.part").read_text()
    assert [json.loads(line)["frame"] for line in part.splitlines()] == list(
        range(part.count("\n"))
    )
    assert part.endswith("}\n")


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_limit_on_file_size_is_said_and_the_video_plays_up_to_there(tmp_path: Path) -> None:
    sinks = Sinks([video_sink(tmp_path / "out.mp4")])
    with file_size_limit(6_000_000), pytest.raises(SinkError, match="File too large after"):
        run(sinks, frames=noisy_frames(120), live=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out.part.mp4"]
    assert count_frames(tmp_path / "out.part.mp4")[0] >= 30


def test_opencv_tells_no_limit_so_the_video_is_read_back(tmp_path: Path) -> None:
    sink = video_sink(tmp_path / "out.avi")
    with file_size_limit(200_000):
        for frame in noisy_frames(60):
            sink.frame(frame, make_status(live=True))
        with pytest.raises(SinkError, match="was not written"):
            sink.close(ok=True)
    assert "out.avi" not in [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("size_wh", [(64, 48), (65, 49)], ids=["even", "odd"])
def test_a_video_can_be_played_while_it_is_written(
    suffix: str, size_wh: tuple[int, int], tmp_path: Path
) -> None:
    file = VideoFile(tmp_path / f"out{suffix}", fps=10.0, size_wh=size_wh, overwrite=False)
    for index in range(80):
        file.write(make_frame(index, size_wh=size_wh).image_bgr)
    assert count_frames(tmp_path / f"out.part{suffix}")[0] >= 40
    file.close(ok=True)
    assert count_frames(tmp_path / f"out{suffix}")[0] == 80


def test_without_pyav_it_is_said_that_a_killed_run_leaves_no_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(encoder, "has_pyav", lambda: False)
    caplog.set_level("INFO")
    run(Sinks([video_sink(tmp_path / "out.mp4")]), frames=map(make_frame, range(5)))
    assert count_frames(tmp_path / "out.mp4")[0] == 5
    assert "without PyAV it can be played only when the run has ended by itself" in caplog.text


def test_a_folder_that_is_not_writable_is_refused(
    locked: Callable[[], AbstractContextManager[Path]],
) -> None:
    with locked() as folder, pytest.raises(SinkError, match="not writable"):
        video_sink(folder / "out.mp4")


@pytest.mark.parametrize("display", ["", ":87", "127.0.0.1:87", "nonsense"])
def test_show_without_a_display_is_one_sentence(
    display: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(ConfigError, match="--show needs a display and none answers") as caught:
        ShowSink(clip=CLIP, stride=STRIDE, trained=True)
    assert isinstance(caught.value, EdgeError)


SHOW = """
import numpy as np

from runtime.errors import BackendUnavailableError
from runtime.results import FrameStatus
from runtime.sinks import ShowSink
from runtime.sinks.video_file import VideoFile
from runtime.sources import Frame, Image
from runtime.types import ClipSpec

clip = ClipSpec(num_frames=8, sampling_rate=4, fps=30.0, height=32, width=32)
sink = ShowSink(clip=clip, stride=8, trained=True)
status = FrameStatus(warming_up=True, samples=1, num_frames=8, dropped=0, live=True, fps=30.0)
image = np.zeros((48, 64, 3), np.uint8)
try:
    for i in range(3):
        sink.frame(Frame(image_bgr=image, index=i, t=i / 30, arrival=0.0), status)
    print("shown", sink.done)
except BackendUnavailableError as error:
    print("refused", error)
sink.close(ok=True)
"""


def test_show_opens_a_window_or_says_that_opencv_has_none() -> None:
    if not shutil.which("Xvfb"):
        pytest.skip("no Xvfb; run tools/install-test-packages.sh as root")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "640x480x24", "-nolisten", "tcp"],
        pass_fds=[write], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write)
    try:
        with os.fdopen(read) as numbers:
            display = f":{numbers.readline().strip()}"
        done = subprocess.run(
            [sys.executable, "-c", SHOW],
            capture_output=True, text=True, check=False, timeout=60,
            env={**os.environ, "DISPLAY": display}, cwd=Path(__file__).parents[3],
        )  # fmt: skip
    finally:
        server.kill()
        server.wait()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("shown False", "refused --show: this OpenCV"))


def test_a_stop_while_a_frame_is_encoded_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A packet that is lost between the encoder and the file leaves a hole in the film."""
    stops: list[int] = []

    def opened(*args: Any, **kwargs: Any) -> Any:
        writer = encoder.open_encoder(*args, **kwargs)
        encode = writer.write

        def stopped_inside(image: Any) -> None:
            stops.append(1)
            if len(stops) == 21:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.05)  # the handler runs here
            encode(image)

        monkeypatch.setattr(writer, "write", stopped_inside)
        return writer

    monkeypatch.setattr(video_file, "open_encoder", opened)
    video = VideoFile(tmp_path / "a.mp4", fps=30.0, size_wh=(96, 64), overwrite=False)
    picture = np.zeros((64, 96, 3), np.uint8)

    def write_all() -> None:
        for _ in range(40):
            video.write(picture)

    with pytest.raises(KeyboardInterrupt), stoppable():
        write_all()
    assert video.written == 21
    assert video.close(ok=True) == tmp_path / "a.mp4"
    capture = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 21
    capture.release()


def test_a_stopped_run_whose_film_is_not_whole_has_failed(tmp_path: Path) -> None:
    class Broken(Sink):
        def close(self, *, ok: bool = True) -> None:
            raise SinkError("the film is not whole")

    with pytest.raises(SinkError, match="not whole"), Sinks([Broken()]):
        raise KeyboardInterrupt
