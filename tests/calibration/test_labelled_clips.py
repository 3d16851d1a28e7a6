"""What thresholds are fitted on: one data set by its own classes, several by the model's."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.labelled_clips import open_labelled_clips
from edge.data.joint_classes import JOINT_CLASSES
from runtime.bundle import DEFAULT_BUNDLE, Bundle
from runtime.errors import ConfigError
from runtime.types import ClipSpec

SHAPE = ClipSpec(num_frames=4, height=48, width=48, sampling_rate=4, fps=30.0)


@pytest.fixture
def photos(tmp_path: Path) -> str:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((60, 60, 3), 90, np.uint8))
    (tmp_path / "boxes.csv").write_text("a.png,0.2,0.2,0.8,0.9,1\n")
    return f"stills:{tmp_path}"


def test_one_data_set_is_judged_by_its_own_classes(photos: str) -> None:
    clips = open_labelled_clips(photos, SHAPE, JOINT_CLASSES)
    assert tuple(clips.class_names) == ("person",)
    drawn = open_labelled_clips("synthetic-val:3", SHAPE, JOINT_CLASSES)
    assert "golf" not in drawn.class_names
    assert len(drawn) == 3


def test_several_also_tell_what_nobody_in_them_does(photos: str) -> None:
    clips = open_labelled_clips(f"synthetic-val:40+{photos}", SHAPE, JOINT_CLASSES, limit=5)
    assert len(clips) == 6
    assert set(clips.class_names) == set(JOINT_CLASSES)
    golf = list(clips.class_names).index("golf")
    people = [clips[index] for index in range(5) if len(clips[index].boxes)]
    assert people
    for sample in people:
        assert sample.label_mask[:, golf].all(), "nobody in the drawn world plays golf"
        assert not sample.labels[:, golf].any()
    assert not clips[5].label_mask[:, golf].any(), "of a photograph it is not known"


def test_a_model_with_other_classes_joins_by_name(photos: str) -> None:
    clips = open_labelled_clips(f"synthetic-val:2+{photos}", SHAPE, ("walk forward", "person"))
    assert "walk forward" in clips.class_names
    assert "golf" not in clips.class_names


def test_ignored_people_are_for_data_that_boxes_actors_only(tmp_path: Path, photos: str) -> None:
    with pytest.raises(ConfigError, match="--ignore-people is about jhmdb"):
        open_labelled_clips(f"{photos}+synthetic-val:2", SHAPE, JOINT_CLASSES, people=str(tmp_path))


def test_each_class_of_the_default_bundle_has_a_fitted_threshold() -> None:
    with Bundle.load(DEFAULT_BUNDLE) as bundle:
        (artifact,) = bundle.spec.artifacts
    assert set(artifact.action_thresholds) == set(JOINT_CLASSES)
    assert artifact.action_thresholds["fighting"].conf > 0.5, "0.5 calls most people fighters"
