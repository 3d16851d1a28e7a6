"""What a data set gives a model."""

from __future__ import annotations

import numpy as np
import pytest

from edge.data.dataset import ClipDataset, RepeatKeyframe
from edge.data.samples import ClipSample
from runtime.errors import ConfigError
from runtime.types import ClipSpec

SHAPE = {"num_frames": 8, "height": 160, "width": 160, "sampling_rate": 4, "fps": 30.0}


class Counting(ClipDataset):
    """Three clips whose frame t is filled with t."""

    class_names = ("walk", "wave")

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> ClipSample:
        frames = np.zeros((5, 4, 6, 3), np.uint8)
        frames += np.arange(5, dtype=np.uint8)[:, None, None, None]
        return ClipSample(
            frames_rgb=frames,
            boxes=np.array([[0.1, 0.1, 0.5, 0.9]], np.float32),
            labels=np.array([[1, 0]], np.float32),
            inactive_persons=np.zeros((0, 4), np.float32),
            clip_id=f"counting/{index}",
            size_wh=(60, 40),
        )


def test_a_shape_knows_its_period_and_keyframe() -> None:
    shape = ClipSpec(**SHAPE)
    assert shape.period_s == pytest.approx(4 / 30)
    assert shape.keyframe_index == 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("num_frames", 0, id="no-frames"),
        pytest.param("height", -1, id="negative"),
        pytest.param("width", 1.5, id="fraction"),
        pytest.param("sampling_rate", True, id="bool"),
        pytest.param("fps", float("nan"), id="nan"),
        pytest.param("fps", 0.0, id="no-rate"),
    ],
)
def test_an_impossible_shape_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        ClipSpec(**{**SHAPE, name: value})


def test_frozen_repeats_the_keyframe_and_keeps_the_truth() -> None:
    moving = Counting()
    still = RepeatKeyframe(moving)
    assert len(still) == 3
    assert still.class_names == moving.class_names
    sample = still[1]
    assert sample.frames_rgb.shape == (5, 4, 6, 3)
    assert (sample.frames_rgb == 2).all()
    np.testing.assert_array_equal(sample.boxes, moving[1].boxes)
    np.testing.assert_array_equal(sample.labels, moving[1].labels)
    assert sample.clip_id != moving[1].clip_id
