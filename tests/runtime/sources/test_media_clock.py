"""The times of a file's frames: its own clock where that can be believed."""

from __future__ import annotations

from math import nan

import pytest

from runtime.sources.media_clock import MediaClock


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        pytest.param([0.0, 0.04, 0.08], [0, 0.04, 0.08], id="good"),
        pytest.param([nan, nan, nan], [0, 0.1, 0.2], id="none"),
        pytest.param([0.0] * 20, [i / 10 for i in range(20)], id="all-zero"),
        pytest.param([0.0, 0.1] + [0.2] * 20, [i / 10 for i in range(22)], id="stands-still"),
        pytest.param([0.0] + [0.2] * 9 + [3.0, 3.1], [0, *(i / 10 for i in range(2, 11)), 3, 3.1],
                     id="goes-on"),
        pytest.param([0.04, 0.08, 0.0, 0.16], [0.04, 0.08, 0.18, 0.28], id="older-near-the-end"),
        pytest.param([nan, 0.5], [0, 0.5], id="nan-first"),
        pytest.param([0.0, 1.7, 1.75], [0, 1.7, 1.75], id="jump"),
        pytest.param([-0.1, 0.0, 0.2], [0, 0.1, 0.2], id="begins-a-little-early"),
        pytest.param([-3.0, -2.9, -2.8], [0, 0.1, 0.2], id="begins-early"),
    ],
)  # fmt: skip
def test_the_media_clock_always_rises(positions: list[float], expected: list[float]) -> None:
    clock = MediaClock(fps=10.0)
    stamped = [clock.stamp(p) for p in positions]
    assert [t for t, _ in stamped] == pytest.approx(expected)
    assert [jump for _, jump in stamped] == [None] * len(positions)


@pytest.mark.parametrize(
    ("positions", "expected", "jumps"),
    [
        pytest.param([0.0, 0.1, 3000.2, 0.3], [0, 0.1, 3000.2, 0.3], [3], id="one-wrong-stamp"),
        pytest.param([0.0, 5.0, 5.1, 0.0, 0.1], [0, 5, 5.1, 0, 0.1], [3], id="begins-anew"),
        pytest.param([0.0, 5.0, nan, nan, 0.1], [0, 5, 5.1, 5.2, 0.1], [4], id="begins-unknown"),
        pytest.param([0.0, 5.0, 5.1, 0.2, 0.3], [0, 5, 5.1, 0.2, 0.3], [3], id="back"),
        pytest.param([0.0, 5.0, -8.0, -7.9], [0, 5, 0, 0.1], [2], id="before-the-first"),
        pytest.param([0.0, 5.0, -8.0, -7.0, 2.0, 1.0], [0, 5, 0, 1, 10, 1], [2, 5], id="twice"),
    ],
)
def test_a_clock_that_jumps_is_not_repaired(
    positions: list[float], expected: list[float], jumps: list[int]
) -> None:
    clock = MediaClock(fps=10.0)
    stamped = [clock.stamp(p) for p in positions]
    assert [t for t, _ in stamped] == pytest.approx(expected)
    assert [index for index, (_, jump) in enumerate(stamped) if jump] == jumps


def test_a_clock_that_stands_still_says_where() -> None:
    clock = MediaClock(fps=10.0)
    for position in (0.0, 0.0, 0.1, 0.1, 0.2, 0.2):
        clock.stamp(position)
    assert clock.stopped_at is None, "two frames may have one time"
    for _ in range(5):
        clock.stamp(0.2)
    assert clock.stopped_at == 0.2
