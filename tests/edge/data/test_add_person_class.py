"""Drawn bystanders taught as persons, as a detector's labels have everybody on film."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.data.concat import ConcatDataset
from edge.data.remap import AddPersonClass
from edge.data.samples import ClipSample
from edge.training.config import TrainOptions
from edge.training.data import open_training
from runtime.errors import ConfigError
from runtime.types import ClipSpec
from tests.edge.moving_squares import MovingSquares
from tests.edge.partial_labels import SOMEBODY, UNKNOWN, codes, masks

SHAPE = ClipSpec(num_frames=4, height=32, width=32, sampling_rate=2, fps=10.0)
IDLE = np.array([[0.1, 0.1, 0.3, 0.6], [0.5, 0.2, 0.8, 0.9]], np.float32)


class WithIdle(MovingSquares):
    """Squares that move, and two places where somebody does nothing."""

    def __getitem__(self, index: int) -> ClipSample:
        return replace(super().__getitem__(index), inactive_persons=IDLE)


class Film(MovingSquares):
    """As a detector labels it: everybody is a person."""

    class_names = ("person", "fights")


def test_who_does_nothing_is_a_person_and_does_none_of_the_actions() -> None:
    plain, everyone = WithIdle(SHAPE, 8), AddPersonClass(WithIdle(SHAPE, 8))
    assert everyone.class_names == ("left", "right", "person")
    for index in range(8):
        before, after = plain[index], everyone[index]
        actors = len(before.boxes)
        assert np.array_equal(after.boxes, np.concatenate([before.boxes, IDLE]))
        assert np.array_equal(after.labels[:actors, :2], before.labels)
        assert not after.labels[actors:, :2].any()
        assert after.labels[:, 2].all()
        assert len(after.inactive_persons) == 0
        assert after.label_mask.all()
        assert np.array_equal(after.frames_rgb, before.frames_rgb)


def test_beside_film_nobody_is_in_doubt() -> None:
    mixed = ConcatDataset([(AddPersonClass(WithIdle(SHAPE, 4)), 1), (Film(SHAPE, 4), 1)])
    assert mixed.class_names == ("left", "right", "person", "fights")
    for index in range(4):
        sample = mixed[index]
        assert not sample.ignore.any()  # else the actor loss would pass them over
        assert (codes(sample)[:, 3] == UNKNOWN).all()
        assert sample.label_mask[:, :3].all()


def test_doubts_and_bags_of_the_actors_stay() -> None:
    class OfBags(WithIdle):
        def __getitem__(self, index: int) -> ClipSample:
            sample = super().__getitem__(index)
            return replace(sample, **masks(np.full(sample.labels.shape, SOMEBODY), bag=3))

    data = OfBags(SHAPE, 8)
    index = next(i for i in range(8) if len(data[i].boxes) == 2)
    sample = AddPersonClass(data)[index]
    assert (sample.bag_id[:2, :2] == 3).all()
    assert sample.label_mask[2:].all()
    assert (sample.bag_id[2:] == -1).all()  # of each idle one all is known


def test_persons_of_its_own_are_refused() -> None:
    with pytest.raises(ConfigError, match="a class 'person' of their own"):
        AddPersonClass(Film(SHAPE, 2))


def test_the_flag_is_for_the_drawn_world() -> None:
    word = "synthetic-train:16"
    silent = open_training(TrainOptions.of(data=word), SHAPE)
    everyone = open_training(TrainOptions.of(data=word, bystanders="actors"), SHAPE)
    assert everyone.class_names == (*silent.class_names, "person")
    idle = [len(silent[index].inactive_persons) for index in range(16)]
    assert sum(idle) > 0
    for index in range(16):
        assert len(everyone[index].boxes) == len(silent[index].boxes) + idle[index]


def test_the_flag_without_drawn_clips_is_refused_before_anything_is_opened() -> None:
    options = TrainOptions.of(data="mine:train*3+synthetic-film", bystanders="actors")
    with pytest.raises(ConfigError, match="--bystanders actors is about drawn clips"):
        open_training(options, SHAPE)
