"""`edge train --qat` from weights to weights: the loop, a resume, what is refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from runtime.types import ClipSpec

pytest.importorskip("executorch", reason="executorch is not installed")

from edge.cli import main
from edge.model.bmvit import BMViT, with_overrides
from edge.model.checkpoint import load_checkpoint, save_checkpoint
from edge.model.variants import VARIANTS, build_model
from edge.training import data as training_data
from edge.training.config import TrainOptions
from edge.training.logs import read_log
from quantize import qat
from runtime.errors import ConfigError
from tests.edge.moving_squares import MovingSquares
from tests.edge.tiny import TINY
from tests.export.conftest import stem_model

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def tiny_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a tiny network behind the name `pico-scratch`, and squares behind the data sets."""
    monkeypatch.setitem(VARIANTS, "pico-scratch", with_overrides(VARIANTS["pico-scratch"], **TINY))

    def open_squares(spec: str, shape: ClipSpec, **ignored: Any) -> MovingSquares:
        return MovingSquares(shape, length=12 if "val" in spec else 32)

    monkeypatch.setattr(training_data, "open_dataset", open_squares)


@pytest.fixture
def built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build the graph of these very weights once; three runs take a copy each."""
    made: list[Any] = []
    build = qat.training_graph

    def cached(model: BMViT, *rest: Any) -> Any:
        if not made:
            made.append(build(model, *rest))
        with qat.quiet_tools():
            return copy.deepcopy(made[0])

    monkeypatch.setattr(qat, "training_graph", cached)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    model = build_model("pico-scratch", num_classes=2, seed=3)
    path = tmp_path / "float.pt"
    save_checkpoint(path, model, class_names=MovingSquares.class_names, trained=True)
    return path


@pytest.mark.usefixtures("built_once")
def test_a_run_adapts_weights_and_goes_on_as_it_began(weights: Path, tmp_path: Path) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    argv = [
        "train", "--qat", "--model", "pico-scratch", "--init", str(weights), "--data", "squares",
        "--val-data", "squares-val", "--batch", "8", "--steps", "6", "--log-every", "1",
        "--workers", "0", "--device", "cpu", "--no-tensorboard", "--quiet",
        "--qat-freeze-norms", "0.5", "--accumulate", "2",
    ]  # fmt: skip
    assert main([*argv, "--out", str(straight)]) == 0
    assert main([*argv, "--out", str(broken), "--limit-steps", "4"]) == 0
    assert main(["train", "--resume", str(broken), "--quiet"]) == 0

    rows = [[r for r in read_log(folder) if r["kind"] == "train"] for folder in (straight, broken)]
    losses = [[(row["step"], row["loss"]) for row in run] for run in rows]
    assert losses[0] == losses[1]
    assert max(row["lr"] for row in rows[0]) == pytest.approx(1e-4), "a tenth of float training's"

    found = load_checkpoint(straight / "last.pt")
    assert "trained for xnnpack-int8" in found.note
    before = load_checkpoint(weights).model.state_dict()
    moved = [
        n for n, value in found.model.state_dict().items() if not torch.equal(value, before[n])
    ]
    assert "backbone.stem.0.conv.weight" in moved
    assert "backbone.stem.0.norm.running_mean" in moved


def test_a_model_on_a_stem_is_adapted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = stem_model(num_classes=2)
    monkeypatch.setitem(VARIANTS, "nano", model.config)
    init, out = tmp_path / "float.pt", tmp_path / "run"
    save_checkpoint(init, model, class_names=MovingSquares.class_names, trained=True)
    argv = [
        "train", "--qat", "--model", "nano", "--init", str(init), "--data", "squares", "--batch",
        "2", "--steps", "2", "--log-every", "1", "--workers", "0", "--device", "cpu",
        "--no-tensorboard", "--quiet", "--stem-lr", "0.1", "--out", str(out),
    ]  # fmt: skip
    assert main(argv) == 0
    rows = [row for row in read_log(out) if row["kind"] == "train"]
    assert [row["step"] for row in rows] == [1, 2]
    found = load_checkpoint(out / "last.pt")
    assert "trained for xnnpack-int8" in found.note
    before, after = model.state_dict(), found.model.state_dict()
    assert before.keys() == after.keys()
    for name in ("backbone.stem.first.conv.weight", "backbone.fusion.branches.32.2.weight",
                 "backbone.frame_embedding"):  # fmt: skip
        assert before[name].shape == after[name].shape
        assert not torch.equal(before[name], after[name]), name


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        pytest.param({}, "give --init", id="from nothing"),
        pytest.param({"init": "a.pt", "teacher": "b.pt"}, "--teacher", id="teacher"),
        pytest.param({"init": "a.pt", "qat_freeze_norms": 2.0}, "expected 0 to 1", id="share"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(flags: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TrainOptions.of(data="squares", qat=True, **flags)
