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
    from edge.data.synthetic import CLASS_NAMES
    from edge.model.checkpoint import save_checkpoint
    from edge.model.variants import build_model

    model = build_model(
        "nano", num_classes=len(CLASS_NAMES), seed=0, num_frames=4, height=64, width=64,
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
