"""Videos of which only a label is known, beside drawn ones: checked, learned from, judged by."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.cli import main
from edge.training.logs import read_log
from tests.edge.cli.test_train import FLAGS, train
from tests.edge.data.test_folder import write_video


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("weak") / "mine"
    (root / "videos").mkdir(parents=True)
    rows, labels = [], []
    for index in range(4):
        write_video(root / "videos" / f"v{index}.avi")
        for time in (0.5, 1.0):
            rows += [f"v{index},{time},0.1,0.1,0.4,0.9,1,0", f"v{index},{time},0.6,0.1,0.9,0.9,,1"]
        labels.append(f"v{index},2,{index % 2}")
    (root / "classes.txt").write_text("walk\nfight\n")
    (root / "annotations.csv").write_text("\n".join(rows) + "\n")
    (root / "video_labels.csv").write_text("\n".join(labels) + "\n")
    (root / "groups.csv").write_text("v0,a\nv1,a\nv2,b\nv3,b\n")
    return root


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weak") / "run"
    kept = folder.with_name("kept")
    flags = [*FLAGS, "--data", f"synthetic-train:8+{data}*2", "--val-data", str(data)]
    flags += ["--read-scale", "1.5", "--class-balance", "0.5", "--cache", str(kept), "--steps", "2"]
    done = train(*flags, "--val-clips", "0", "--out", str(folder))
    assert done.returncode == 0, done.stderr
    assert "clips in which somebody does it: 4, nobody: 4" in done.stderr
    assert len(list(kept.glob("*/frames.bin"))) == 2
    return folder


def test_a_run_says_how_videos_are_told_apart(run: Path) -> None:
    (row,) = [row for row in read_log(run) if row["kind"] == "val"]
    assert list(row["ap"]) == ["walk", "fight"]
    assert row["ap"]["fight"] is None
    assert 0 <= row["video_auc"]["fight"] <= 1
    assert (row["actors"], row["undecided"], row["bystanders"]) == (8, 4, 4)


def test_the_same_weights_are_judged_by_either_data_set(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["val", "--model", str(run / "last.pt"), "--no-plots", "--worst", "0"]
    assert main([*base, "--data", str(data), "--out", str(tmp_path / "a")]) == 0
    printed = capsys.readouterr().out
    assert "4 who may act" in printed
    assert "not in the frame-mAP: fight" in printed
    content = json.loads((tmp_path / "a" / "metrics.json").read_text("utf-8"))
    assert content["whole_videos"]["fight"]["sources"] == 2
    assert len(content["classes_left_out"]) == 18
    assert main([*base, "--data", "synthetic-val:4", "--out", str(tmp_path / "b")]) == 0
    assert "does not have walk, fight, which the model knows" in capsys.readouterr().out


def test_a_model_that_does_not_know_a_class_is_refused(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [*FLAGS[:1], "--data", "synthetic-train:8", "--val-data", str(data)]
    assert main([*argv, "--out", str(tmp_path / "run")]) == 2
    assert "other classes than --data synthetic-train:8: walk, fight" in capsys.readouterr().err
