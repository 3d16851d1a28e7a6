"""Several data sets as one: which clip an index is, and what is not known in whose clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge.data.annotations import ClipPlace
from edge.data.augment import AugmentConfig, Augmented
from edge.data.concat import ConcatDataset, ExpandClasses, joined_names
from edge.data.dataset import ClipDataset
from edge.data.registry import split_mix
from edge.data.samples import ClipSample
from edge.data.video_labels import VideoLabels
from edge.training.data import class_weights
from runtime.errors import ConfigError
from runtime.types import ClipSpec
from tests.edge.moving_squares import MovingSquares
from tests.edge.partial_labels import KNOWN, UNKNOWN, codes

SHAPE = ClipSpec(num_frames=4, height=32, width=32, sampling_rate=2, fps=10.0)
COLOURS = AugmentConfig(flip=0.0, mosaic=0.0)


class Others(MovingSquares):
    """Squares by other names, one of them known elsewhere."""

    class_names = ("right", "jumps")
    class_counts = {"right": 10, "jumps": 40}  # noqa: RUF012


def ids(dataset: ClipDataset, indices: range) -> list[str]:
    passes = (divmod(index, len(dataset)) for index in indices)
    return [dataset.clip(index, epoch).clip_id for epoch, index in passes]


def test_parts_stand_one_behind_the_other_as_often_as_asked() -> None:
    mixed = ConcatDataset(
        [(MovingSquares(SHAPE, 3, seed=1), 1), (MovingSquares(SHAPE, 2, seed=2), 2)]
    )
    assert len(mixed) == 7
    once = [f"squares-1-{i}" for i in range(3)]
    twice = ["squares-2-0", "squares-2-1"]
    assert ids(mixed, range(7)) == once + twice + twice
    assert ids(mixed, range(7, 14)) == once + twice + twice
    with pytest.raises(IndexError):
        mixed[-1]


def test_each_repetition_and_each_pass_changes_clips_anew() -> None:
    real = Augmented(MovingSquares(SHAPE, 2, seed=2), COLOURS)
    mixed = ConcatDataset([(MovingSquares(SHAPE, 1, seed=1), 1), (real, 2)])
    seen = [mixed.clip(index, epoch) for epoch in (0, 1) for index in range(5)]
    assert np.array_equal(seen[0].frames_rgb, seen[5].frames_rgb)
    changed = [seen[index] for index in (1, 3, 6, 8)]  # the first real clip, four times
    assert [sample.clip_id for sample in changed] == [
        "squares-2-0", "squares-2-0@1", "squares-2-0@2", "squares-2-0@3",
    ]  # fmt: skip
    assert len({sample.frames_rgb.tobytes() for sample in changed}) == 4


def test_classes_are_joined_by_name_and_unknown_where_a_part_has_them_not() -> None:
    plain, others = MovingSquares(SHAPE, 4), Others(SHAPE, 4)
    mixed = ConcatDataset([(plain, 1), (others, 1)])
    assert mixed.class_names == ("left", "right", "jumps")
    assert mixed.class_counts == {"right": 10, "jumps": 40}
    for index in range(4):
        before, after = plain[index], mixed[index]
        assert np.array_equal(after.labels[:, :2], before.labels)
        assert (codes(after) == [KNOWN, KNOWN, UNKNOWN]).all()
        before, after = others[index], mixed[4 + index]
        assert np.array_equal(after.labels[:, 1:], before.labels)
        assert not after.labels[:, 0].any()
        assert (codes(after) == [UNKNOWN, KNOWN, KNOWN]).all()


class InVideos(MovingSquares):
    """Squares in videos, about which a label of whole videos says something."""

    video_labels = VideoLabels(
        video_level=np.array([False, True]), states={"v0": np.array([-1, 1], np.int8)},
        sources={"v0": "street"},
    )  # fmt: skip

    def where(self, index: int) -> ClipPlace:
        return ClipPlace(video=f"v{index}", frame=0, timestamp=0.0)


def test_videos_of_one_name_stay_those_of_their_parts() -> None:
    mixed = ConcatDataset([(Others(SHAPE, 2), 1), (InVideos(SHAPE, 2), 2), (InVideos(SHAPE, 2), 1)])
    assert mixed.class_names == ("right", "jumps", "left")
    assert mixed.where(0) is None, "the first part has no videos"
    places = [place.video for place in map(mixed.where, range(2, 8)) if place is not None]
    assert places == ["1/v0", "1/v1", "1/v0", "1/v1", "2/v0", "2/v1"]
    labels = mixed.video_labels
    assert labels is not None
    assert mixed.video_level_classes == [0]
    for video in ("1/v0", "2/v0"):
        assert labels.state(video).tolist() == [1, -1, -1]
    assert labels.state("0/v0").tolist() == [-1, -1, -1]
    assert labels.source("1/v0") != labels.source("2/v0")
    assert ConcatDataset([(Others(SHAPE, 2), 1)]).video_labels is None


def test_a_part_with_all_classes_is_left_as_it_is() -> None:
    plain = MovingSquares(SHAPE, 2)
    assert ConcatDataset([(plain, 3)]).parts[0][0] is plain
    wide = ExpandClasses(plain, ("right", "left"))
    assert np.array_equal(wide[1].labels, plain[1].labels[:, ::-1])
    assert joined_names([("b", "a"), ("a", "c")]) == ("b", "a", "c")


@pytest.mark.parametrize("parts", [[], [0]], ids=["none", "never"])
def test_nothing_is_no_data_set(parts: list[int]) -> None:
    with pytest.raises(ConfigError, match="expected one or more"):
        ConcatDataset([(MovingSquares(SHAPE, 2), times) for times in parts])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        pytest.param("synthetic-train:20", [("synthetic-train:20", 1)], id="one"),
        pytest.param("a*3", [("a", 3)], id="one several times"),
        pytest.param("synthetic-train:20+a:train*8", [("synthetic-train:20", 1), ("a:train", 8)],
                     id="two"),
        pytest.param("a+b+c*2+d", [("a", 1), ("b", 1), ("c", 2), ("d", 1)], id="four"),
        pytest.param("x+y", [("x+y", 1)], id="a folder with a plus"),
        pytest.param("x+y:val*4+a", [("x+y:val", 4), ("a", 1)], id="a folder with a plus, part"),
        pytest.param("a+x+y", [("a", 1), ("x+y", 1)], id="behind another"),
        pytest.param("z*2", [("z*2", 1)], id="a folder with a star"),
        pytest.param("z*2*3+a", [("z*2", 3), ("a", 1)], id="a folder with a star, thrice"),
        pytest.param("ava:x+y+a", [("ava:x+y", 1), ("a", 1)], id="with its kind"),
        pytest.param("a*b", [("a*b", 1)], id="no number"),
    ],
)  # fmt: skip
def test_what_exists_as_written_wins(
    text: str, parts: list[tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x+y", "z*2", "a"):
        (tmp_path / name).mkdir()
    assert split_mix(text) == parts


@pytest.mark.parametrize("text", ["a++b", "+a", "a+", "a*0+b", ""])
def test_a_part_that_is_none_is_one_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match="expected data sets with"):
        split_mix(text)


def test_rare_classes_weigh_more() -> None:
    class Counted(ClipDataset):
        class_names = ("a", "b", "c", "d")
        class_counts = {"a": 1, "b": 100, "c": 10000}  # noqa: RUF012

        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> ClipSample:
            raise IndexError

    assert class_weights(Counted(), 0.0) == ()
    assert class_weights(Counted(), 0.25) == pytest.approx((3.1623, 1.0, 0.31623, 1.0), rel=1e-4)
    assert class_weights(Counted(), 1.0) == (10.0, 1.0, 0.1, 1.0)
    assert class_weights(MovingSquares(SHAPE), 1.0) == ()
