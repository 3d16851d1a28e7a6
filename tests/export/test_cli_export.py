"""`edge calibrate`, `edge export` and `edge run` in a row, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.cli import main


def test_the_road_from_checkpoint_to_results(
    checkpoint: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("runtime._native", reason="the native runtime is not built here")
    calibration, bundle, lines = (tmp_path / n for n in ("calib.npz", "bundle", "out.jsonl"))
    argv = ["calibrate", "--model", str(checkpoint), "--calib-data", str(video)]
    assert main([*argv, "--calib-clips", "8", "--out", str(calibration)]) == 0
    assert "layers measured" in capsys.readouterr().out

    argv = ["export", "--model", str(checkpoint), "--calib-data", str(calibration)]
    assert main([*argv, "--out", str(bundle), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "100.0% in 1" in printed
    assert f"edge run --model {bundle}" in printed, "the next command is named"

    assert main(["info", str(bundle)]) == 0
    printed = capsys.readouterr().out
    assert "UNTRAINED" in printed
    assert "xnnpack-int8" in printed

    argv = ["run", "--model", str(bundle), "--source", str(video), "--conf", "0"]
    assert main([*argv, "--save-json", str(lines)]) == 0
    results = [json.loads(line) for line in lines.read_text("utf-8").splitlines()]
    assert len(results) > 5
    keys = ["frame", "t", "keyframe", "keyframe_t", "latency_ms", "detections", "trained"]
    assert list(results[0]) == keys
    assert len(results[0]["detections"]) == 32, "a threshold of 0 keeps every token"
    assert set(results[0]["detections"][0]) == {"xyxy", "actor", "actions"}


@pytest.mark.parametrize(
    ("argv", "code", "sentence"),
    [
        pytest.param(["--half"], 2, "unknown flag '--half'. Use '--precision fp16'", id="half"),
        pytest.param(
            ["--targets", "xnnpack-int9"], 2, "Did you mean 'xnnpack-int8'", id="unknown target"
        ),
        pytest.param([], 1, "--calib-data", id="int8 without clips"),
        pytest.param(["--format", "onxx"], 2, "Choose from: executorch, pte", id="unknown format"),
        pytest.param(
            ["--format", "pte", "--targets", "xnnpack-int8"], 2, "name the same", id="both ways"
        ),
        pytest.param(["--calib-data", "nowhere/"], 1, "nowhere", id="clips that are not there"),
    ],
)
def test_a_refusal_comes_before_the_work(
    argv: list[str],
    code: int,
    sentence: str,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "bundle"
    assert main(["export", "--model", str(checkpoint), "--out", str(out), *argv]) == code
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert sentence in error
    assert not out.exists()
