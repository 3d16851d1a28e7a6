"""Whose foot point lies in a region, and what is left of a result."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.decode import Detections
from runtime.results import KeyframeResult, Timings
from runtime.serve.region import Region

LEFT = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
CORNER = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.2), (0.2, 0.2), (0.2, 1.0), (0.0, 1.0))


@pytest.mark.parametrize(
    ("corners", "point", "inside"),
    [
        pytest.param((), (0.9, 0.9), True, id="no region is everywhere"),
        pytest.param(LEFT, (0.25, 0.5), True, id="inside"),
        pytest.param(LEFT, (0.75, 0.5), False, id="outside"),
        pytest.param(LEFT[::-1], (0.25, 0.5), True, id="the other way round"),
        pytest.param(CORNER, (0.5, 0.1), True, id="in one arm"),
        pytest.param(CORNER, (0.1, 0.9), True, id="in the other"),
        pytest.param(CORNER, (0.5, 0.5), False, id="in the notch"),
    ],
)
def test_points(corners: tuple[tuple[float, float], ...], point: tuple[float, float],
                inside: bool) -> None:  # fmt: skip
    assert Region(corners).holds(np.array([point])).tolist() == [inside]


def test_even_and_odd_against_a_grid_of_half_planes() -> None:
    triangle = ((0.1, 0.1), (0.9, 0.3), (0.4, 0.9))
    points = np.random.default_rng(0).random((2000, 2))
    x, y = points.T
    sides = [
        (bx - ax) * (y - ay) - (by - ay) * (x - ax)
        for (ax, ay), (bx, by) in zip(triangle, triangle[1:] + triangle[:1], strict=True)
    ]
    expected = np.all([side > 0 for side in sides], axis=0)
    np.testing.assert_array_equal(Region(triangle).holds(points), expected)
    assert 0 < expected.sum() < 2000


def result(boxes: list[list[float]]) -> KeyframeResult:
    count = len(boxes)
    return KeyframeResult(
        frame=1, t=0.1, keyframe=0, keyframe_t=0.0, latency_ms=1.0,
        detections=Detections(
            xyxy=np.array(boxes, np.float32).reshape(count, 4),
            actor=np.linspace(0.9, 0.5, count, dtype=np.float32),
            actions=np.zeros((count, 2), np.float32), token=np.arange(count),
        ),
        class_names=("a", "b"), action_conf=0.5, trained=True, size_wh=(100, 50),
        timings=Timings(capture_ms=0, preprocess_ms=0, inference_ms=0, decode_ms=0),
        people=tuple(range(10, 10 + count)),
    )  # fmt: skip


def test_the_foot_point_decides_and_people_keep_their_numbers() -> None:
    # The first stands left, its box reaches far to the right; the third is cut by the lower edge.
    boxes = [[0, 0, 90, 40], [60, 0, 90, 40], [10, 10, 30, 60]]
    kept = Region(LEFT).of(result(boxes))
    assert kept.people == (10, 12)
    assert kept.detections.token.tolist() == [0, 2]
    assert kept.detections.xyxy.tolist() == [boxes[0], boxes[2]]


def test_nobody_is_left_and_nobody_was_there() -> None:
    assert len(Region(LEFT).of(result([[80, 0, 90, 10]])).detections) == 0
    assert len(Region(LEFT).of(result([])).detections) == 0
