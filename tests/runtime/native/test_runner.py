"""The stand-alone runner: the same results as the Python runtime, and one sentence per error."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.runner import ClipRunner
from tests.runtime.conftest import with_action_threshold

# Beside the native module: in the source tree after tools/build_native.sh, in site-packages after
# an editable or an ordinary install.
_native = pytest.importorskip("runtime._native", reason="the native runtime is not built here")
RUNNER = Path(
    os.environ.get("EDGE_RUNNER", Path(_native.__file__).with_name("bin") / "edge_runner")
)
WIDTH, HEIGHT = 96, 64

pytestmark = pytest.mark.skipif(
    not RUNNER.is_file(), reason="edge_runner is not built (tools/build_native.sh)"
)


def run(*flags: str | Path, frames: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [RUNNER, *map(str, flags)], input=frames, capture_output=True, timeout=120, check=False
    )
    # The name of a file may be bytes of any encoding.
    out, err = (text.decode(errors="surrogateescape") for text in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


def video(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, HEIGHT, WIDTH, 3), dtype=np.uint8)


def results(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def write_images(folder: Path, frames: np.ndarray) -> Path:
    folder.mkdir()
    for i, frame in enumerate(frames):
        assert cv2.imwrite(str(folder / f"{i:05d}.png"), frame)
    return folder


def without_latency(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for one in found:
        assert one.pop("latency_ms") > 0
    return found


@pytest.mark.parametrize("fps", [30.0, 29.97, 17.3, 8.0, 60.0])
@pytest.mark.parametrize("stride", [None, 2, 6])
def test_gives_the_results_of_the_python_runtime(
    make_bundle: Any, tmp_path: Path, fps: float, stride: int | None
) -> None:
    from runtime.sources import SourceConfig

    bundle, frames = make_bundle(), video(70)
    flags = [] if stride is None else ["--stride", str(stride)]
    done = run(
        *("--model", bundle, "--raw", f"{WIDTH}x{HEIGHT}@{fps}", "--conf", "0.4"),
        *("--action-conf", "0.45", *flags),
        frames=frames.tobytes(),
    )
    assert done.returncode == 0, done.stderr
    folder = write_images(tmp_path / "images", frames)
    with ClipRunner(bundle, conf=0.4, action_conf=0.45, stride=stride) as python:
        stream = python.stream(folder, config=SourceConfig(image_fps=fps))
        expected = [result.to_dict() for result in stream]
    assert without_latency(results(done.stdout)) == without_latency(expected)
    assert len(expected) > 3
    assert any(one["detections"] for one in expected)


@pytest.mark.parametrize("conf", [None, 0.45], ids=["its own", "one for all"])
def test_names_actions_from_the_same_thresholds_on_as_python(
    make_bundle: Any, tmp_path: Path, conf: float | None
) -> None:
    from runtime.sources import SourceConfig

    bundle, frames = make_bundle(), video(60)
    folder, config = write_images(tmp_path / "images", frames), SourceConfig(image_fps=30.0)
    with ClipRunner(bundle, conf=0.0, action_conf=0.0) as python:
        found = [result.detections.actions for result in python.stream(folder, config=config)]
    scores = np.sort(np.concatenate(found)[:, 2])
    with_action_threshold(bundle, "fall \u2603", float(scores[len(scores) // 2]))
    flags = [] if conf is None else ["--action-conf", str(conf)]
    raw = ("--raw", f"{WIDTH}x{HEIGHT}@30", "--conf", "0")
    done = run("--model", bundle, *raw, *flags, frames=frames.tobytes())
    assert done.returncode == 0, done.stderr
    says = "0.50 (1 of 3 actions have their own)" if conf is None else "0.45"
    assert f"action-conf {says}" in done.stderr
    with ClipRunner(bundle, conf=0.0, action_conf=conf) as python:
        expected = [result.to_dict() for result in python.stream(folder, config=config)]
    assert without_latency(results(done.stdout)) == without_latency(expected)
    named = ["fall \u2603" in one["actions"] for e in expected for one in e["detections"]]
    if conf is None:
        assert sum(named) == len(scores) - len(scores) // 2, "from the middle score on"


def test_says_its_configuration_first_and_its_speed_last(make_bundle: Any) -> None:
    done = run(
        *("--model", make_bundle(), "--raw", f"{WIDTH}x{HEIGHT}@30", "--threads", "1"),
        frames=video(30).tobytes(),
    )
    first, *_, last = done.stderr.splitlines()
    assert "bundle tiny (xnnpack-int8.pte, int8), conf 0.4000, action-conf 0.50, " in first
    assert "30.00 fps, 1 thread, ExecuTorch 1.5.1" in first
    assert "untrained" in done.stderr
    assert last.startswith("Speed: ")
    assert " ms decode per clip at (1, 4, 3, 32, 32)" in last
    assert "p50/p95/p99" in last


def test_writes_the_results_to_a_file(make_bundle: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    done = run(
        *("--model", make_bundle(), "--raw", f"{WIDTH}x{HEIGHT}@30", f"--save-json={path}"),
        frames=video(30).tobytes(),
    )
    assert done.stdout == ""
    keys = ["frame", "t", "keyframe", "keyframe_t", "latency_ms", "detections", "trained"]
    assert [list(one) for one in results(path.read_text(encoding="utf-8"))] == [keys] * 6


class Running:
    """An edge_runner that waits for frames on stdin."""

    def __init__(self, bundle: Path, *flags: str | Path) -> None:
        self.process = subprocess.Popen(
            [RUNNER, "--model", str(bundle), "--raw", f"{WIDTH}x{HEIGHT}@30", *map(str, flags)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def feed(self, count: int, part: Path, lines: int) -> None:
        """Give frames, and wait until so many lines are written."""
        assert self.process.stdin is not None
        self.process.stdin.write(video(count).tobytes())
        self.process.stdin.flush()
        for _ in range(600):
            if part.exists() and part.read_text().count("\n") >= lines:
                return
            time.sleep(0.05)
        raise AssertionError(f"{part} has not {lines} lines")

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal; return exit code and what was said."""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err.decode()


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        pytest.param(signal.SIGTERM, 0, "stopped by SIGTERM", id="service manager"),
        pytest.param(signal.SIGINT, 130, "interrupted", id="Ctrl-C"),
        pytest.param(signal.SIGHUP, 130, "interrupted", id="terminal gone"),
    ],
)
def test_a_run_that_is_stopped_has_a_whole_file_and_a_summary(
    number: int, code: int, said: str, make_bundle: Any, tmp_path: Path
) -> None:
    path = tmp_path / "out.jsonl"
    running = Running(make_bundle(), "--save-json", path)
    running.feed(30, path.with_name("out.jsonl.part"), 6)
    assert not path.exists()
    found, err = running.end(number)
    assert (found, err.splitlines()[-1]) == (code, said)
    assert "Speed: " in err
    assert len(results(path.read_text(encoding="utf-8"))) == 6
    assert [p.name for p in tmp_path.glob("out*")] == ["out.jsonl"]


