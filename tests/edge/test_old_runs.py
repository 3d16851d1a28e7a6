"""What commit fbc37c1 wrote is still read: a checkpoint, a run to go on with, an evaluation.

`fixtures/fbc37c1` was written by that commit on a network of 3.8k weights: `init.pt` by
`save_checkpoint`; `run` by two of the four steps of `edge train --model pico --init init.pt`;
`val` by `edge val --model run/last.pt --data "synthetic-val:4:sit down"`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from edge.cli import main
from edge.model.checkpoint import load_checkpoint
from edge.training.logs import read_log
from edge.training.run_folder import read_run

OLD = Path(__file__).parent / "fixtures" / "fbc37c1"
DATA = "synthetic-val:4:sit down"
# What that commit logged of the two steps that were left.
LOSSES = {3: 18.699562072753906, 4: 20.252941131591797}


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the old files, as the working folder."""
    folder = tmp_path / "old"
    shutil.copytree(OLD, folder)
    monkeypatch.chdir(folder)
    return folder


def test_a_checkpoint_gives_the_outputs_it_gave() -> None:
    checkpoint = load_checkpoint(OLD / "run" / "last.pt")
    assert checkpoint.config.variant == "pico-scratch"
    assert checkpoint.note == "step 2 of 4 on synthetic-train:8:sit down; best 0.0012"
    shape = checkpoint.config.clip_shape
    clip = torch.linspace(-1, 1, torch.Size(shape).numel()).sin().reshape(shape)
    with torch.inference_mode():
        outputs = checkpoint.model(clip)
    boxes, actor, actions = (
        outputs[name].flatten()[:3].tolist()
        for name in ("pred_boxes", "pred_actor", "pred_actions")
    )
    assert boxes == pytest.approx([0.125366941, 0.125160784, 0.076115675], abs=1e-6)
    assert actor == pytest.approx([-4.591471672, -4.591501236, -4.591507435], abs=1e-5)
    assert actions == pytest.approx([-2.200722456, -2.200845242, -2.193879128], abs=1e-5)


def test_flags_of_a_run_have_the_names_of_today() -> None:
    written = json.loads((OLD / "run" / "config.json").read_text(encoding="utf-8"))
    assert {"rival_weight", "loss_early", "loss_many"} <= set(written)
    flags = read_run(OLD / "run")
    assert len(flags) == len(written)
    assert flags["model"] == "pico-scratch"
    assert flags["duplicate_weight"] == written["rival_weight"]


def test_a_run_goes_on_along_its_loss_curve(old: Path) -> None:
    assert main(["train", "--resume", "run", "--quiet"]) == 0
    losses = {row["step"]: row["loss"] for row in read_log(old / "run") if row["kind"] == "train"}
    assert sorted(losses) == [1, 2, 3, 4]
    for step, loss in LOSSES.items():
        assert losses[step] == pytest.approx(loss, rel=1e-4)


def test_outputs_are_counted_as_they_were(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = json.loads((old / "val" / "metrics.json").read_text(encoding="utf-8"))
    flags = ["--data", DATA, "--out", "val", "--resume", "--no-plots", "--worst", "0", "--quiet"]
    assert main(["val", "--model", "run/last.pt", *flags]) == 0
    assert "4 clips, 7 actors" in capsys.readouterr().out
    after = json.loads((old / "val" / "metrics.json").read_text(encoding="utf-8"))
    assert {name: after[name] for name in before} == before
