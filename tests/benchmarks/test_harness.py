"""Turns are interleaved, ratios are of rounds, and a process that fails is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks._harness import Job, Measured, measure, ratio


def test_ratio_takes_rounds_in_pairs() -> None:
    ours = Measured(rounds=[[1.0, 1.0], [10.0], [4.0]])
    other = Measured(rounds=[[2.0, 2.0], [20.0], [4.0]])
    assert ratio(ours, other) == 0.5
    assert (ours.median_ms, ours.p95_ms) == (2.5, pytest.approx(9.1))


def test_process_that_fails_is_said_and_the_others_are_measured(
    tmp_path: Path, int8_program: Path
) -> None:
    broken = tmp_path / "network.pte"
    broken.write_bytes(b"no program")
    jobs = [
        Job(key=(name, "steps"), content={"kind": "steps", "path": str(path), "stride": 1,
                                          "shared": False})
        for name, path in (("broken", broken), ("whole", int8_program))
    ]  # fmt: skip
    found = measure(jobs, threads=1, rounds=2, turn_ms=1.0)
    assert "`load`" in found["broken", "steps"].failure
    assert "network.pte" in found["broken", "steps"].failure
    assert found["broken", "steps"].rounds == []
    whole = found["whole", "steps"]
    assert not whole.failure
    assert len(whole.rounds) == 2
    assert whole.peak_mb > 0
    assert whole.load_s > 0
