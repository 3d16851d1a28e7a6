"""`edge quantize`: int8 of a checkpoint, in torch, with its tables and files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from edge.cli import main
from edge.data.demo_clip import write_demo_clip
from edge.model.checkpoint import save_checkpoint
from quantize.cli import training_flags
from quantize.graph import float_outputs, quiet_tools
from tests.export.conftest import clips_of, small_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a checkpoint and a video."""
    folder = tmp_path_factory.mktemp("quantize")
    save_checkpoint(folder / "m.pt", small_model(), class_names=("left", "right"), trained=True)
    write_demo_clip(folder / "drawn.mp4", seconds=4.0)
    return folder


def test_a_checkpoint_gets_an_int8_program_and_a_report_by_group_and_layer(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, report = folder / "m.pt2", folder / "m.json"
    argv = ["quantize", "--model", str(folder / "m.pt"), "--calib-data", str(folder / "drawn.mp4")]
    argv += ["--calib-clips", "8", "--sensitivity", "--quiet", "--out", str(out)]
    assert main([*argv, "--json", str(report)]) == 0
    printed = capsys.readouterr().out
    assert "xnnpack-int8: ranges of 6 clips, compared on 2" in printed
    assert "group in int8 alone" in printed
    assert "layer in int8 alone" in printed
    content = json.loads(report.read_text("utf-8"))
    assert content["command"].startswith("edge quantize --model")
    assert [group["group"] for group in content["groups"]][-1] == "all"
    costs = [layer["cost"] for layer in content["layers"]]
    assert costs == sorted(costs, reverse=True)
    assert 0 < content["mean_abs"]["pred_boxes"] < 0.05
    assert min(content["cosine"].values()) > 0.9
    # What was written is the program that was measured.
    (clip,) = clips_of(small_model(), 1)
    with quiet_tools():
        found = torch.export.load(out).module()(torch.from_numpy(clip))
    for one, other in zip(found, float_outputs(small_model())(clip), strict=True):
        assert 0 < float(np.abs(one.detach().numpy() - other).mean()) < 1

    assert main([*argv, "--json", str(report)]) == 2
    assert "m.pt2 exists; choose another name or pass --overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "code", "sentence"),
    [
        pytest.param(["--calib-clips", "1"], 2, "--calib-clips is 1, expected 2 or more", id="few"),
        pytest.param(["--out", "m.pt"], 2, "ends in .pt2", id="suffix"),
        pytest.param(["--float-layers", "nek"], 2, "is no layer that int8 takes", id="layer"),
    ],
)
def test_a_refusal_is_one_sentence(
    folder: Path, flags: list[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["quantize", "--model", str(folder / "m.pt"), "--calib-data", str(folder / "drawn.mp4")]
    assert main([*argv, "--calib-clips", "2", "--quiet", *flags]) == code
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("joined", [False, True])
def test_with_qat_the_checkpoint_is_what_training_begins_with(folder: Path, joined: bool) -> None:
    path = str(folder / "m.pt")
    given = [f"--model={path}"] if joined else ["--model", path]
    flags = training_flags(["--qat", *given, "--data", "DATA"])
    assert flags == ["--qat", "--init", path, "--model", "nano-scratch", "--data", "DATA"]


def test_with_qat_a_checkpoint_that_is_not_there_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["quantize", "--qat", "--model", str(folder / "none.pt"), "--data", "synthetic-train:8"]
    assert main([*argv, "--out", str(folder / "run"), "--quiet"]) == 1
    assert "none.pt" in capsys.readouterr().err