def test_a_file_has_one_writer_and_what_a_killed_one_left_is_kept(
    make_bundle: Any, tmp_path: Path
) -> None:
    path, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    bundle = make_bundle()
    running = Running(bundle, "--save-json", path)
    running.feed(30, part, 6)
    second = run("--model", bundle, *RAW, "--save-json", path, "--overwrite", frames=bytes(192))
    assert second.returncode == 2
    assert "is being written by another run" in second.stderr
    assert running.end(signal.SIGKILL)[0] == -signal.SIGKILL
    assert len(results(part.read_text(encoding="utf-8"))) == 6
    raw = ("--raw", f"{WIDTH}x{HEIGHT}@30")
    third = run("--model", bundle, *raw, "--save-json", path, frames=video(30).tobytes())
    assert third.returncode == 0, third.stderr
    assert "was left by a run that was cut off; it is now" in third.stderr
    assert len(results((tmp_path / "out.jsonl-1.part").read_text(encoding="utf-8"))) == 6
    assert len(results(path.read_text(encoding="utf-8"))) == 6


def test_a_full_disk_keeps_whole_lines(make_bundle: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    command = [
        *("sh", "-c", 'ulimit -f 8; exec "$@"', "sh", RUNNER, "--model", make_bundle()),
        *("--raw", f"{WIDTH}x{HEIGHT}@30", "--conf", "0", "--save-json", path),
    ]
    done = subprocess.run(
        [str(word) for word in command], input=video(90).tobytes(), capture_output=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Those so far are in" in done.stderr.decode()
    text = path.with_name("out.jsonl.part").read_text(encoding="utf-8")
    assert text.endswith("\n")
    assert results(text)


def test_secrets_of_an_address_are_not_said(make_bundle: Any) -> None:
    address = "rtsp://admin:pa#s3cret@127.0.0.1:9/x?token=s3cret"
    done = run("--model", make_bundle(), "--source", address)
    assert done.returncode != 0
    assert "s3cret" not in done.stderr
    assert "127.0.0.1" in done.stderr


@pytest.mark.parametrize("address", ["admin:s3cret@h/x", "rtsp:/admin:s3cret@h/x", "x?pw=s3cret"])
def test_secrets_of_a_mistyped_address_are_not_said(make_bundle: Any, address: str) -> None:
    done = run("--model", make_bundle(), "--source", address)
    check_failure_or_no_opencv(done)
    assert "s3cret" not in done.stderr
    assert "***" in done.stderr


def check_failure_or_no_opencv(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == (2 if "built without OpenCV" in done.stderr else 1)


def test_a_file_that_is_there_is_replaced_only_when_told(make_bundle: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("mine", encoding="utf-8")
    flags = ("--model", make_bundle(), "--raw", f"{WIDTH}x{HEIGHT}@30", f"--save-json={path}")
    refused = run(*flags, frames=video(30).tobytes())
    assert refused.returncode == 2
    assert "add --overwrite" in refused.stderr
    assert path.read_text(encoding="utf-8") == "mine"
    run(*flags, "--overwrite", frames=video(30).tobytes())
    assert len(results(path.read_text(encoding="utf-8"))) == 6


def test_the_source_is_never_the_output(make_bundle: Any, tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30, (WIDTH, HEIGHT))
    for frame in video(30):
        writer.write(frame)
    writer.release()
    before = path.read_bytes()
    done = run("--model", make_bundle(), "--source", path, "--save-json", path, "--overwrite")
    if "built without OpenCV" in done.stderr:
        pytest.skip("edge_runner was built without OpenCV")
    assert done.returncode == 2
    assert "is the source itself" in done.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["bundle.json", "xnnpack-int8.pte", "golden.npz"])
def test_a_file_of_the_bundle_is_never_the_output(make_bundle: Any, name: str) -> None:
    bundle = make_bundle()
    before = (bundle / name).read_bytes()
    flags = ("--save-json", bundle / name, "--overwrite")
    done = run("--model", bundle, *RAW, *flags, frames=video(30).tobytes())
    assert done.returncode == 2
    assert done.stderr == (
        f"error: --save-json {bundle / name} is a file of the bundle; name another file\n"
    )
    assert (bundle / name).read_bytes() == before


def test_the_source_does_not_have_the_name_of_a_part(make_bundle: Any, tmp_path: Path) -> None:
    source = tmp_path / "out.jsonl.part"
    source.write_text("mine", encoding="utf-8")
    flags = ("--save-json", tmp_path / "out.jsonl")
    done = run("--model", make_bundle(), "--source", source, *flags)
    assert done.returncode == 2
    assert f"is first written to {source}, which is the source itself" in done.stderr
    assert source.read_text(encoding="utf-8") == "mine"


def test_real_video_gives_the_results_of_the_python_runtime(
    make_bundle: Any, shared_data: Path
) -> None:
    source = sorted((shared_data / "videos").glob("*.mp4"))[0]
    bundle = make_bundle()
    done = run("--model", bundle, "--source", source, "--conf", "0.3")
    if done.returncode == 2 and "built without OpenCV" in done.stderr:
        pytest.skip("edge_runner was built without OpenCV's C++ libraries")
    assert done.returncode == 0, done.stderr
    with ClipRunner(bundle, conf=0.3) as python:
        expected = [result.to_dict() for result in python.stream(source)]
    found = results(done.stdout)
    assert [one["frame"] for one in found] == [one["frame"] for one in expected]
    assert [one["keyframe"] for one in found] == [one["keyframe"] for one in expected]
    # Two versions of the decoder may round a pixel differently.
    for ours, theirs in zip(found, expected, strict=True):
        assert math.isclose(ours["t"], theirs["t"], abs_tol=1e-6)
        assert abs(len(ours["detections"]) - len(theirs["detections"])) <= 1


def without_opencv(bundle: Path, source: Path) -> bool:
    return "built without OpenCV" in run("--model", bundle, "--source", source).stderr


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_film_is_turned_as_it_asks_for(degrees: int, make_bundle: Any, tmp_path: Path) -> None:
    films = pytest.importorskip("tests.runtime.sources.films", reason="PyAV is not installed")
    bundle, path = make_bundle(), tmp_path / "turned.mp4"
    films.turn(films.write_film(tmp_path / "plain.mp4", count=30), path, degrees)
    if without_opencv(bundle, path):
        pytest.skip("edge_runner was built without OpenCV's C++ libraries")
    done = run("--model", bundle, "--source", path, "--conf", "0")
    with ClipRunner(bundle, conf=0.0) as python:
        expected = [result.to_dict() for result in python.stream(path)]
    found = results(done.stdout)
    assert len(found) == len(expected) > 2
    for ours, theirs in zip(found, expected, strict=True):
        for mine, other in zip(ours["detections"], theirs["detections"], strict=True):
            assert mine["xyxy"] == pytest.approx(other["xyxy"], abs=2.0)
            assert mine["actor"] == pytest.approx(other["actor"], abs=0.02)


def test_a_clock_that_begins_anew_is_a_gap(make_bundle: Any, tmp_path: Path) -> None:
    films = pytest.importorskip("tests.runtime.sources.films", reason="PyAV is not installed")
    bundle, path = make_bundle(), tmp_path / "two.ts"
    parts = [films.write_film(tmp_path / f"{i}.ts", count=30) for i in range(2)]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    if without_opencv(bundle, path):
        pytest.skip("edge_runner was built without OpenCV's C++ libraries")
    lines = results(run("--model", bundle, "--source", path).stdout)
    gaps = [line for line in lines if "event" in line]
    assert [(gap["event"], gap["t"]) for gap in gaps] == [("gap", 0.0)], "from its first frame on"
    times = [line["t"] for line in lines if "frame" in line]
    assert any(b < a for a, b in itertools.pairwise(times)), "the second recording's own times"


@pytest.mark.parametrize("name", ["2026-11-28T12:30:00.mp4", "caf\udce9.mp4", " a b .mp4"])
def test_any_name_of_a_file_is_read(name: str, make_bundle: Any, tmp_path: Path) -> None:
    films = pytest.importorskip("tests.runtime.sources.films", reason="PyAV is not installed")
    bundle = make_bundle()
    films.write_film(tmp_path / "plain.mp4", count=30).rename(tmp_path / name)
    if without_opencv(bundle, tmp_path / name):
        pytest.skip("edge_runner was built without OpenCV's C++ libraries")
    done = subprocess.run(
        [RUNNER, "--model", bundle, "--source", name], cwd=tmp_path, capture_output=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"\n") > 2


@pytest.mark.parametrize(
    ("name", "first", "second", "words"),
    [
        pytest.param(
            "h264.ts", {}, {"size_wh": (240, 160)},
            "pictures are 240x160 4:2:0 (before: 160x120 4:2:0)", id="size",
        ),
        pytest.param(
            "m.mjpeg", {"codec": "mjpeg", "pixels": "yuvj420p"},
            {"codec": "mjpeg", "pixels": "yuvj422p"},
            "pictures are 160x120 4:2:2 (before: 160x120 4:2:0)", id="colour format",
        ),
        pytest.param(
            "h264.ts", {"size_wh": (160, 112)}, {"size_wh": (160, 112), "interlaced": True},
            "pictures are 160x112 4:2:0, interlaced (before: 160x112 4:2:0)", id="stored size",
        ),
    ],
)  # fmt: skip
def test_pictures_that_become_others_end_the_run_with_a_sentence(
    make_bundle: Any, tmp_path: Path, name: str, first: Any, second: Any, words: str
) -> None:
    films = pytest.importorskip("tests.runtime.sources.films", reason="PyAV is not installed")
    bundle, path = make_bundle(), tmp_path / name
    parts = [
        films.write_film(tmp_path / f"{i}{path.suffix}", count=40, **settings)
        for i, settings in enumerate((first, second))
    ]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    if without_opencv(bundle, path):
        pytest.skip("edge_runner was built without OpenCV's C++ libraries")
    done = run("--model", bundle, "--source", path)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: {path}: from about frame 40 on its {words}, which OpenCV")
    assert "ffmpeg -i IN " in last
    assert "`edge run`, which reads them" in last
    assert 0 < results(done.stdout)[-1]["frame"] < 40


@pytest.mark.parametrize("pixels", ["gray16le", "gray10le"])
def test_deep_grey_values_are_refused_with_a_remedy(
    make_bundle: Any, tmp_path: Path, pixels: str
) -> None:
    films = pytest.importorskip("tests.runtime.sources.films", reason="PyAV is not installed")
    bundle = make_bundle()
    path = films.write_film(tmp_path / "grey.mkv", codec="ffv1", pixels=pixels)
    if without_opencv(bundle, path):
        pytest.skip("edge_runner was built without OpenCV's C++ libraries")
    done = run("--model", bundle, "--source", path)
    check_failure(done, f"grey values of {pixels[4:6]} bits, of which OpenCV keeps the upper 8")
    assert "normalize" in done.stderr


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        pytest.param({"interlaced": True}, True, id="H.264"),
        pytest.param(
            {"codec": "mpeg2video", "options": {"flags": "+ildct+ilme"}}, True, id="MPEG-2"
        ),
        pytest.param({}, False, id="progressive H.264"),
        pytest.param({"codec": "mpeg2video"}, False, id="progressive MPEG-2"),
    ],
)
@pytest.mark.parametrize("name", ["film.ts", "film.mkv"])
def test_a_film_that_is_coded_as_interlaced_is_said_to_be(
    make_bundle: Any, tmp_path: Path, name: str, settings: Any, warned: bool
) -> None:
    films = pytest.importorskip("tests.runtime.sources.films", reason="PyAV is not installed")
    bundle, path = make_bundle(), films.write_film(tmp_path / name, count=40, **settings)
    if without_opencv(bundle, path):
        pytest.skip("edge_runner was built without OpenCV's C++ libraries")
    done = run("--model", bundle, "--source", path)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "coded as interlaced" in line]
    assert len(said) == warned
    assert all(line.startswith(f"warning: {path}: ") and "bwdif" in line for line in said)


