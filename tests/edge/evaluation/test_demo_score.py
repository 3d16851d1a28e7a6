"""Results against the truth of a drawn video: counts that arithmetic gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.evaluation.demo_score import score_demo
from edge.world.casting import CLASS_NAMES
from edge.world.video import FPS, SIZE_WH, VideoFrame, write_world_video
from runtime.errors import ConfigError, SinkError

Box = tuple[float, float, float, float]


def frame(actors: dict[Box, str], inactive_persons: tuple[Box, ...] = ()) -> VideoFrame:
    return VideoFrame(
        image_bgr=np.zeros((0, 0, 3), np.uint8),
        t=0.0,
        actors=tuple((box, (name, "clap")) for box, name in actors.items()),
        inactive_persons=inactive_persons,
    )


def result(keyframe: int, *boxes: tuple[Box, str]) -> dict[str, Any]:
    """Return one result; boxes in shares of a frame of 100x50 px."""
    return {
        "keyframe": keyframe,
        "detections": [
            {
                "xyxy": [box[0] * 100, box[1] * 50, box[2] * 100, box[3] * 50],
                "actions": {"other": 0.2, name: 0.9},
            }
            for box, name in boxes
        ],
    }


LEFT, RIGHT, TOP = (0.0, 0.0, 0.2, 1.0), (0.6, 0.0, 0.8, 1.0), (0.3, 0.0, 0.5, 0.4)
NOWHERE = (0.9, 0.9, 1.0, 1.0)


def test_counts_are_those_of_the_boxes() -> None:
    truth = [frame({}), frame({LEFT: "run", RIGHT: "wave"}, (TOP,))]
    results = [
        result(0, (NOWHERE, "run")),
        result(1, (LEFT, "run"), (RIGHT, "run"), (TOP, "run"), (LEFT, "wave")),
    ]
    score = score_demo(results, truth, (100, 50))
    assert (score.keyframes, score.actors, score.found, score.named) == (2, 2, 2, 1)
    assert (score.bystanders, score.disturbed, score.elsewhere) == (1, 1, 2)
    assert "found 2 (100%)" in "\n".join(score.lines())


def test_a_model_may_know_actions_that_the_video_does_not_show() -> None:
    results, truth = [result(0, (LEFT, "person"))], [frame({LEFT: "other"})]
    assert score_demo(results, truth, (100, 50)).named == 0
    assert score_demo(results, truth, (100, 50), actions=("other",)).named == 1
    assert score_demo(results, truth, (100, 50), actions=("run",)).named == 0


def test_a_box_that_overlaps_by_less_than_half_is_on_nobody() -> None:
    half = (0.1, 0.0, 0.3, 1.0)  # a third of the union
    score = score_demo([result(0, (half, "run"))], [frame({LEFT: "run"})], (100, 50))
    assert (score.found, score.elsewhere) == (0, 1)


def test_nobody_acts_and_nothing_is_said() -> None:
    score = score_demo([result(0)], [frame({})], (100, 50))
    assert score.actors == score.elsewhere == 0
    assert "%" not in score.lines()[1]


def test_a_frame_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigError, match="keyframe 3 of a video of 1 frames"):
        score_demo([result(3)], [frame({})], (100, 50))


def test_the_video_is_what_its_truth_tells(tmp_path: Path) -> None:
    path = tmp_path / "new" / "world.mp4"
    truth = write_world_video(path, seconds=0.5, seed=2)
    video = cv2.VideoCapture(str(path))
    size = (video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT))
    count = sum(1 for _ in iter(lambda: video.read()[0], False))
    assert (size, count, len(truth)) == (SIZE_WH, round(0.5 * FPS), count)
    assert {name for f in truth for _, labels in f.actors for name in labels} <= set(CLASS_NAMES)
    assert all(0 <= v <= 1 for f in truth for box, _ in f.actors for v in box)
    assert [p.name for p in path.parent.iterdir()] == ["world.mp4"]
    with pytest.raises(SinkError, match="cannot be written"):
        write_world_video(tmp_path / "world.odd", seconds=0.1, seed=2)
