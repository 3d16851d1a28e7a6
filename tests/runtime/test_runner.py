"""ClipRunner: real program, real videos, one result per keyframe, nothing in silence."""

from __future__ import annotations

import gc
import itertools
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.bundle import Bundle
from runtime.cli import main
from runtime.errors import CameraLostError, CaptureError, ConfigError
from runtime.preprocess import preprocess_reference
from runtime.profiling import rss_mb
from runtime.results import Event, KeyframeResult
from runtime.runner import ClipRunner
from runtime.sinks import JsonLinesSink, Sinks, VideoSink
from runtime.sources import Frame, SourceConfig, open_source
from runtime.types import ClipSpec
from tests.runtime.conftest import BundleMaker, with_action_threshold
from tests.runtime.fake_camera import FakeCamera, steady
from tests.runtime.reference import decode_reference

SIZE = (48, 36)
CLIP = ClipSpec(
    num_frames=4, sampling_rate=2, fps=30.0, height=32, width=32
)  # that of the tiny bundle
FAST = SourceConfig(
    read_timeout_s=1, open_timeout_s=1, reconnect_backoff_s=0.02, reconnect_deadline_s=2
)


@pytest.fixture
def bundle(make_bundle: Any) -> Path:
    """Return the folder of a bundle with a real, tiny program: 4 samples, each 2 frames at 30."""
    folder: Path = make_bundle()
    return folder


@pytest.fixture
def runner(bundle: Path) -> Iterator[ClipRunner]:
    """Return a runner that keeps every token, whatever the weights."""
    with ClipRunner(bundle, conf=0.0, num_threads=1) as opened:
        yield opened


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder of 21 images, each of another brightness."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(21):
        picture = rng.integers(0, 60, (36, 48, 3), np.uint8) + np.uint8(9 * i)
        cv2.imwrite(str(folder / f"{i}.png"), picture)
    return folder


def test_frames_and_times_of_every_keyframe(runner: ClipRunner, images: Path) -> None:
    results = list(runner.stream(images))
    # 4 samples, two frames apart: whole at frame 6; then a decision each 2 samples = 4 frames.
    assert [r.frame for r in results] == [6, 10, 14, 18]
    assert [r.keyframe for r in results] == [4, 8, 12, 16]
    assert [r.t for r in results] == pytest.approx([f / 30 for f in (6, 10, 14, 18)])
    assert [r.keyframe_t for r in results] == pytest.approx([f / 30 for f in (4, 8, 12, 16)])
    assert all(r.size_wh == SIZE and not r.trained and r.latency_ms > 0 for r in results)
    assert all(len(r.detections) == 4 for r in results)


def test_a_result_is_what_the_reference_path_gives(
    runner: ClipRunner, bundle: Path, images: Path
) -> None:
    """NumPy preprocess, the same engine, NumPy decode: equal bit for bit."""
    results = list(runner.stream(images))
    config = Bundle.load(bundle).spec.clip
    for result in results:
        frames = [
            cv2.imread(str(images / f"{i}.png"))
            for i in range(result.frame - 6, result.frame + 1, 2)
        ]
        clip = np.stack([preprocess_reference(f, config) for f in frames])[None]
        expected = decode_reference(*runner.engine(clip).of(0), conf=0.0, size_wh=SIZE)
        for name in ("xyxy", "actor", "actions", "token"):
            np.testing.assert_array_equal(
                getattr(result.detections, name), getattr(expected, name), err_msg=name
            )