def test_very_large_frames_are_refused(make_bundle: Any, tmp_path: Path) -> None:
    films = pytest.importorskip("tests.runtime.sources.films", reason="PyAV is not installed")
    bundle, path = make_bundle(), films.write_large_film(tmp_path / "large.mov")
    if without_opencv(bundle, path):
        pytest.skip("edge_runner was built without OpenCV's C++ libraries")
    check_failure(run("--model", bundle, "--source", path), "16384x8192 pixels, more than 67 mill")


def test_help_is_not_an_error() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: edge_runner")


RAW = ("--raw", "8x8@30")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        pytest.param(["--model", "x"], "either --source or --raw", id="no source"),
        pytest.param(["--model", "x", "--source", "a", *RAW], "either", id="two sources"),
        pytest.param([*RAW], "--model is missing", id="no model"),
        pytest.param(["--model", "x", *RAW, "--conf", "7"], "--conf is 7", id="conf"),
        pytest.param(["--model", "x", *RAW, "--conf", "x"], "expected a number", id="word"),
        pytest.param(["--model", "x", *RAW, "--stride", "0"], "at least 1", id="stride"),
        pytest.param(["--model", "x", *RAW, "--stride", "1.5"], "whole number", id="half"),
        pytest.param(["--model", "x", *RAW, "--threads", "-1"], "0..256", id="threads"),
        pytest.param(["--model", "x", *RAW, "--iou", "0.5"], "no NMS", id="iou"),
        pytest.param(["--model", "x", *RAW, "--fast", "1"], "'--fast' is not known", id="flag"),
        pytest.param(["--model", "x", *RAW, "--conf"], "needs a value", id="no value"),
        pytest.param(["--model", "x", "--raw", "8x8@"], "WIDTHxHEIGHT@FPS", id="raw"),
        pytest.param(["--model", "x", "--raw", "0x8@30"], "1 to 65536", id="no width"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_2(flags: list[str], words: str) -> None:
    done = run(*flags)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def check_failure(done: subprocess.CompletedProcess[str], words: str) -> None:
    assert done.returncode == 1
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert words in last


def flip(path: Path, share: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * share)] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(lambda b: (b / "bundle.json").unlink(), "no bundle at", id="no bundle.json"),
        pytest.param(lambda b: flip(b / "xnnpack-int8.pte", 0.7), "SHA-256", id="program byte"),
        pytest.param(lambda b: (b / "xnnpack-int8.pte").unlink(), "cannot be read", id="program"),
        pytest.param(
            lambda b: (b / "bundle.json").write_text(
                (b / "bundle.json")
                .read_text(encoding="utf-8")
                .replace('"conf": 0.4', '"conf": 0.5'),
                encoding="utf-8",
            ),
            "its seal does not fit",
            id="seal",
        ),
        pytest.param(
            lambda b: (b / "bundle.json").write_text(
                (b / "bundle.json")
                .read_text(encoding="utf-8")
                .replace('"schema_version": 1', '"schema_version": 2'),
                encoding="utf-8",
            ),
            "schema 2, this runtime reads 1; update bmvit-edge",
            id="newer schema",
        ),
        pytest.param(
            lambda b: (b / "bundle.json").write_text("{" * 9999, encoding="utf-8"),
            "not valid JSON",
            id="not JSON",
        ),
    ],
)
def test_broken_bundle_is_one_sentence_and_exit_1(
    make_bundle: Any, damage: Any, words: str
) -> None:
    bundle = make_bundle()
    damage(bundle)
    check_failure(run("--model", bundle, *RAW, frames=bytes(192)), words)


