"""Cut-outs in clips: where they are put, that they move, and what they leave alone."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.data.augment import Augmented
from edge.data.dataset import ClipDataset
from edge.data.distractors import WithDistractors
from edge.data.samples import ClipSample
from edge.training.config import TrainOptions
from edge.training.data import open_training
from edge.training.input_options import AugmentOptions, ClipOptions
from runtime.errors import ConfigError
from runtime.types import ClipSpec

SHAPE = ClipSpec(num_frames=6, height=96, width=128, sampling_rate=4, fps=30.0)


class OnePerson(ClipDataset):
    """Grey clips with one person at the left."""

    class_names = ("person",)
    changes_by_epoch = False

    def __len__(self) -> int:
        return 40

    def clip(self, index: int, epoch: int = 0) -> ClipSample:
        return ClipSample(
            frames_rgb=np.full((6, 96, 128, 3), 90, np.uint8),
            boxes=np.array([[0.1, 0.2, 0.4, 0.9]], np.float32),
            labels=np.ones((1, 1), np.float32),
            inactive_persons=np.array([[0.5, 0.6, 0.6, 0.9]], np.float32),
            clip_id=str(index),
            size_wh=(256, 192),
        )


@pytest.fixture
def cut_outs(tmp_path: Path) -> Path:
    folder = tmp_path / "things"
    (folder / "animals").mkdir(parents=True)
    picture = np.zeros((60, 100, 4), np.uint8)
    picture[10:50, 20:80] = (0, 0, 250, 255)  # blue, green, red, opaque
    cv2.imwrite(str(folder / "animals" / "red.png"), picture)
    return folder


def changed_pixels(sample: ClipSample) -> np.ndarray:
    """Return which pixels differ from the grey ones, (T, H, W)."""
    changed: np.ndarray = np.abs(sample.frames_rgb.astype(int) - 90).max(axis=-1) > 12
    return changed


def test_a_cut_out_is_seen_in_as_many_clips_as_asked(cut_outs: Path) -> None:
    clips = WithDistractors(OnePerson(), cut_outs, share=0.5, seed=1)
    with_one = [changed_pixels(clips.clip(index)).any() for index in range(len(clips))]
    assert 10 <= sum(with_one) <= 30
    never = WithDistractors(OnePerson(), cut_outs, share=0.0)
    assert not any(changed_pixels(never.clip(index)).any() for index in range(len(never)))


def test_people_stay_visible_and_labels_as_they_were(cut_outs: Path) -> None:
    clips = WithDistractors(OnePerson(), cut_outs, share=1.0, seed=2)
    plain, hidden = OnePerson(), []
    for index in range(len(clips)):
        sample, before = clips.clip(index), plain.clip(index)
        assert np.array_equal(sample.boxes, before.boxes)
        assert np.array_equal(sample.labels, before.labels)
        person = changed_pixels(sample)[:, 20:86, 13:51]  # the box, in pixels
        hidden.append(person.mean(axis=(1, 2)).max())
    # Two at most, each over a fifth of the box at most; they lean a little further.
    assert max(hidden) < 0.5
    assert np.mean(hidden) < 0.15


def test_it_moves_through_some_clips_and_rests_in_others(cut_outs: Path) -> None:
    clips = WithDistractors(OnePerson(), cut_outs, share=1.0, seed=3)
    paths = []
    for index in range(len(clips)):
        seen = changed_pixels(clips.clip(index))
        if seen.any(axis=(1, 2)).all():
            columns = [np.flatnonzero(frame.any(axis=0)).mean() for frame in seen]
            paths.append(np.ptp(columns))
    assert min(paths) < 2
    assert max(paths) > 10


def test_a_pass_is_repeated_exactly_and_the_next_one_differs(cut_outs: Path) -> None:
    one, two = (WithDistractors(OnePerson(), cut_outs, share=1.0, seed=4) for _ in range(2))
    assert np.array_equal(one.clip(5).frames_rgb, two.clip(5).frames_rgb)
    assert not np.array_equal(one.clip(5).frames_rgb, one.clip(5, epoch=1).frames_rgb)


def test_a_folder_without_cut_outs_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no \.png file; expected pictures of single things"):
        WithDistractors(OnePerson(), tmp_path, share=1.0)


def test_each_cut_out_is_checked_when_the_folder_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "thing.png"
    opaque = np.full((9, 9, 4), 65535, np.uint16)
    for content in (np.zeros((9, 9, 3), np.uint8), opaque, opaque.astype(np.uint8)):
        cv2.imwrite(str(path), content)
        with pytest.raises(ConfigError, match=r"thing\.png is no picture with a transparent"):
            WithDistractors(OnePerson(), tmp_path, share=1.0)
    path.write_bytes(b"")
    with pytest.raises(ConfigError, match=r"thing\.png is no picture"):
        WithDistractors(OnePerson(), tmp_path, share=1.0)
    cv2.imwrite(str(path), np.zeros((9, 9, 4), np.uint8))
    with pytest.raises(ConfigError, match="wholly transparent"):
        WithDistractors(OnePerson(), tmp_path, share=1.0)


def test_the_flag_reaches_real_clips_and_not_drawn_ones(cut_outs: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((60, 60, 3), 90, np.uint8))
    (tmp_path / "boxes.csv").write_text("a.png,,,,\n")
    augment = AugmentOptions(distractors=str(cut_outs), distractor_share=1.0)
    for data, expected in ((f"stills:{tmp_path}", True), ("synthetic-train:10", False)):
        options = TrainOptions(clips=ClipOptions(data=data), augment=augment)
        clips = open_training(options, SHAPE)
        inner = clips.dataset if isinstance(clips, Augmented) else clips
        assert isinstance(inner, WithDistractors) is expected
