"""`edge val` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge.cli import main


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint of a tiny model that knows the classes of the benchmark world."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    from edge.model.checkpoint import save_checkpoint
    from edge.model.variants import build_model
    from edge.world import CLASS_NAMES

    model = build_model(
        "nano-scratch", num_classes=len(CLASS_NAMES), seed=0, num_frames=4, height=64, width=64,
        channels=(16, 32), depths=(1, 1), head_channels=16, strides=(2,), kv_strides=(4, 2),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("val") / "tiny.pt"
    save_checkpoint(path, model, class_names=CLASS_NAMES, trained=False, note="for tests")
    return path


def test_several_processes_count_what_one_counts(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["val", "--model", str(checkpoint), "--data", "synthetic-val:17", "--no-plots"]
    argv += ["--worst", "0", "--num-threads", "1"]
    one, two = tmp_path / "one", tmp_path / "two"
    assert main([*argv, "--out", str(one)]) == 0
    printed = capsys.readouterr().out
    assert "on synthetic-val:17: 17 clips" in printed
    assert "untrained" in printed
    assert main([*argv, "--out", str(two), "--workers", "2"]) == 0
    for name in ("000000.npz", "000001.npz"):
        with np.load(one / "outputs" / name) as a, np.load(two / "outputs" / name) as b:
            for key in a.files:
                np.testing.assert_array_equal(a[key], b[key])
    results = [json.loads((out / "metrics.json").read_text("utf-8")) for out in (one, two)]
    assert results[0] == results[1]
    assert results[0]["model"] == "tiny.pt"


def test_fewer_clips_are_said(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["val", "--model", str(checkpoint), "--data", "synthetic-val:17", "--no-plots"]
    argv += ["--worst", "0", "--num-threads", "1", "--out", str(tmp_path / "out")]
    assert main([*argv, "--clips", "3"]) == 0
    assert "at most 3 clips of it: 3 clips" in capsys.readouterr().out
    # All of them are another run.
    assert main([*argv, "--resume"]) == 2
    assert "another" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "code", "sentence"),
    [
        pytest.param(["--data", "synthetic-vla"], 2, "Did you mean 'synthetic-val'", id="data"),
        pytest.param(["--iou", "0.7"], 2, "no NMS", id="iou"),
        pytest.param(["--conf", "2"], 2, "conf is 2", id="conf"),
        pytest.param(["--data", ""], 2, "--data is empty", id="no data"),
        pytest.param(["--num-threads", "-1"], 2, "--num-threads is -1", id="threads"),
        pytest.param(["--device", "abacus"], 2, "--device abacus cannot be used", id="device"),
        pytest.param(["--model", "absent.pt"], 1, "absent.pt", id="model"),
    ],
)
def test_a_refusal_is_one_sentence(
    checkpoint: Path, tmp_path: Path, argv: list[str], code: int, sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "val"
    base = ["val", "--model", str(checkpoint), "--data", "synthetic-val:2", "--out", str(out)]
    assert main([*base, "--no-plots", *argv]) == code
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert sentence in error
    assert not out.exists()


def test_files_of_any_model_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, found = tmp_path / "truth.csv", tmp_path / "found.csv"
    truth.write_text("v,1,0,0,0.5,0.5,1\nv,2,0,0,0.5,0.5,1\n", encoding="utf-8")
    found.write_text("v,1,0,0,0.5,0.4,1,0.9\nv,2,0,0,0.5,0.1,1,0.8\n", encoding="utf-8")
    argv = ["val", "--detections", str(found), "--ground-truth", str(truth), "--no-plots"]
    out = tmp_path / "out"
    assert main([*argv, "--out", str(out)]) == 0
    assert "frame-mAP@0.5  0.500000" in capsys.readouterr().out
    assert json.loads((out / "metrics.json").read_text("utf-8"))["frame_map"] == 0.5
    assert main([*argv, "--out", str(out), "--overwrite", "--min-overlap", "0.9"]) == 0
    assert "frame-mAP@0.9  0.000000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        pytest.param([], "--model is missing", id="nothing"),
        pytest.param(["--model", "m.pt"], "--data is missing", id="no data"),
        pytest.param(["--detections", "d.csv"], "--ground-truth is missing", id="no truth"),
        pytest.param(["--ground-truth", "g.csv"], "--detections is missing", id="no detections"),
        pytest.param(
            ["--detections", "d.csv", "--ground-truth", "g.csv", "--model", "m.pt"],
            "give either --model or --detections", id="both",
        ),
        pytest.param(
            ["--detections", "d.csv", "--ground-truth", "g.csv", "--frozen"],
            "--frozen is of use with --model only", id="frozen files",
        ),
        pytest.param(
            ["--model", "m.pt", "--data", "synthetic-val", "--label-map", "x"],
            "--label-map is of use with --detections only", id="label map",
        ),
        pytest.param(
            ["--detections", "d.csv", "--ground-truth", "g.csv", "--protocol", "actt"],
            "Did you mean 'act'", id="protocol",
        ),
        pytest.param(
            ["--detections", "absent.csv", "--ground-truth", "absent.csv", "--no-plots"],
            "absent.csv cannot be read", id="absent",
        ),
    ],
)  # fmt: skip
def test_flags_of_files_and_of_models_do_not_mix(
    argv: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "val"
    assert main(["val", *argv, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert sentence in error
    assert not out.exists()


def test_protocol_names_are_those_of_the_evaluator() -> None:
    from edge.evaluation.options import PROTOCOL_NAMES
    from edge.evaluation.protocols import PROTOCOLS

    assert sorted(PROTOCOL_NAMES) == sorted(PROTOCOLS)
