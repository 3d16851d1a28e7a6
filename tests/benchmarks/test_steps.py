"""Overlapping clips: both ways are compared before they are timed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.steps import StepOptions, compare
from runtime.errors import ConfigError

QUICK = {"rounds": 1, "turn_ms": 1, "threads": 1}


def test_both_ways_agree_and_are_timed(int8_program: Path) -> None:
    found, again = compare([("a", int8_program), ("b", int8_program)], StepOptions(**QUICK))
    assert found["to_first"] == 1.0
    assert again["to_first"] > 0
    assert found["max_abs"] == 0.0
    assert found["clips_compared"] == 25
    # Two steps a clip, of which one is new; the first clip has two. How many clips a turn holds
    # depends on the machine.
    assert found["stems_per_clip"] == pytest.approx((found["clips"] + 1) / found["clips"])
    assert 0 < found["whole_ms"] <= found["whole_p95_ms"]
    assert 0 < found["steps_ms"] <= found["steps_p95_ms"]
    assert found["ratio"] > 0


def test_stride_without_overlap_is_refused(int8_program: Path) -> None:
    with pytest.raises(ConfigError, match="a stride of 4 samples leaves"):
        compare([("a", int8_program)], StepOptions(stride=4, **QUICK))


@pytest.mark.parametrize("name", ["stride", "threads", "rounds", "turn_ms"])
def test_silly_numbers_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name.replace("_", "-") + " is 0, expected"):
        StepOptions(**{name: 0})


def test_unknown_kernels_are_refused() -> None:
    with pytest.raises(ConfigError, match="--kernels is 'avx3', expected one of 'all'"):
        StepOptions(kernels=("avx2", "avx3"))


def test_a_program_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected NAME=FILE\.pte of a file that is there"):
        StepOptions(programs=("nano=missing.pte",))