def with_golden(bundle: Path, save: Any = np.savez, **changes: Any) -> Path:
    """Write the golden clip anew with other arrays (None leaves one out), and seal the bundle."""
    from runtime.bundle import Bundle
    from runtime.bundle_spec import GoldenClip

    with np.load(bundle / "golden.npz") as golden:
        content = {**golden, **changes}
    save(bundle / "golden.npz", **{k: v for k, v in content.items() if v is not None})
    return sealed(bundle, Bundle, GoldenClip)


def sealed(bundle: Path, opened: Any, golden: Any) -> Path:
    digest = hashlib.sha256((bundle / "golden.npz").read_bytes()).hexdigest()
    spec = opened.load(bundle).spec
    spec = replace(spec, golden=golden(file="golden.npz", sha256=digest))
    (bundle / "bundle.json").write_text(spec.to_json(), encoding="utf-8")
    return bundle


def test_it_tests_itself_as_python_does(make_bundle: Any) -> None:
    bundle = make_bundle()
    done = run("--model", bundle, "--raw", f"{WIDTH}x{HEIGHT}@30", frames=video(30).tobytes())
    assert done.returncode == 0, done.stderr
    assert "self-test passed at 0% of its limit" in done.stderr
    with np.load(bundle / "golden.npz") as golden:
        off = golden["xnnpack-int8/pred_actor"] + 0.5e-4
    done = run(
        *("--model", with_golden(bundle, **{"xnnpack-int8/pred_actor": off}), *RAW),
        frames=bytes(192),
    )
    assert "self-test passed at 50% of its limit" in done.stderr, "of the tolerance of 1e-4"


