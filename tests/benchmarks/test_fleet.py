"""A small fleet on a real broker: its restart costs no event, and no client is there twice."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
pytest.importorskip("runtime._native", reason="the native module is not built here")

from benchmarks._mosquitto import mosquitto
from benchmarks.fleet import FleetOptions, FleetRun, run, table


@pytest.mark.slow
@pytest.mark.skipif(mosquitto() is None, reason="mosquitto is not installed")
def test_two_boards_lose_nothing(tmp_path: Path) -> None:
    options = FleetOptions(boards=(2,), seconds=6.0, down_s=1.0, clip_s=5.0, out=str(tmp_path))
    text = run(options)
    data = json.loads((tmp_path / "fleet.json").read_text())
    (one,) = data["runs"]
    assert one["sensors"] == one["boards"] * len(names(tmp_path))
    # Of each board: itself, its instance, its camera; of each action a state and a sensor.
    assert one["retained"] == 2 * 3 + 2 * one["sensors"]
    assert one["clients"] == 3
    assert one["equal_clients"] == one["missing"] == one["dropped"] == 0
    assert one["told"] == one["acknowledged"] == one["arrived"] > 0
    assert one["events_per_s"] > 0
    # Clocks that are hours apart change no duration.
    assert one["durations_differ_s"] < 2.0
    assert "2 boards" in text


def names(folder: Path) -> tuple[str, ...]:
    import pickle

    results = pickle.loads((folder / "fleet-results.pickle").read_bytes())
    return tuple(results[0].class_names)


def test_a_column_is_a_run() -> None:
    values = dict.fromkeys(FleetRun.__dataclass_fields__, 3)
    rows = table([FleetRun(**values), FleetRun(**{**values, "durations_differ_s": math.nan})])  # type: ignore[arg-type]
    assert {len(row) for row in rows} == {3}
    assert rows[0] == ["", "3 boards", "3 boards"]
