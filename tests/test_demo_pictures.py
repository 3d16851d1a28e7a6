"""The README's picture: frames of a video with what a bundle says of them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from edge.data.demo_clip import SIZE_WH, render_frame, write_demo_clip
from runtime.bundle import DEFAULT_BUNDLE
from runtime.decode import Detections
from runtime.results import KeyframeResult, Timings

pytest.importorskip("runtime._native", reason="the native runtime is not built here")
TOOL = Path(__file__).resolve().parent.parent / "tools" / "demo_pictures.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo_pictures", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["demo_pictures"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    write_demo_clip(path, seconds=3.0)
    return path


def result_at(keyframe: int) -> KeyframeResult:
    return KeyframeResult(
        frame=keyframe + 12, t=0.0, keyframe=keyframe, keyframe_t=keyframe / 30, latency_ms=1.0,
        detections=Detections(
            xyxy=np.array([[320, 90, 480, 270]], np.float32), actor=np.array([0.9], np.float32),
            actions=np.array([[0.8]], np.float32), token=np.array([0]),
        ),
        class_names=("walk",), action_conf=0.5, trained=True, size_wh=SIZE_WH,
        timings=Timings(capture_ms=0, preprocess_ms=0, inference_ms=0, decode_ms=0),
    )  # fmt: skip


def test_a_grid_of_annotated_frames_is_written(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "assets" / "frames.jpg"
    done = subprocess.run(
        [sys.executable, TOOL, "--video", film, "--model", DEFAULT_BUNDLE, "--conf", "0.001",
         "--count", "4", "--columns", "2", "--width", "320", "--num-threads", "1", "--out", out],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "4 of " in done.stdout
    image = cv2.imread(str(out))
    assert image.shape == (2 * 180 + 6, 2 * 320 + 6, 3)
    assert image[:, 322:324].mean() > 240, "a white gap"
    assert [path.name for path in out.parent.iterdir()] == ["frames.jpg"]


def test_results_are_chosen_evenly(tool: ModuleType) -> None:
    results = [result_at(i) for i in range(100)]
    assert [one.keyframe for one in tool.spread(results, 4)] == [12, 37, 62, 87]
    assert tool.spread(results[:3], 4) == results[:3]
    assert tool.spread([], 4) == []


def test_frames_are_those_that_the_runner_counts(tool: ModuleType, film: Path) -> None:
    frames = tool.frames_of(str(film), {0, 45, 89, 500})
    assert sorted(frames) == [0, 45, 89]
    assert np.abs(frames[45].astype(int) - render_frame(45 / 30)).mean() < 8


def test_boxes_are_scaled_with_their_frame(tool: ModuleType) -> None:
    plain = np.zeros((SIZE_WH[1], SIZE_WH[0], 3), np.uint8)
    image = tool.picture(plain, result_at(3), 320)
    assert image.shape == (180, 320, 3)
    column = image[90].max(axis=-1)
    assert column[160:163].max() > 100, "the left side of the box, at half of 320"
    assert column[170:230].max() == 0
    assert column[237:240].max() > 100


@pytest.mark.parametrize(
    ("count", "columns", "size"),
    [(1, 3, (20, 30)), (3, 3, (20, 102)), (4, 3, (46, 102)), (2, 1, (46, 30))],
)
def test_a_grid_is_as_wide_as_it_needs(
    tool: ModuleType, count: int, columns: int, size: tuple[int, int]
) -> None:
    sheet = tool.grid([np.zeros((20, 30, 3), np.uint8)] * count, columns)
    assert sheet.shape[:2] == size


@pytest.mark.parametrize(
    ("argv", "code", "sentence"),
    [
        pytest.param(["--video", "absent.avi"], 2, "absent.avi: no such file", id="missing"),
        pytest.param(["--count", "0"], 2, "--count is 0, expected 1 to 64", id="count"),
        pytest.param(["--out", "x.gif"], 2, "ends in .jpg or .png", id="suffix"),
        pytest.param(["--model", "absent"], 1, "absent", id="model"),
        pytest.param(["--conf", "1"], 1, "the bundle finds nobody in it", id="nobody"),
    ],
)
def test_a_refusal_is_one_sentence(
    tool: ModuleType, film: Path, tmp_path: Path, argv: list[str], code: int, sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "x.jpg"
    base = ["--video", str(film), "--out", str(out), "--num-threads", "1"]
    assert tool.guarded(tool.main, [*base, *argv]) == code
    error = capsys.readouterr().err.splitlines()
    assert error[-1].startswith("error: ")
    assert sentence in error[-1]
    assert not out.exists()