def test_a_compressed_golden_clip_is_said(make_bundle: Any) -> None:
    bundle = with_golden(make_bundle(), np.savez_compressed)
    done = run("--model", bundle, "--raw", f"{WIDTH}x{HEIGHT}@30", frames=video(30).tobytes())
    assert done.returncode == 0, done.stderr
    assert "not self-tested (the golden clip is compressed" in done.stderr


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param(
            {"pred_actor": np.full(4, 9.0, np.float32)}, "pred_actor as a whole is off by",
            id="other answers",
        ),
        pytest.param({"pred_actor": np.full(4, np.nan, np.float32)}, "off by nan", id="NaN"),
        pytest.param({"pred_boxes": None}, "lacks xnnpack-int8/pred_boxes", id="no answer"),
        pytest.param(
            {"pred_boxes": np.zeros((5, 4), np.float32)}, "expected <f4 (4, 4)", id="other tokens"
        ),
        pytest.param({"pred_boxes": np.zeros((4, 4))}, "expected <f4 (4, 4)", id="float64"),
    ],
)  # fmt: skip
def test_a_failed_self_test_is_one_sentence(
    make_bundle: Any, changes: dict[str, Any], words: str
) -> None:
    named = {f"xnnpack-int8/{name}": value for name, value in changes.items()}
    done = run("--model", with_golden(make_bundle(), **named), *RAW, frames=bytes(192))
    check_failure(done, words)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9, 0.98, 0.999])
