from __future__ import annotations

import pytest

from runtime.probes import Reading
from runtime.profiler import EnergyMeter, Minute, Sample, minutes_of, verdict


def _minutes(p50: list[float], p95: list[float] | None = None, **more: object) -> list[Minute]:
    tails = p95 or [value * 1.2 for value in p50]
    return [
        Minute(number=i + 1, results=600, p50_ms=a, p95_ms=b, memory_mb=120.0, **more)  # type: ignore[arg-type]
        for i, (a, b) in enumerate(zip(p50, tails, strict=True))
    ]


@pytest.mark.parametrize(
    ("minutes", "known", "said"),
    [
        pytest.param(
            _minutes([20.0] * 10, [25.0] * 10), True,
            "steady from the start, p95 +0 %, no throttling, memory flat", id="steady",
        ),
        pytest.param(
            _minutes([20, 20, 21, 22, 22.2, 23, 23.4, 25, 25, 25.0], [25.0] * 7 + [28.0] * 3), True,
            "steady after 7 min, p95 +12 %, no throttling, memory flat", id="slower",
        ),
        pytest.param(
            _minutes([20, 22, 24, 26, 28, 30.0]), False,
            "not steady in 6 min (p50 between 20.0 and 30.0 ms), p95 +45 %, throttling not known: "
            "no probe tells, memory flat", id="never steady",
        ),
        pytest.param(_minutes([20.0, 20.0]), True, "2 min are too short", id="too short"),
    ],
)  # fmt: skip
def test_a_verdict_says_when_it_was_steady(minutes: list[Minute], known: bool, said: str) -> None:
    assert verdict(minutes, throttle_known=known).startswith(said)


def test_a_verdict_names_the_first_throttled_minute_and_a_leak() -> None:
    minutes = [
        Minute(
            number=i, results=10, p50_ms=20, p95_ms=22, memory_mb=100.0 + 5 * i,
            throttled=("thermal-cpufreq-0",) if i >= 9 else (),
        )
        for i in range(1, 11)
    ]  # fmt: skip
    said = verdict(minutes, throttle_known=True)
    assert "throttled from minute 9 (thermal-cpufreq-0)" in said
    assert "memory +40.0 MB" in said


def test_a_machine_that_was_not_quiet_is_part_of_the_verdict() -> None:
    said = verdict(_minutes([20.0] * 4), throttle_known=True, quiet=False)
    assert "NOT QUIET" in said


def test_the_end_of_the_last_result_is_no_minute() -> None:
    latencies = [(float(i), 10.0) for i in range(120)] + [(120.01, 50.0)]
    assert [m.number for m in minutes_of(latencies, [], 0.0)] == [1, 2]


def _sample(t_s: float, **values: object) -> Sample:
    given: dict[str, object] = {
        "clock_mhz": None, "temperature_c": None, "watts": None, "memory_mb": 100.0,
    }  # fmt: skip
    return Sample(t_s=t_s, **(given | values))  # type: ignore[arg-type]


def test_results_and_samples_are_sorted_into_minutes() -> None:
    latencies = [(100.0 + i, 10.0 if i < 60 else 20.0) for i in range(120)]
    samples = [
        _sample(101, clock_mhz=1000, temperature_c=50, counts={"oc1": 3.0}),
        _sample(130, clock_mhz=2000, temperature_c=55, counts={"oc1": 3.0}),
        _sample(170, watts=4.0, memory_mb=101, counts={"oc1": 4.0}, throttled=("soft limit",)),
    ]
    first, second = minutes_of(latencies, samples, 100.0)
    assert (first.results, first.p50_ms, first.clock_mhz, first.temperature_c) == (60, 10, 1500, 55)
    assert first.throttled == ()
    # A counter that rose is throttling as well; what is not known stays unknown.
    assert second.throttled == ("oc1", "soft limit")
    assert (second.p50_ms, second.watts, second.clock_mhz) == (20.0, 4.0, None)


def _energy(name: str, joules: float | None, wraps_at: float = 1000.0, reason: str = "") -> Reading:
    return Reading(
        kind="energy", name=name, value=joules, total=True, wraps_at=wraps_at, reason=reason
    )


def test_counters_are_added_up_over_their_wraparound() -> None:
    meter = EnergyMeter()
    for t, joules in ((0.0, 900.0), (1.0, 990.0), (2.0, 30.0), (3.0, 60.0)):
        meter.add(t, [_energy("package-0", joules), _energy("package-1", joules / 2)])
    assert meter.joules == pytest.approx(160 + 30 / 2 + (1000 - 990 / 2 + 15) - 900 / 2 + 990 / 2)
    assert meter.source == "package-0 + package-1"


def test_power_is_integrated_and_parts_of_a_total_do_not_count() -> None:
    meter = EnergyMeter()
    for t, watts in ((0.0, 4.0), (1.0, 6.0), (3.0, 6.0)):
        meter.add(
            t,
            [
                Reading(kind="power", name="VDD_IN", value=watts),
                Reading(kind="power", name="whole module (VDD_IN)", value=watts, total=True),
            ],
        )
    assert meter.joules == pytest.approx(5 + 12)
    assert meter.watts == pytest.approx(17 / 3)


def test_energy_is_unknown_where_a_part_of_the_time_is() -> None:
    meter = EnergyMeter()
    meter.add(0.0, [_energy("package-0", 1.0)])
    meter.add(1.0, [_energy("package-0", 2.0)])
    meter.add(2.0, [_energy("package-0", None, reason="no permission to read it")])
    assert meter.joules is None
    assert "no permission" in meter.source


def test_energy_that_no_probe_measures_is_unknown() -> None:
    meter = EnergyMeter()
    meter.add(0.0, [Reading(kind="power", name="battery", total=True, reason="no fixed unit")])
    assert meter.joules is None
    assert meter.source == "battery: no fixed unit"
