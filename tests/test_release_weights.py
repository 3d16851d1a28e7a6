"""Weights that are released: which they are, and the runs that led to them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

from edge.model.checkpoint import load_checkpoint, save_checkpoint
from edge.model.variants import build_model

TOOL = Path(__file__).resolve().parent.parent / "tools" / "release_weights.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    pytest.importorskip("matplotlib", reason="the curves need matplotlib")
    spec = importlib.util.spec_from_file_location("release_weights", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_of(folder: Path, seed: int) -> Path:
    """Write what `edge train` leaves, as far as it is released."""
    folder.mkdir(parents=True)
    model = build_model("pico", num_classes=2, seed=seed)
    save_checkpoint(
        folder / "last.pt", model, class_names=("a", "b"), trained=True, note=f"step {seed}"
    )
    config = {"data": "/mine/films*2+synthetic-train:8", "init": "/mine/x.pt", "batch": 32}
    (folder / "config.json").write_text(json.dumps(config))
    losses = {"action": 2.0, "actor": 0.3, "bbox": 0.1, "giou": 0.4}
    rows = [
        {"kind": "train", "step": 500, **losses},
        {"kind": "train", "step": 990, **losses},
        {"kind": "train", "step": 1000, **losses},
        {"kind": "val", "step": 1000, "frame_map": 0.5, "actor_ap": 0.5, "ap": {"a": 0.5}},
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_the_mean_of_two_runs_with_all_that_led_to_them(tool: ModuleType, tmp_path: Path) -> None:
    first, second = run_of(tmp_path / "run-1", 1), run_of(tmp_path / "run-2", 2)
    out = tmp_path / "released"
    assert tool.main([str(first), "--out", str(out), "--file", "last.pt"]) == 0
    assert (
        tool.main([str(second), "--after", str(out), "--out", str(out), "--file", "last.pt"]) == 0
    )
    assert list(json.loads((out / "training.json").read_text())) == ["run-1", "run-2"]
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [(row["run"], row["step"]) for row in rows] == [
        (run, step) for run in ("run-1", "run-2") for step in (500, 1000, 1000)
    ]
    assert "/" not in (out / "training.json").read_text()

    both = tmp_path / "mean"
    flags = ["--out", str(both), "--file", "last.pt", "--mean", "2"]
    assert tool.main([str(first), str(second), *flags]) == 0
    mean = load_checkpoint(both / "model.pt")
    assert "mean of run-1, run-2" in mean.note
    parts = [load_checkpoint(run / "last.pt").model.state_dict() for run in (first, second)]
    for key, value in mean.model.state_dict().items():
        expected = torch.stack([part[key].float() for part in parts]).mean(0)
        torch.testing.assert_close(value.float(), expected, rtol=1e-3, atol=1e-4)


def test_a_share_of_a_run_and_of_the_weights_before(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = run_of(tmp_path / "run-1", 1), run_of(tmp_path / "run-2", 2)
    old, out = tmp_path / "old", tmp_path / "new"
    assert tool.main([str(first), "--out", str(old), "--file", "last.pt"]) == 0
    flags = ["--after", str(old), "--share", "0.25", "--file", "last.pt", "--out", str(out)]
    assert tool.main([str(second), *flags]) == 0
    found = load_checkpoint(out / "model.pt")
    assert found.note == "0.25 of run-2, the rest old; step 2"
    new, before = (
        load_checkpoint(p).model.state_dict() for p in (second / "last.pt", old / "model.pt")
    )
    for name, value in found.model.state_dict().items():
        if value.is_floating_point():
            wanted = 0.25 * new[name].double() + 0.75 * before[name].double()
            torch.testing.assert_close(value.double(), wanted, rtol=1e-3, atol=1e-4)
    for words in (["--share", "0"], ["--share", "0.5"]):
        with pytest.raises(SystemExit):
            tool.main([str(second), *words, "--out", str(tmp_path / "none")])
        assert "--share" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_runs_are_not_mistaken(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = run_of(tmp_path / "run-1", 1), tmp_path / "released"
    assert tool.main([str(run), "--out", str(out), "--file", "last.pt"]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    same_name = run_of(tmp_path / "again" / "run-1", 2)
    with pytest.raises(SystemExit):  # it would be in the log twice
        tool.main([str(same_name), "--after", str(out), "--out", str(out), "--file", "last.pt"])
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    with pytest.raises(SystemExit):
        tool.main([str(run), str(same_name), "--out", str(tmp_path / "none")])
    assert "two runs are named run-1" in capsys.readouterr().err
    with pytest.raises(SystemExit):  # a mean of more runs than there are
        tool.main([str(run), "--out", str(tmp_path / "none"), "--mean", "2"])
    assert not (tmp_path / "none").exists()


def test_released_weights_are_written_again_to_yield(tool: ModuleType, tmp_path: Path) -> None:
    first, out = tmp_path / "first", tmp_path / "out"
    assert (
        tool.main([str(run_of(tmp_path / "a", 1)), "--file", "last.pt", "--out", str(first)]) == 0
    )
    assert tool.main(["--after", str(first), "--rivals", "4", "--out", str(out)]) == 0
    before, after = (load_checkpoint(folder / "model.pt") for folder in (first, out))
    assert (before.config.heads.suppression_strength, after.config.heads.suppression_strength) == (
        8.0,
        4.0,
    )
    assert after.note == f"{before.note}; tokens suppress each other by 4"
    old, new = before.model.state_dict(), after.model.state_dict()
    assert old.keys() == new.keys()
    assert all(torch.equal(old[name], new[name]) for name in old)
    for name in ("training.json", "log.jsonl"):
        assert (first / name).read_text() == (out / name).read_text()


def test_nothing_to_release_is_refused(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        tool.main(["--out", str(tmp_path / "out")])
    assert "expected folders of runs, or --after" in capsys.readouterr().err


def test_the_weights_of_folds_are_written_side_by_side(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [run_of(tmp_path / f"fold{number}" / "run", number) for number in (0, 1)]
    out = tmp_path / "folds"
    assert tool.main(["--folds", *map(str, runs), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["fold0.pt", "fold1.pt"]
    found = load_checkpoint(out / "fold1.pt")
    assert found.note == "fold 1 of 2: step 1"
    assert found.class_names == ("a", "b")
    with pytest.raises(SystemExit):
        tool.main(["--folds", str(runs[0]), "--rivals", "4", "--out", str(out)])
    assert "stands alone" in capsys.readouterr().err


def test_of_several_runs_of_a_fold_the_mean_is_written(tool: ModuleType, tmp_path: Path) -> None:
    runs = [run_of(tmp_path / "fold4" / name, seed) for seed, name in ((1, "run"), (2, "then"))]
    out = tmp_path / "folds"
    assert tool.main(["--folds", *map(str, runs), "--out", str(out)]) == 0
    found = load_checkpoint(out / "fold4.pt")
    assert found.note == "fold 4 of 1: step 2; mean of run, then"
    first, second = (load_checkpoint(run / "last.pt").model.state_dict() for run in runs)
    for name, value in found.model.state_dict().items():
        if value.is_floating_point():
            wanted = ((first[name] + second[name]) / 2).half().float()
            assert torch.equal(value, wanted), name


def test_a_mean_of_runs_that_are_not_given_is_refused(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--after", str(tmp_path), "--mean", "2", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit):
        tool.main(words)
    assert "--mean is 2, expected 1 to 1" in capsys.readouterr().err
