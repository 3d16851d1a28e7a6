"""Folds by recording, and figures at thresholds of the other folds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks._folds import split_by_source, write_fold
from benchmarks.cross_validation import CrossOptions, judged, learn, nested, suppress
from edge.data.annotations import ClipPlace
from edge.data.video_labels import VideoLabels
from edge.evaluation.video_scores import VideoScores
from edge.model.checkpoint import load_checkpoint, save_checkpoint
from edge.model.variants import build_model
from edge.training.config import TrainOptions
from runtime.decode import Detections
from runtime.errors import ConfigError
from runtime.options import OptionParser, to_flat
from tests.edge.tiny import TINY


def labels_of(source: dict[str, str], present: dict[str, bool]) -> VideoLabels:
    """Return what is said of videos with one action; a blank source is one that nobody knows."""
    return VideoLabels(
        video_level=np.array([True]),
        states={name: np.array([kind], np.int8) for name, kind in present.items()},
        sources={name: one for name, one in source.items() if one},
    )


@given(
    st.lists(
        st.tuples(st.sampled_from(["", *"abcdefghij"]), st.booleans()), min_size=30, max_size=80
    )
)
def test_no_recording_lies_on_both_sides(videos: list[tuple[str, bool]]) -> None:
    source = {f"v{i:02d}": name for i, (name, _) in enumerate(videos)}
    present = {f"v{i:02d}": kind for i, (_, kind) in enumerate(videos)}
    if len(set(source.values()) - {""}) < 3:
        return
    folds = split_by_source(labels_of(source, present), 0, 3)
    everything = [*folds.unknown, *(name for test in folds.test for name in test)]
    assert sorted(everything) == sorted(source)
    for fold, test in enumerate(folds.test):
        here, there = {source[n] for n in test}, {source[n] for n in folds.train(fold)}
        assert not here & there
        assert "" not in here | there, "a video of unknown recording may be of any"


def test_folds_are_alike_in_size_and_kind() -> None:
    source = {f"{kind}{i}": f"r{i // 2}" for i in range(40) for kind in "ab"}
    present = {name: name[0] == "a" for name in source}
    folds = split_by_source(labels_of(source, present), 0, 5)
    counts = [Counter(present[n] for n in test) for test in folds.test]
    assert all(count == {True: 8, False: 8} for count in counts)


def test_too_few_recordings_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 recordings for 5 folds"):
        split_by_source(labels_of({"a": "1", "b": "2"}, {"a": True, "b": False}), 0, 5)


def test_a_fold_is_a_data_set(tmp_path: Path) -> None:
    data = tmp_path / "labelled"
    (data / "videos").mkdir(parents=True)
    (data / "classes.txt").write_text("person\nfighting\n")
    (data / "annotations.csv").write_text(
        "".join(f"f/{n},1,0.1,0.1,0.5,0.9,1,0\n" for n in ("a", "b", "c", "d"))
    )
    (data / "video_labels.csv").write_text("f/a,2,1\nf/b,2,0\nf/c,2,1\nf/d,2,0\n")
    (data / "groups.csv").write_text("f/a,1\nf/b,2\nf/c,3\n")
    present = {"f/a": True, "f/b": False, "f/c": True, "f/d": False}
    folds = split_by_source(labels_of({"f/a": "1", "f/b": "2", "f/c": "3"}, present), 0, 3)
    assert folds.unknown == ("f/d",)
    write_fold(data, tmp_path / "fold", folds, 0)
    train = (tmp_path / "fold" / "annotations_train.csv").read_text()
    val = (tmp_path / "fold" / "annotations_val.csv").read_text()
    assert len(train.splitlines()) == 2
    assert len(val.splitlines()) == 1
    assert not set(train.splitlines()) & set(val.splitlines())
    assert (tmp_path / "fold" / "videos").resolve() == (data / "videos").resolve()


def test_a_fold_is_judged_at_a_threshold_it_had_no_part_in() -> None:
    """One fold's scores are shifted: only its own would find the threshold that tells it apart."""
    names = [f"v{i}" for i in range(12)]
    present = {name: i % 2 == 1 for i, name in enumerate(names)}
    labels = labels_of({n: n for n in names}, present)
    folds = split_by_source(labels, 0, 3)
    scores = VideoScores(labels, ("fighting",), dict.fromkeys(names, 3600.0))
    for fold, test in enumerate(folds.test):
        for name in test:
            value = (0.6 if present[name] else 0.2) + (0.39 if fold == 2 else 0.0)
            found = Detections(
                xyxy=np.array([[0, 0, 1, 1]], np.float32),
                actor=np.ones(1, np.float32),
                actions=np.array([[value]], np.float32),
                token=np.zeros(1, np.int64),
            )
            scores.add(ClipPlace(video=name, frame=0, timestamp=0.0), found)
    result = nested(scores, folds)
    # Two folds are told apart; in the third all videos lie above the others' threshold.
    assert result["accuracy"] == pytest.approx(10 / 12)
    assert result["false_alarms_per_hour"] == pytest.approx(2 / 6)


