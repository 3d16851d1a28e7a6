"""Measurements come from processes of their own and say when they fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.data.demo_clip import write_demo_clip
from runtime.bundle import DEFAULT_BUNDLE, Bundle
from runtime.errors import EdgeError
from runtime.measure import Latency, measure_cold_start, measure_latency


def test_a_cold_start_reaches_a_result_without_torch(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    write_demo_clip(clip, seconds=1.5)
    cold = measure_cold_start(DEFAULT_BUNDLE, clip, threads=1)
    stages = (cold.interpreter_s, cold.import_s, cold.load_s, cold.first_result_s)
    assert min(stages) > 0
    assert cold.total_s == pytest.approx(sum(stages))
    assert not cold.torch_imported
    # Memory, unlike time, does not depend on who else uses the machine.
    assert 20 < cold.peak_mb < 160


def test_latency_is_of_the_artifact_that_was_named() -> None:
    stem = Bundle.load(DEFAULT_BUNDLE).spec.artifacts[0].stem
    latency = measure_latency(DEFAULT_BUNDLE, stem, threads=1, warmup=1, runs=5)
    assert len(latency.ms) == 5
    assert latency.threads == 1
    assert min(latency.ms) <= latency.at(50) <= latency.at(99) <= max(latency.ms)


def test_percentiles_of_few_runs_are_runs() -> None:
    latency = Latency(ms=(5.0, 1.0, 3.0, 2.0), peak_mb=1.0, threads=1)
    assert [latency.at(p) for p in (0, 50, 99, 100)] == [1.0, 3.0, 5.0, 5.0]


def test_a_failing_child_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match=r"no bundle at .*nothing"):
        measure_latency(tmp_path / "nothing", "x")
