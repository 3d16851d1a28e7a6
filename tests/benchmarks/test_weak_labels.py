"""The data of the comparison: who does what in the one folder, that somebody does in the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from benchmarks.weak_labels import _forget, _write_data
from edge.data.registry import open_dataset
from edge.model.checkpoint import load_checkpoint, save_checkpoint
from edge.model.variants import build_model
from runtime.errors import ConfigError

HIDDEN = ("wave", "fall")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from edge.world import CLASS_NAMES

    path = tmp_path_factory.mktemp("weak") / "model.pt"
    model = build_model("pico-scratch", num_classes=len(CLASS_NAMES), seed=3)
    save_checkpoint(path, model, class_names=CLASS_NAMES, trained=False, note="for tests")
    return path


def test_what_is_hidden_is_known_of_clips_only(model: Path, tmp_path: Path) -> None:
    named, hidden = tmp_path / "named", tmp_path / "hidden"
    _write_data(named, hidden, model, 12, HIDDEN)
    shape = load_checkpoint(model).config.clip
    world = open_dataset("synthetic-train:12", shape)
    whole, part = open_dataset(str(named), shape), open_dataset(str(hidden), shape)
    labels = part.video_labels
    assert labels is not None
    assert whole.video_labels is None
    assert len(whole) == len(part) == len(world)
    columns = [world.class_names.index(name) for name in HIDDEN]
    for index in range(12):
        drawn, known, doubted = world[index], whole[index], part[index]
        assert np.array_equal(known.frames_rgb, drawn.frames_rgb)
        assert known.labels.sum() == drawn.labels.sum()
        assert len(known.inactive_persons) == len(drawn.inactive_persons)
        assert not doubted.labels[:, columns].any()
        does = drawn.labels[:, columns].any(axis=0)
        assert (labels.state(f"{index:06d}")[columns] == does).all()


def test_the_last_layer_forgets_what_is_hidden(model: Path, tmp_path: Path) -> None:
    _forget(str(model), tmp_path / "begin.pt", HIDDEN)
    before, after = load_checkpoint(model), load_checkpoint(tmp_path / "begin.pt")
    rows = [before.class_names.index(name) for name in HIDDEN]
    same = before.model.heads.actions.last.weight == after.model.heads.actions.last.weight
    assert [i for i, row in enumerate(same.flatten(1).all(1).tolist()) if not row] == sorted(rows)
    with pytest.raises(ConfigError, match="--hidden names"):
        _forget(str(model), tmp_path / "other.pt", ("swim",))
