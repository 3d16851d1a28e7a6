"""Percentiles are right to 1 % in bounded memory, and the closing lines read as promised."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from runtime.profiling import Percentiles, Profile, peak_rss_mb, rss_mb


@pytest.mark.parametrize("seed", range(3), ids="seed{}".format)
@pytest.mark.parametrize("percent", [50, 95, 99])
def test_percentiles_are_right_to_one_per_cent(seed: int, percent: int) -> None:
    values = np.random.default_rng(seed).lognormal(2.0, 1.0, 5000)
    stage = Percentiles()
    for value in values:
        stage.add(value)
    exact = np.percentile(values, percent, method="inverted_cdf")
    assert exact <= stage.at(percent) * 1.0001
    assert stage.at(percent) == pytest.approx(exact, rel=0.0101)
    assert stage.mean_ms == pytest.approx(values.mean())
    assert stage.max_ms == values.max()


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-9, 1e9], ids=str)
def test_values_out_of_range_are_counted_and_not_lost(value: float) -> None:
    stage = Percentiles()
    stage.add(value)
    assert stage.count == 1
    assert 0.0 <= stage.at(50) <= max(value, 0.0)


def test_nothing_counted_is_zero() -> None:
    stage = Percentiles()
    assert (stage.at(50), stage.mean_ms, stage.max_ms) == (0.0, 0.0, 0.0)


def test_memory_does_not_grow_with_the_run() -> None:
    profile = Profile()
    before = sys.getsizeof(profile.stages["inference"]._bins)
    for i in range(20_000):
        profile.add(inference=i / 100)
    assert sys.getsizeof(profile.stages["inference"]._bins) == before


def test_the_closing_lines() -> None:
    profile = Profile()
    for _ in range(100):
        profile.add(preprocess=1.9, inference=31.2, decode=0.3, capture=5, total=34, latency=40)
    profile.dropped_frames, profile.dropped_clips = 3, 2
    first, header, *stages, last = profile.lines((1, 8, 3, 160, 160))
    assert first == (
        "Speed: 1.9 ms preprocess, 31.2 ms inference, 0.3 ms decode per clip at (1, 8, 3, 160, 160)"
    )
    assert header.split() == ["stage", "p50", "p95", "p99", "ms"]
    assert [line.split()[0] for line in stages] == [
        "capture", "preprocess", "inference", "decode", "total", "latency",
    ]  # fmt: skip
    assert stages[2].split()[1:] == ["31.2", "31.2", "31.2"]
    assert re.fullmatch(
        r"100 keyframes, dropped 2 clips and 3 frames, oldest frame 40 ms, peak memory \d+ MB", last
    )
    assert profile.as_dict()["inference"]["p95"] == pytest.approx(31.2)


def test_memory_of_this_process_is_plausible() -> None:
    assert 5 < rss_mb() <= peak_rss_mb() * 1.05


def test_peak_memory_is_not_that_of_the_process_that_started_this_one() -> None:
    """Linux hands `ru_maxrss` on to children: a small child of a large parent must read small."""
    ballast = np.ones(50_000_000)
    done = subprocess.run(
        [sys.executable, "-c", "from runtime.profiling import peak_rss_mb; print(peak_rss_mb())"],
        capture_output=True, text=True, check=True, cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert peak_rss_mb() > ballast.nbytes / 1e6
    assert 5 < float(done.stdout) < 200