class Recorder:
    """Stands for `edge`: keeps the commands that it is given, and makes their folder alone."""

    def __init__(self) -> None:
        self.given: list[tuple[str, ...]] = []

    def __call__(self, *words: str) -> None:
        self.given.append(words)
        Path(words[words.index("--out") + 1]).mkdir(parents=True)


@pytest.fixture
def edge() -> Recorder:
    return Recorder()


def test_a_second_training_goes_on_from_the_first(tmp_path: Path, edge: Recorder) -> None:
    options = CrossOptions(
        init="base.pt", imgsz="192", steps=700, finetune_args="--imgsz 256 --steps 350"
    )
    for _ in range(2):  # what is finished is kept
        learn(tmp_path, options, edge)
    first, second, export = edge.given
    assert first[first.index("--init") + 1] == "base.pt"
    assert second[second.index("--init") + 1] == str(tmp_path / "run" / "last.pt")
    before, after = (
        to_flat(OptionParser(prog="edge train").parse_into(TrainOptions, words[1:]))
        for words in (first, second)
    )
    assert (before["imgsz"], before["steps"]) == ("192", 700)
    assert (after["imgsz"], after["steps"], after["data"]) == ("256", 350, before["data"])
    assert after["cache"] != before["cache"]
    assert export[export.index("--model") + 1] == str(tmp_path / "then" / "last.pt")


def test_folds_begin_with_weights_of_their_own(tmp_path: Path, edge: Recorder) -> None:
    weights = tmp_path / "given" / "fold3.pt"
    weights.parent.mkdir()
    weights.write_bytes(b"1")
    given = CrossOptions(weights=str(weights.parent))
    for _ in range(2):
        learn(tmp_path / "fold3", given, edge)
    (export,) = edge.given
    assert export[export.index("--model") + 1] == str(weights)
    learn(tmp_path / "fold3", replace(given, finetune_args="--steps 9"), edge)
    _, train, export = edge.given
    assert train[train.index("--init") + 1] == str(weights)
    assert Path(export[export.index("--model") + 1]) == tmp_path / "fold3/given-then/last.pt"
    weights.write_bytes(b"2")  # what was made of the others is not judged in their place
    with pytest.raises(ConfigError, match=r"fold3 was made of other weights.* name another --out"):
        learn(tmp_path / "fold3", given, edge)


def test_folds_learn_from_kept_features_without_their_own_videos(
    tmp_path: Path, edge: Recorder
) -> None:
    kept = "features:one*2+features:two"
    learn(tmp_path / "fold1", CrossOptions(features=kept, init="base.pt"), edge)
    train, _ = edge.given
    learns = OptionParser(prog="edge train").parse_into(TrainOptions, train[1:])
    assert (learns.clips.data, learns.clips.classes, learns.start.init) == (
        kept,
        "joint",
        "base.pt",
    )
    assert learns.exclude_videos == str(tmp_path / "fold1" / "judged-by.txt")
    assert learns.val_data is None


def test_trained_weights_are_given_suppression(tmp_path: Path) -> None:
    model = build_model("pico-scratch", num_classes=2, seed=0, **TINY)
    trained, path = tmp_path / "last.pt", tmp_path / "suppressed.pt"
    save_checkpoint(trained, model, class_names=("a", "b"), trained=True, note="n")
    suppress(trained, path, 4.0)
    found = load_checkpoint(path)
    assert found.config.heads.suppression_strength == 4.0
    assert (found.class_names, found.trained, found.note) == (("a", "b"), True, "n")
    weights = model.state_dict()
    assert all(
        torch.equal(value, weights[name]) for name, value in found.model.state_dict().items()
    )


def test_what_other_flags_made_is_not_judged_in_its_place() -> None:
    kinds = [(None, None), ("--steps 9", None), (None, 2.0), (None, 4.0), ("--steps 9", 4.0)]
    made = [
        path
        for then, strength in kinds
        for weights in (None, "given")
        for path in judged(
            Path("fold0"),
            CrossOptions(weights=weights, finetune_args=then, suppression_strength=strength),
        )
    ]
    assert len(set(made)) == len(made)


def test_former_names_of_flags_are_still_read() -> None:
    parser = OptionParser(prog="cross_validation")
    options = parser.parse_into(CrossOptions, ["--then=--steps 9", "--beside", "synthetic-train:7"])
    assert (options.finetune_args, options.extra_data) == ("--steps 9", "synthetic-train:7")
