"""Clips kept in a file: the same clips, made once, and no others."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.data.cache import LONGEST_ID, MOST_PEOPLE, DiskCache
from edge.data.samples import ClipSample
from runtime.errors import ArtifactError, ConfigError
from runtime.types import ClipSpec
from tests.edge.moving_squares import MovingSquares

SHAPE = ClipSpec(num_frames=4, height=32, width=32, sampling_rate=2, fps=10.0)


class Counting(MovingSquares):
    made = 0

    def __getitem__(self, index: int) -> ClipSample:
        self.made += 1
        return super().__getitem__(index)


class Odd(Counting):
    """More people than a slot takes, somebody who is ignored, or a long name."""

    def __getitem__(self, index: int) -> ClipSample:
        sample = super().__getitem__(index)
        if index == 0:
            many = np.zeros((MOST_PEOPLE + 1, 4), np.float32)
            return replace(sample, inactive_persons=many)
        if index == 1:
            return replace(sample, ignored=np.ones((1, 4), np.float32))
        return replace(sample, clip_id="x" * (LONGEST_ID + 1))


def same(a: ClipSample, b: ClipSample) -> bool:
    arrays = ("frames_rgb", "boxes", "labels", "inactive_persons")
    return (a.clip_id, a.size_wh) == (b.clip_id, b.size_wh) and all(
        np.array_equal(getattr(a, n), getattr(b, n)) and getattr(a, n).dtype == getattr(b, n).dtype
        for n in arrays
    )


def cached(dataset: MovingSquares, folder: Path, spec: str = "squares") -> DiskCache:
    return DiskCache(dataset, folder, shape=SHAPE, spec=spec)


def test_a_clip_is_made_once_and_is_the_same(tmp_path: Path) -> None:
    source = Counting(SHAPE, length=6)
    clips = cached(source, tmp_path / "kept")
    assert (len(clips), clips.class_names) == (6, source.class_names)
    first = [clips[i] for i in range(6)]
    assert source.made == 6
    again = Counting(SHAPE, length=6)
    reopened = cached(again, tmp_path / "kept")
    for index, sample in enumerate(first):
        assert same(sample, MovingSquares(SHAPE, length=6)[index])
        assert same(reopened[index], sample)
    assert again.made == 0


def test_what_is_read_may_be_changed(tmp_path: Path) -> None:
    clips = cached(Counting(SHAPE, length=2), tmp_path / "kept")
    clips[0]
    clips[0].frames_rgb[:] = 0
    clips[0].boxes[:] = 0
    assert same(clips[0], MovingSquares(SHAPE, length=2)[0])


def test_it_takes_disk_as_clips_come(tmp_path: Path) -> None:
    clips = cached(Counting(SHAPE, length=4000), tmp_path / "kept")
    clips[1234]
    stat = (tmp_path / "kept" / "frames.bin").stat()
    assert stat.st_size == 4000 * 4 * 32 * 32 * 3
    assert stat.st_blocks * 512 < stat.st_size / 10


def test_loader_processes_can_be_given_it(tmp_path: Path) -> None:
    clips = cached(Counting(SHAPE, length=3), tmp_path / "kept")
    other = pickle.loads(pickle.dumps(clips))
    assert same(other[2], MovingSquares(SHAPE, length=3)[2])
    assert clips._there[2] == 1  # written by the other, seen here


def test_what_has_no_room_is_made_anew(tmp_path: Path) -> None:
    source = Odd(SHAPE, length=3)
    clips = cached(source, tmp_path / "kept")
    for _ in range(2):
        assert len(clips[0].inactive_persons) == MOST_PEOPLE + 1
        assert len(clips[1].ignored) == 1
        assert len(clips[2].clip_id) == LONGEST_ID + 1
    assert source.made == 6


def test_other_clips_are_refused(tmp_path: Path) -> None:
    cached(MovingSquares(SHAPE, length=4), tmp_path / "kept")
    with pytest.raises(ConfigError, match="holds other clips than other"):
        cached(MovingSquares(SHAPE, length=4), tmp_path / "kept", spec="other")
    with pytest.raises(ConfigError, match="holds other clips"):
        cached(MovingSquares(SHAPE, length=5), tmp_path / "kept")


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty"):
        cached(MovingSquares(SHAPE), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(ArtifactError, match="cannot be used"):
        cached(MovingSquares(SHAPE), tmp_path / "mine.txt" / "kept")


def test_a_damaged_description_is_one_sentence(tmp_path: Path) -> None:
    cached(MovingSquares(SHAPE), tmp_path / "kept")
    (tmp_path / "kept" / "about.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"about\.json cannot be read"):
        cached(MovingSquares(SHAPE), tmp_path / "kept")


def test_there_is_no_clip_outside(tmp_path: Path) -> None:
    with pytest.raises(IndexError):
        cached(MovingSquares(SHAPE, length=3), tmp_path / "kept")[3]