def test_a_stream_may_have_thresholds_of_its_own(runner: ClipRunner, images: Path) -> None:
    scores = [s for r in runner.stream(images) for s in r.detections.actor.tolist()]
    middle = sorted(scores)[len(scores) // 2]
    kept = [r for r in runner.stream(images, conf=middle, action_conf=1.0)]
    assert sum(len(r.detections) for r in kept) == sum(score > middle for score in scores)
    assert all(r.action_conf == 1.0 for r in kept)
    assert sum(len(r.detections) for r in runner.stream(images)) == len(scores)
    with pytest.raises(ConfigError, match="conf is 2; it must be from 0 to 1"):
        next(runner.stream(images, conf=2))


@pytest.mark.parametrize(
    ("stride", "frames", "said"),
    [
        pytest.param(2, [6, 8, 10, 12, 14, 16, 18, 20], False, id="each-sample"),
        pytest.param(3, [6, 10, 14, 18], True, id="rounded-up"),
        pytest.param(12, [6, 18], False, id="seldom"),
        pytest.param(100, [6], False, id="once"),
    ],
)
def test_stride_is_frames_between_decisions(
    bundle: Path,
    images: Path,
    stride: int,
    frames: list[int],
    said: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ClipRunner(bundle, stride=stride, num_threads=1) as runner:
        assert [r.frame for r in runner.stream(images)] == frames
    assert ("rounded up to" in caplog.text) == said


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        pytest.param({"conf": 7.0}, "conf is 7", id="conf"),
        pytest.param({"action_conf": -0.1}, "action_conf", id="action-conf"),
        pytest.param({"stride": 0}, "stride is 0", id="stride"),
        pytest.param({"device": "cuda:0"}, "choose from: auto, cpu, cuda", id="device"),
        pytest.param({"num_threads": -1}, "num_threads", id="threads"),
        pytest.param({"num_threads": 10**14}, "num_threads", id="threads-huge"),
        pytest.param({"artifact": "vulkan"}, "choose from", id="artifact"),
    ],
)
def test_impossible_values_are_refused(bundle: Path, kwargs: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ClipRunner(bundle, **kwargs)


def test_conf_decides_alone(bundle: Path, images: Path) -> None:
    with ClipRunner(bundle, conf=0.0) as every, ClipRunner(bundle, conf=1.0) as none:
        first = next(iter(every.stream(images)))
        assert len(first.detections) == 4
        assert all(len(r.detections) == 0 for r in none.stream(images))
    middle = float(np.sort(first.detections.actor)[1])
    with ClipRunner(bundle, conf=middle) as some:
        assert len(next(iter(some.stream(images))).detections) == 2


def test_the_default_conf_is_the_artifacts_own(bundle: Path) -> None:
    with ClipRunner(bundle) as runner:
        assert runner.config.conf == 0.4


def test_the_default_action_conf_is_the_artifacts_own_for_each_action(
    make_bundle: BundleMaker, images: Path
) -> None:
    path = make_bundle()
    with ClipRunner(path, num_threads=1, conf=0.0) as runner:
        assert runner.config.action_conf == (0.5, 0.5, 0.5)
        scores = next(iter(runner.stream(images))).detections.actions
    conf = float(np.sort(scores[:, 1])[1])
    with_action_threshold(path, "walk", conf)
    with ClipRunner(path, num_threads=1, conf=0.0) as runner:
        assert runner.config.action_conf == (0.5, conf, 0.5)
        result = next(iter(runner.stream(images)))
        assert sum("walk" in result.actions(i) for i in range(4)) == 3, "equal is enough"
    with ClipRunner(path, num_threads=1, conf=0.0, action_conf=1.0) as runner:
        assert next(iter(runner.stream(images))).actions(0) == {}


def test_a_file_too_short_for_one_clip_is_an_error(runner: ClipRunner, images: Path) -> None:
    for path in sorted(images.iterdir(), key=lambda p: int(p.stem))[6:]:
        path.unlink()
    with pytest.raises(CaptureError, match=r"6 frames: the first clip needs 7 .* no keyframe"):
        list(runner.stream(images))


def test_images_too_far_apart_in_time_are_an_error_that_says_so(
    runner: ClipRunner, images: Path
) -> None:
    with pytest.raises(CaptureError, match=r"come 1 s apart, a clip allows 0.5 s.*at least 2"):
        list(runner.stream(images, config=SourceConfig(image_fps=1.0)))


def test_images_of_many_sizes_are_an_error_that_says_so(runner: ClipRunner, images: Path) -> None:
    for i, path in enumerate(sorted(images.iterdir(), key=lambda p: int(p.stem))):
        cv2.imwrite(str(path), np.zeros((20 + i // 5, 30, 3), np.uint8))
    words = r"21 frames and \d gaps \(the last: frame size changed from 30x\d+ to 30x\d+\)"
    with pytest.raises(CaptureError, match=words):
        list(runner.stream(images))


def test_a_slow_source_is_said_once_and_repeats_real_frames(
    runner: ClipRunner, images: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[Event] = []
    results = list(
        runner.stream(images, config=SourceConfig(image_fps=5.0), on_event=events.append)
    )
    assert len(results) > 10
    slow = [e for e in events if e.kind == "slow_source"]
    assert len(slow) == 1
    assert "a frame each 200 ms, the clip wants one each 67 ms" in slow[0].message
    assert caplog.text.count("real frames are repeated") == 1


def test_a_size_change_flushes_and_warms_up_again(runner: ClipRunner, images: Path) -> None:
    cv2.imwrite(str(images / "10.png"), np.zeros((50, 60, 3), np.uint8))
    events: list[Event] = []
    results = list(runner.stream(images, on_event=events.append))
    assert [e.kind for e in events][:5] == ["warming_up", "running", "gap", "warming_up", "gap"]
    assert "frame size changed from 48x36 to 60x50" in events[2].message
    # Of the frames after it the clip wants 12 first, finds the size changed back, and begins there.
    assert [r.frame for r in results] == [6, 18]


def test_people_are_numbered_only_when_asked(runner: ClipRunner, images: Path) -> None:
    for result in runner.stream(images):
        assert result.people is None
        assert "person" not in result.to_dict()["detections"][0]
    numbered = list(runner.stream(images, track=True))
    for result in numbered:
        linked = [result.person(i) for i in range(len(result.detections))]
        assert [d["person"] for d in result.to_dict()["detections"]] == linked
        real = [n for n in linked if n is not None]
        assert real
        assert len(set(real)) == len(real)
    # The tiny program's boxes hardly move: whoever has a number keeps it.
    first, last = numbered[0], numbered[-1]
    assert {n for n in first.people or () if n >= 0} & {n for n in last.people or () if n >= 0}
    assert next(r.people for r in runner.stream(images, track=True)) == first.people


def test_behind_a_gap_everybody_is_new(runner: ClipRunner, images: Path) -> None:
    for i in range(10, 21):
        cv2.imwrite(str(images / f"{i}.png"), np.full((36, 60, 3), 9 * i, np.uint8))
    results = list(runner.stream(images, track=True))
    before = {n for r in results if r.frame < 10 for n in r.people or () if n >= 0}
    after = {n for r in results if r.frame > 10 for n in r.people or () if n >= 0}
    assert before
    assert after
    assert not before & after


def test_states_follow_the_stream(runner: ClipRunner, images: Path) -> None:
    assert runner.state == "idle"
    seen = []
    for _ in runner.stream(images, on_frame=lambda f, s: seen.append((f.index, s.samples))):
        assert runner.state == "running"
        assert runner.samples == 4
    assert runner.state == "idle"
    assert [i for i, _ in seen] == list(range(21))
    assert [s for _, s in seen[:8]] == [1, 1, 2, 2, 3, 3, 4, 4]


def test_stopping_early_closes_the_source(runner: ClipRunner, images: Path) -> None:
    before = threading.active_count()
    stream = runner.stream(images)
    next(stream)
    assert threading.active_count() == before + 1
    stream.close()
    assert threading.active_count() == before


def test_one_runner_serves_one_source_after_the_other(runner: ClipRunner, images: Path) -> None:
    first, second = (list(runner.stream(images)) for _ in range(2))
    assert [r.to_dict()["detections"] for r in first] == [r.to_dict()["detections"] for r in second]
    assert runner.profile.keyframes == 4


def test_the_closing_lines_name_the_clip(runner: ClipRunner, images: Path) -> None:
    list(runner.stream(images))
    assert runner.summary()[0].endswith("ms decode per clip at (1, 4, 3, 32, 32)")
    assert runner.summary()[-1].startswith("4 keyframes, dropped 0 clips and 0 frames")


# --- live -----------------------------------------------------------------------------------------


def live(runner: ClipRunner, *scripts: Any, **kwargs: Any) -> tuple[list[KeyframeResult], Any]:
    """Run a scripted camera to its loss."""
    results: list[KeyframeResult] = []
    try:
        for result in runner.stream(0, config=FAST, opener=FakeCamera(*scripts), **kwargs):
            results.append(result)
    except CameraLostError as error:
        return results, error
    return results, None


def test_a_camera_gives_results_until_it_is_lost(runner: ClipRunner) -> None:
    results, error = live(runner, steady(40, SIZE, fps=30))
    assert len(results) >= 6
    assert isinstance(error, CameraLostError)
    assert all(b.t - a.t > 0.1 for a, b in itertools.pairwise(results))
    assert all(r.latency_ms < 500 for r in results)


def test_a_reconnect_flushes_reports_and_goes_on(
    runner: ClipRunner, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    events: list[Event] = []
    first, second = steady(15, SIZE, fps=30), steady(15, SIZE, fps=30)
    results, _ = live(runner, first, "off", second, on_event=events.append)
    kinds = [e.kind for e in events if e.kind != "stale"]
    assert kinds == ["warming_up", "running", "gap", "warming_up", "running"]
    assert "reconnected after" in next(e.message for e in events if e.kind == "gap")
    before = [r for r in results if r.frame < 15]
    after = [r for r in results if r.frame >= 15]
    assert before
    assert after
    # No clip mixes frames of before and after: the first whole one is all new.
    assert after[0].keyframe >= 15
    assert after[0].frame - 15 >= 5
    assert "warming up: a clip needs 4 samples" in caplog.text


def test_a_stalled_camera_is_reported_as_stale(bundle: Path) -> None:
    script = [*steady(10, SIZE, fps=30), 0.35, *steady(10, SIZE, fps=30)]
    events: list[Event] = []
    with ClipRunner(bundle, max_age_ms=150) as runner:
        results, _ = live(runner, script, on_event=events.append)
    assert results
    stale = [e for e in events if e.kind == "stale"]
    assert "more than the 150 ms allowed" in stale[0].message


class SlowEngine:
    """The real engine, made slow, as on a weaker machine."""

    def __init__(self, engine: Any, seconds: float) -> None:
        self._engine, self._seconds = engine, seconds
        self.artifact = engine.artifact
        self.clips: list[np.ndarray] = []

    def __call__(self, clips: np.ndarray, first: int) -> Any:
        time.sleep(self._seconds)
        return self._engine(clips, first)


def test_a_slow_engine_drops_clips_and_does_not_lag(runner: ClipRunner) -> None:
    runner.engine = SlowEngine(runner.engine, 0.3)  # type: ignore[assignment]
    events: list[Event] = []
    results, _ = live(runner, steady(75, SIZE, fps=30), on_event=events.append)
    assert len(results) >= 4
    assert results[-1].dropped_clips >= 3
    drops = [event for event in events if event.kind == "dropped"]
    assert drops[-1].dropped_clips == runner.profile.dropped_clips
    assert len(drops) <= 2, "said once, and at the end"
    # One decision takes 300 ms; a queue of old frames in front of it would add its 4 x 67 ms.
    assert np.median([r.latency_ms for r in results]) < 480
    # The samples that came meanwhile are in the clip: its span in time is that of three periods.
    assert all(abs((r.t - r.keyframe_t) - 1 / 15) < 0.05 for r in results)


def test_stream_buffer_keeps_every_decision(runner: ClipRunner) -> None:
    runner.engine = SlowEngine(runner.engine, 0.15)  # type: ignore[assignment]
    config = SourceConfig(stream_buffer=True, reconnect_attempts=0)
    results: list[KeyframeResult] = []
    stream = runner.stream(0, config=config, opener=FakeCamera(steady(30, SIZE, fps=30)))
    with pytest.raises(CameraLostError):
        results.extend(stream)
    assert runner.profile.dropped_frames == 0


# --- whole runs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fps", "count"),
    [
        pytest.param("mmaction2_demo.mp4", 28.0, 280, id="28-fps"),
        pytest.param("no_person_dog.mp4", 30000 / 1001, 289, id="ntsc-720p"),
        pytest.param("mmaction2_test.avi", 25.0, 164, id="25-fps-avi"),
        pytest.param("asl_gestures/bird.mkv", 30.0, 63, id="mkv-irregular"),
    ],
)
def test_real_videos_give_regular_keyframes(
    runner: ClipRunner, shared_data: Path, name: str, fps: float, count: int
) -> None:
    results = list(runner.stream(shared_data / "videos" / name))
    steps = [b.t - a.t for a, b in itertools.pairwise(results)]
    assert len(results) == pytest.approx(count / fps / (4 / 30), abs=3)
    assert np.mean(steps) == pytest.approx(4 / 30, rel=0.03)
    assert all(0 <= r.t - r.keyframe_t <= 0.2 for r in results)
    for result in results:
        found = result.detections
        width, height = result.size_wh
        assert np.isfinite(found.xyxy).all()
        assert (found.xyxy >= 0).all()
        assert (found.xyxy <= np.array([width, height, width, height])).all()
        assert (np.diff(found.actor) <= 0).all()


def test_a_run_with_json_and_video(runner: ClipRunner, shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "videos" / "mmaction2_demo.mp4"
    video, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    sinks = Sinks(
        [
            JsonLinesSink(lines),
            VideoSink(video, clip=CLIP, stride=runner.stride, trained=False),
        ]
    )
    with sinks:
        for result in runner.stream(source, on_frame=sinks.frame):
            sinks.result(result)
    objects = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    assert len(objects) == runner.profile.keyframes
    assert set(objects[0]) == {
        "frame", "t", "keyframe", "keyframe_t", "latency_ms", "detections", "trained",
    }  # fmt: skip
    with open_source(video) as written:
        assert (written.fps, written.frame_count) == (28.0, 280)
        frames = [item for item in written if isinstance(item, Frame)]
    assert len(frames) == 280
    blue, green, red = (int(v) for v in frames[100].image_bgr[4, 336])
    assert red > 150 > max(blue, green) + 40  # the banner UNTRAINED WEIGHTS


def test_memory_stays_flat(runner: ClipRunner, shared_data: Path) -> None:
    source = shared_data / "videos" / "mmaction2_demo.mp4"

    def once() -> float:
        for _ in runner.stream(source):
            pass
        gc.collect()
        return rss_mb()

    once()
    settled = max(once(), once())
    for _ in range(5):
        last = once()
    assert last < settled + 8


def test_results_without_torch(bundle: Path, images: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from runtime.runner import ClipRunner\n"
        f"with ClipRunner({str(bundle)!r}) as r:\n"
        f"    print(sum(1 for _ in r.stream({str(images)!r})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, env=dict(os.environ),
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.stdout.strip() == "4"


def test_a_source_without_a_frame_has_no_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"text, no video")
    assert main(["run", "--source", str(tmp_path / "a.mp4")]) == 1
    said = capsys.readouterr().err
    assert "Speed:" not in said
    assert said.rstrip().endswith("it holds text, not a video")