def test_a_golden_clip_that_is_no_archive_is_refused(make_bundle: Any, share: float) -> None:
    from runtime.bundle import Bundle
    from runtime.bundle_spec import GoldenClip

    bundle = make_bundle()
    content = (bundle / "golden.npz").read_bytes()
    (bundle / "golden.npz").write_bytes(content[: int(share * len(content))])
    sealed(bundle, Bundle, GoldenClip)
    done = run("--model", bundle, *RAW, frames=bytes(192))
    check_failure(done, "no whole archive of arrays")


def test_a_changed_golden_clip_is_refused(make_bundle: Any) -> None:
    bundle = make_bundle()
    flip(bundle / "golden.npz", 0.3)
    done = run("--model", bundle, *RAW, frames=bytes(192))
    check_failure(done, "not the golden clip that the bundle describes")


def test_program_of_another_model_is_refused(make_bundle: Any) -> None:
    done = run("--model", make_bundle(num_tokens=7), *RAW, frames=bytes(192))
    check_failure(done, "program of another model")


@pytest.mark.parametrize(
    ("size", "words"),
    [
        pytest.param(0, "no frame came on stdin", id="nothing"),
        pytest.param(191, "ended within a frame: 191 of 192 bytes", id="part of a frame"),
        pytest.param(192 * 3, "3 frames, 0 gaps, 0 keyframes", id="shorter than a clip"),
    ],
)
def test_bad_frames_on_stdin_are_one_sentence_and_exit_1(
    make_bundle: Any, size: int, words: str
) -> None:
    check_failure(run("--model", make_bundle(), *RAW, frames=bytes(size)), words)


def test_a_dash_is_stdout(make_bundle: Any, tmp_path: Path) -> None:
    flags = ("--raw", f"{WIDTH}x{HEIGHT}@30", "--save-json")
    frames, bundle = video(30).tobytes(), make_bundle()
    own = run("--model", bundle, *flags, tmp_path / "own.jsonl", frames=frames)
    done = run("--model", bundle, *flags, "-", frames=frames)
    assert own.returncode == done.returncode == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    expected = [json.loads(line) for line in (tmp_path / "own.jsonl").read_text().splitlines()]
    assert len(lines) == len(expected) > 0
    assert [line["detections"] for line in lines] == [line["detections"] for line in expected]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_disk_is_one_sentence_and_exit_1(make_bundle: Any) -> None:
    flags = ("--raw", f"{WIDTH}x{HEIGHT}@30", "--save-json", "/dev/full")
    done = run("--model", make_bundle(), *flags, frames=video(30).tobytes())
    check_failure(done, "is the disk full?")
