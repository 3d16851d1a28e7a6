"""The sampler picks the nearest frame for each grid point, whatever the source's clock does."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

import pytest

from runtime.errors import ConfigError
from runtime.sampler import Sampler

PERIOD = 4 / 30


def replay(times: Iterable[float], sampler: Sampler) -> tuple[list[float], list[tuple[float, str]]]:
    """Return the times of the samples in order (of the last clip) and the gaps met."""
    samples: list[float] = []
    gaps = []
    for t in times:
        sample = sampler.offer(t)
        if sample.gap:
            gaps.append((t, sample.gap))
            samples = []
        samples += samples[-1:] * sample.repeats + [t] * sample.takes
        assert len(samples) == sample.filled
    return samples, gaps


def nano() -> Sampler:
    """Return the sampler of the nano variant: 7.5 samples a second."""
    return Sampler(sampling_rate=4, fps=30.0)


@pytest.mark.parametrize(
    ("fps", "seconds"),
    [
        pytest.param(30.0, 20, id="the-trained-rate"),
        pytest.param(30000 / 1001, 600, id="29.97-ten-minutes"),
        pytest.param(25.0, 60, id="25"),
        pytest.param(10.0, 60, id="10"),
        pytest.param(5.0, 60, id="5-slower-than-the-grid"),
        pytest.param(60.0, 20, id="60"),
        pytest.param(240.0, 5, id="240"),
    ],
)
def test_each_grid_point_takes_a_frame_within_half_an_interval(fps: float, seconds: int) -> None:
    sampler = nano()
    samples, gaps = replay((i / fps for i in range(int(seconds * fps))), sampler)
    assert gaps == []
    assert abs(len(samples) - seconds / PERIOD) <= 0.5 / fps / PERIOD + 1.5
    worst = max(abs(s - k * PERIOD) for k, s in enumerate(samples))
    # The second frame's interval is not known while the first is offered, hence no less than d/2.
    assert worst <= 0.5 / fps + 1e-9
    assert sampler.slow == (fps < 7.5)
    assert (sampler.repeated > 0) == (fps < 7.5)


def test_the_trained_rate_takes_every_fourth_frame_exactly() -> None:
    samples, _ = replay((i / 30 for i in range(3000)), nano())
    assert samples == [i / 30 for i in range(0, 3000, 4)]


@pytest.mark.parametrize("fps", [10.0, 15.0, 25.0, 30000 / 1001, 60.0], ids=str)
@pytest.mark.parametrize("seed", range(3), ids="seed{}".format)
def test_a_jittered_clock_keeps_samples_near_the_grid(fps: float, seed: int) -> None:
    rng = random.Random(seed)
    times = [(i + rng.uniform(-0.4, 0.4)) / fps for i in range(1, int(60 * fps))]
    sampler = nano()
    samples, gaps = replay(times, sampler)
    assert gaps == []
    errors = [abs(s - (times[0] + k * PERIOD)) for k, s in enumerate(samples)]
    assert max(errors) <= 1.8 / fps + 1e-9
    assert sum(errors) / len(errors) <= 0.5 / fps


def test_variable_frame_rate_is_followed_without_drift() -> None:
    times, t = [], 0.0
    for i in range(2000):
        times.append(t)
        t += (1 / 60, 1 / 24, 1 / 12)[i // 50 % 3]
    samples, gaps = replay(times, nano())
    assert gaps == []
    assert max(abs(s - k * PERIOD) for k, s in enumerate(samples)) <= 1 / 12


def test_one_late_frame_does_not_take_points_ahead_of_it() -> None:
    sampler = nano()
    for i in range(5):
        sampler.offer(i / 30)
    late = sampler.offer(10 / 30)
    assert not sampler.slow
    assert (late.repeats, late.takes) == (0, 1)
    assert sampler.offer(12 / 30).takes == 1


def test_missing_frames_are_replaced_by_the_nearest_real_ones() -> None:
    times = [i / 30 for i in range(60) if not 10 <= i < 21]
    sampler = nano()
    samples, gaps = replay(times, sampler)
    assert gaps == []
    assert not sampler.slow
    # Points 12, 16, 20 (in frames) were lost: the newest sample (8) serves 12, frame 21 the others.
    assert [round(s * 30) for s in samples[:8]] == [0, 4, 8, 8, 21, 21, 24, 28]
    assert sampler.repeated == 2


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        pytest.param([0, 0.1, 0.2, 0.9], "no frame for 0.70 s", id="silence"),
        pytest.param([0, 0.1, 0.2, 0.15], "time went back by 0.050 s", id="time-goes-back"),
    ],
)
def test_a_gap_voids_the_clip_and_starts_a_new_grid(times: list[float], reason: str) -> None:
    sampler = nano()
    samples, gaps = replay(times, sampler)
    assert samples == [times[-1]]
    assert [t for t, _ in gaps] == [times[-1]]
    assert reason in gaps[0][1]
    assert sampler.gaps == 1
    assert sampler.offer(times[-1] + PERIOD).filled == 2


def sampler_from(t: float) -> Sampler:
    """Return a sampler restarted by hand, as after a reconnect."""
    sampler = nano()
    sampler.offer(t - 100)
    sampler.restart()
    return sampler


def test_after_restart_the_next_frame_is_a_first_sample_and_no_gap() -> None:
    sampler = sampler_from(50.0)
    first = sampler.offer(50.0)
    assert (first.takes, first.repeats, first.filled, first.gap) == (1, 0, 1, None)


def test_a_doubled_time_stamp_is_ignored() -> None:
    sampler = nano()
    sampler.offer(0.0)
    sampler.offer(0.1)
    doubled = sampler.offer(0.1)
    assert not doubled.wanted
    assert sampler.offer(0.13).filled == 2
    assert sampler.offer(0.26).takes == 1


def test_the_gap_limit_grows_with_a_slow_grid() -> None:
    assert nano().max_gap_s == 0.5
    assert Sampler(sampling_rate=30, fps=30.0).max_gap_s == 2.0
    assert Sampler(sampling_rate=4, fps=30.0, max_gap_s=3.0).max_gap_s == 3.0


@pytest.mark.parametrize(
    "kwargs",
    [
        pytest.param({"sampling_rate": 0, "fps": 30.0}, id="rate-zero"),
        pytest.param({"sampling_rate": 4, "fps": math.nan}, id="fps-nan"),
        pytest.param({"sampling_rate": 4, "fps": -1.0}, id="fps-negative"),
        pytest.param({"sampling_rate": 4, "fps": 30.0, "max_gap_s": 0.0}, id="gap-zero"),
    ],
)
def test_impossible_grids_are_refused(kwargs: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="must be a number above 0"):
        Sampler(**kwargs)  # type: ignore[arg-type]


def test_a_time_that_is_no_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="finite"):
        nano().offer(math.nan)
