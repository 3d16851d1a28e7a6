"""Classes of several data sets as one: what is joined, absent and unknown, and who judges whom."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.cli import main
from edge.data.annotations import Tube
from edge.data.class_sources import class_sources
from edge.data.class_tables import ClassTable, SourceClasses
from edge.data.concat import ConcatDataset
from edge.data.dataset import ClipDataset
from edge.data.joint_classes import JHMDB_CLASSES, JOINT, JOINT_CLASSES, class_table
from edge.data.registry import open_dataset
from edge.data.remap import AddPersonClass, RemapClasses, joined, judged
from edge.data.samples import ClipSample
from edge.data.timed_actions import CLASSES as TIMED
from edge.data.video_labels import VideoLabels
from edge.training.config import TrainOptions
from edge.training.data import open_training, open_validation
from edge.world.casting import CLASS_NAMES
from runtime.errors import ConfigError
from runtime.types import ClipSpec
from tests.edge.partial_labels import codes, masks

SHAPE = ClipSpec(num_frames=2, height=32, width=32, sampling_rate=2, fps=10.0)


class Said(ClipDataset):
    """A data set of one clip, whose people do as they are told."""

    def __init__(
        self, names: Sequence[str], people: Sequence[str], said: Sequence[str] | None = None
    ) -> None:
        """Take the classes and a text a person: 1 for what they do; ? and s if it is not said."""
        self.class_names = tuple(names)
        labels = np.array([[letter == "1" for letter in row] for row in people], np.float32)
        letters = said or ["k" * len(names)] * len(people)
        known = np.array([["ks?".index(c) for c in row] for row in letters], np.uint8)
        self.sample = ClipSample(
            frames_rgb=np.zeros((2, 32, 32, 3), np.uint8),
            boxes=np.tile(np.array([0.1, 0.1, 0.4, 0.9], np.float32), (len(people), 1)),
            labels=labels.reshape(len(people), len(names)),
            inactive_persons=np.zeros((0, 4), np.float32),
            clip_id="clip",
            size_wh=(32, 32),
            **masks(known.reshape(len(people), len(names))),
        )

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> ClipSample:
        return self.sample


def seen(sample: ClipSample, names: Sequence[str]) -> list[str]:
    """Return 1, 0, s or ? for each person and class."""
    letters = np.array(["k", "s", "?"])[codes(sample)]
    plain = np.where(sample.labels > 0.5, "1", "0")
    assert not (sample.labels[~sample.label_mask] > 0.5).any()
    assert sample.labels.shape == (len(sample.boxes), len(names))
    return ["".join(row) for row in np.where(letters == "k", plain, letters)]


TABLE = ClassTable(
    names=("walk", "sit", "golf", "climb", "person"),
    sources={
        "folder": SourceClasses(
            join={"forwards": "walk", "backwards": "walk", "reads": None},
            absent=("golf", "climb"),
            unknown={"walk": ("climb",)},
        )
    },
)
OWN = ("forwards", "backwards", "reads", "sit")


@pytest.mark.parametrize(
    ("people", "said", "expected"),
    [
        pytest.param(["1000", "0100", "0001"], None, ["100?1", "100?1", "01001"], id="known"),
        pytest.param(["0010"], None, ["00001"], id="of what is left out"),
        pytest.param(["1000"], ["k??k"], ["100?1"], id="one of two is done"),
        pytest.param(["0001"], ["k?kk"], ["?1001"], id="one of two is unknown"),
        pytest.param(["0001"], ["ks?k"], ["s1001"], id="somebody does one of two"),
        pytest.param(["0001"], ["s?kk"], ["s1001"], id="somebody, and unknown"),
        pytest.param(["0000"], ["kkk?"], ["0?00?"], id="whether they act is unknown"),
        pytest.param([], None, [], id="nobody"),
    ],
)
def test_labels_are_joined(people: list[str], said: list[str] | None, expected: list[str]) -> None:
    data = RemapClasses(Said(OWN, people, said), "mine", TABLE)
    assert data.class_names == TABLE.names
    assert seen(data[0], TABLE.names) == expected


def test_what_no_word_stands_for_is_unknown_and_everything_else_stays() -> None:
    plain = Said(("sit",), ["1"])
    plain.sample = replace(plain.sample, ignored=np.ones((2, 4), np.float32))
    data = RemapClasses(plain, "davis:nowhere", TABLE)
    assert seen(data[0], TABLE.names) == ["?1??1"]
    assert len(data[0].ignored) == 2
    assert data.knows("sit")
    assert data.knows("person")
    assert not data.knows("golf")


def test_bystanders_who_are_taught_as_persons_do_nothing_else() -> None:
    class Idle(Said):
        def __getitem__(self, index: int) -> ClipSample:
            box = np.array([[0.5, 0.5, 0.6, 0.9]], np.float32)
            return replace(self.sample, inactive_persons=box)

    silent = RemapClasses(Idle(CLASS_NAMES, ["1" + "0" * 17]), "synthetic-train", JOINT)[0]
    taught = RemapClasses(
        AddPersonClass(Idle(CLASS_NAMES, ["1" + "0" * 17])), "synthetic-train", JOINT
    )
    person = JOINT_CLASSES.index("person")
    assert len(silent.boxes) == len(silent.inactive_persons) == 1
    assert len(taught[0].boxes) == 2
    assert taught[0].labels[1].sum() == taught[0].labels[1, person] == 1.0
    assert taught[0].label_mask[1].all()


def test_a_class_that_the_table_does_not_know_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"does not know 'steals'.*--classes FILE"):
        joined(Said(("walk", "steals"), ["10"]), "mine", "joint")
    assert joined(plain := Said(("steals",), ["1"]), "mine", "own") is plain


def test_the_joint_classes_are_jhmdbs_and_the_drawn_worlds() -> None:
    assert JOINT_CLASSES[:21] == JHMDB_CLASSES
    assert len(set(JOINT_CLASSES)) == 31
    drawn = RemapClasses(Said(CLASS_NAMES, []), "synthetic-train:9", JOINT)
    assert len(drawn.made) == 17
    assert drawn.made["walk"] == ("walk forward", "walk backward")
    assert set(JOINT_CLASSES) == set(JHMDB_CLASSES) | set(drawn.made) | {"fighting", "person"}
    # Whatever the drawn world and JHMDB-21 have of their own, the other one has an opinion on.
    jhmdb = RemapClasses(Said(JHMDB_CLASSES, []), "jhmdb:nowhere:split1", JOINT)
    assert all(drawn.knows(name) for name in JOINT_CLASSES)
    assert [n for n in JOINT_CLASSES if not jhmdb.knows(n)] == ["turn left", "turn right"]


def test_the_drawn_world_says_what_its_people_do_not_do() -> None:
    def of(action: str) -> dict[str, str]:
        row = "".join(str(int(name == action)) for name in CLASS_NAMES)
        data = RemapClasses(Said(CLASS_NAMES, [row]), "synthetic-train", JOINT)
        return dict(zip(JOINT_CLASSES, seen(data[0], JOINT_CLASSES)[0], strict=True))

    walk, kick = of("walk backward"), of("kick")
    assert {name for name, code in walk.items() if code == "1"} == {"walk", "person"}
    assert {name for name, code in walk.items() if code == "?"} == {"climb_stairs"}
    assert {name for name, code in kick.items() if code == "1"} == {"kick", "person"}
    assert {name for name, code in kick.items() if code == "?"} == {"kick_ball", "fighting"}


def test_jhmdb_says_nothing_between_its_own_classes_that_its_evaluation_does_not_say() -> None:
    rows = ["".join(str(int(i == j)) for j in range(21)) for i in range(21)]
    data = RemapClasses(Said(JHMDB_CLASSES, rows), "jhmdb:nowhere", JOINT)
    assert [row[:21] for row in seen(data[0], JOINT_CLASSES)] == rows
    by_name = dict(zip(JHMDB_CLASSES, seen(data[0], JOINT_CLASSES), strict=True))
    assert by_name["golf"][21:] == "00??0000" + "0" + "1"
    assert by_name["push"][21:] == "00???000" + "?" + "1"


def test_whoever_sits_at_home_does_not_sit_down() -> None:
    row = "".join(str(int(name in ("person", "sitting"))) for name in TIMED)
    data = RemapClasses(Said(TIMED, [row]), "gmdcsa24:nowhere", JOINT)
    codes = dict(zip(JOINT_CLASSES, seen(data[0], JOINT_CLASSES)[0], strict=True))
    assert codes["sit"] == codes["stand"] == codes["pick"] == "?"
    assert codes["fall"] == codes["walk"] == codes["fighting"] == codes["golf"] == "0"
    assert codes["person"] == "1"


def test_weak_labels_of_videos_are_joined() -> None:
    class Weak(Said):
        video_labels = VideoLabels(
            video_level=np.array([True, True, False]),
            states={
                "a": np.array([1, -1, -1], np.int8),
                "b": np.array([0, 0, -1], np.int8),
                "c": np.array([0, -1, -1], np.int8),
            },
        )

    data = RemapClasses(Weak(("forwards", "backwards", "sit"), ["000"]), "mine", TABLE)
    labels = data.video_labels
    assert labels is not None
    assert labels.video_level.tolist() == [True, False, False, False, False]
    assert [int(labels.state(video)[0]) for video in "abc"] == [1, 0, -1]
    assert RemapClasses(Said(("sit",), ["1"]), "mine", TABLE).video_labels is None


def test_ids_tubes_and_counts_are_joined() -> None:
    class Film(Said):
        label_ids = (7, 8, 9, 10)
        class_counts = {"forwards": 3, "backwards": 4, "sit": 5}  # noqa: RUF012
        actor_count = 11.0

        def tubes(self) -> list[Tube]:
            box, frame = np.zeros((1, 4), np.float32), np.zeros(1, np.int64)
            return [Tube(video="a", label=i, frames=frame, boxes=box) for i in range(4)]

    data = RemapClasses(Film(OWN, []), "mine", TABLE, only_its_own=True)
    assert data.class_names == ("walk", "sit")
    assert [tube.label for tube in data.tubes()] == [0, 0, 1]
    assert data.class_counts == {"walk": 7, "sit": 5}
    assert RemapClasses(Film(OWN, []), "mine", TABLE).class_counts["person"] == 11
    assert data.label_ids == (7, 10)
    assert RemapClasses(Film(OWN, []), "mine", TABLE).label_ids == (7, 10, 11, 12, 13)
    assert RemapClasses(Said(OWN, []), "mine", TABLE, only_its_own=True).label_ids == (1, 4)


def test_a_model_with_the_joint_classes_is_judged_in_its_words() -> None:
    drawn, line = judged(Said(CLASS_NAMES, []), "synthetic-val", JOINT_CLASSES)
    assert drawn.class_names == (
        "walk", "sit", "stand", "pick", "put down", "wave", "raise hand", "turn left",
        "turn right", "run", "jump", "clap", "punch", "kick", "throw", "fall", "phone",
    )  # fmt: skip
    assert line == (
        "labels of synthetic-val joined: walk forward, walk backward -> walk; sit down -> sit; "
        "stand up -> stand; pick up -> pick"
    )
    jhmdb = Said(JHMDB_CLASSES, [])
    assert judged(jhmdb, "jhmdb:nowhere", JOINT_CLASSES) == (jhmdb, None)
    timed, line = judged(Said(TIMED, []), "gmdcsa24:nowhere", JOINT_CLASSES)
    assert timed.class_names == ("person", "fall", "walk")
    assert line is not None
    assert "left out: sitting, standing, lying" in line


@pytest.mark.parametrize(
    ("names", "model", "classes"),
    [
        pytest.param(CLASS_NAMES, CLASS_NAMES, None, id="the drawn world's own model"),
        pytest.param(CLASS_NAMES, JOINT_CLASSES, "own", id="asked not to"),
        pytest.param(("steals",), JOINT_CLASSES, None, id="a class that no table knows"),
        pytest.param(("person", "fighting"), JOINT_CLASSES, None, id="nothing to join"),
    ],
)
def test_else_labels_stay(
    names: tuple[str, ...], model: tuple[str, ...], classes: str | None
) -> None:
    data = Said(names, [])
    assert judged(data, "mine", model, classes) == (data, None)


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "classes.yaml"
    path.write_text(
        "classes: [walk, sit, steals, person]\n"
        "sources:\n"
        "  folder: {join: {strolls: walk, reads: null}, absent: [sit], unknown: {walk: [sit]}}\n"
        "  folder:shop: {join: {strolls: steals}}\n"
    )
    (tmp_path / "shop").mkdir()
    data = joined(Said(("strolls", "reads", "steals"), ["100", "001"]), "mine", str(path))
    assert data.class_names == ("walk", "sit", "steals", "person")
    assert seen(data[0], data.class_names) == ["1?01", "0011"]
    shop = joined(Said(("strolls",), ["1"]), str(tmp_path / "shop"), str(path))
    assert seen(shop[0], shop.class_names) == ["??11"]
    drawn, line = judged(Said(CLASS_NAMES[:2], []), "synthetic-val", data.class_names, str(path))
    assert drawn.class_names == ("walk",)
    assert line is not None
    same = tmp_path / "same.json"
    same.write_text(json.dumps({"sources": {"folder": {"join": {"strolls": "walk"}}}}))
    table = class_table(str(same))
    assert table is not None
    assert table.names == JOINT_CLASSES


@pytest.mark.parametrize(
    ("text", "match"),
    [
        pytest.param("[walk]", "holds list, expected classes and sources", id="no mapping"),
        pytest.param("classes: [walk, walk]", "each once", id="twice"),
        pytest.param("classes: walk", r"expected classes: \[names\]", id="no list"),
        pytest.param("sources: {folder: {joins: {}}}", "has joins, expected join", id="key"),
        pytest.param("sources: {folder: {join: {a: wlak}}}", "'wlak' for folder.*walk", id="typo"),
        pytest.param("sources: {folder: {absent: walk}}", "absent: ", id="no list of absent ones"),
        pytest.param("a: [", "cannot be read", id="no yaml"),
    ],
)
def test_a_wrong_table_is_one_sentence(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "classes.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=match):
        class_table(str(path))


def test_a_table_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="expected own, joint, or a table"):
        class_table("joined")


def test_training_learns_the_joint_classes_and_is_judged_by_them(tmp_path: Path) -> None:
    options = TrainOptions.of(data="synthetic-train:4*2+synthetic-train:3", classes="joint")
    data = open_training(options, SHAPE)
    assert isinstance(data, ConcatDataset)
    assert data.class_names == JOINT_CLASSES
    assert len(data) == 11
    validation = open_validation(options, SHAPE, data.class_names)
    assert validation is not None
    assert len(validation.class_names) == 17
    assert set(validation.class_names) < set(JOINT_CLASSES)
    cached = open_training(options.with_flags(data="synthetic-train:4", cache=str(tmp_path)), SHAPE)
    assert np.array_equal(cached[1].labels, data[1].labels)
    assert np.array_equal(cached[1].labels, cached[1].labels)
    with pytest.raises(ConfigError, match="other classes than --data"):
        open_validation(options.with_flags(classes="own"), SHAPE, data.class_names)


def test_a_card_says_which_class_learned_from_what(tmp_path: Path) -> None:
    lines = class_sources("synthetic-train:64*3", "joint").splitlines()
    assert lines[0].split("|")[1:3] == ["class", "synthetic-train (x3)"] or "x3" in lines[0]
    rows = {cells[1].strip(): cells[2].strip() for cells in (line.split("|") for line in lines)}
    assert rows["clips"] == "64"
    assert rows["golf"] == "0"
    assert rows["person"].startswith("about ")
    own = {line.split("|")[1].strip() for line in class_sources("synthetic-train:64").splitlines()}
    assert "walk forward" in own


def test_edge_val_says_what_it_joined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    from edge.model.checkpoint import save_checkpoint
    from edge.model.variants import build_model

    model = build_model(
        "nano-scratch", num_classes=len(JOINT_CLASSES), seed=0, num_frames=4, height=64, width=64,
        channels=(16, 32), depths=(1, 1), head_channels=16, strides=(2,), kv_strides=(4, 2),
    )  # fmt: skip
    path, out = tmp_path / "joint.pt", tmp_path / "val"
    save_checkpoint(path, model, class_names=JOINT_CLASSES, trained=False)
    argv = ["val", "--model", str(path), "--data", "synthetic-val:3", "--no-plots", "--worst", "0"]
    assert main([*argv, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "labels of synthetic-val:3 joined: walk forward, walk backward -> walk; sit" in printed
    metrics = json.loads((out / "metrics.json").read_text("utf-8"))
    assert len(metrics["ap"]) == 17
    assert metrics["classes_left_out"] == [n for n in JOINT_CLASSES if n not in metrics["ap"]]
    assert main([*argv, "--out", str(out), "--overwrite", "--classes", "own"]) == 2
    assert "only the data set knows pick up" in capsys.readouterr().err


def test_jhmdb_is_judged_by_its_own_classes(shared_data: Path) -> None:
    root = shared_data / "jhmdb"
    if not root.is_dir():
        pytest.skip("JHMDB-21 is not among the reference data")
    clips = open_dataset(f"jhmdb:{root}:split1", SHAPE, limit=3)
    assert clips.class_names == JHMDB_CLASSES
    assert judged(clips, f"jhmdb:{root}:split1", JOINT_CLASSES) == (clips, None)
