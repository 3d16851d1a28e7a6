"""The benchmark of how fast the world is drawn."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import world
from edge.world import WORLD_VERSION
from runtime.types import ClipSpec


def test_a_measurement_has_rates_and_a_spread() -> None:
    shape = ClipSpec(num_frames=2, height=48, width=48, sampling_rate=4, fps=30.0)
    result = world.measure(shape, clips=3, rounds=2)
    assert result["best_per_s"] >= result["median_per_s"] > 0
    assert result["cpu_per_s"] > 0
    spread = list(result["clip_ms"].values())
    assert spread == sorted(spread)


def test_the_report_names_world_command_and_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(world, "SHAPES", {"tiny 2x48": (2, 48, 4)})
    flags = ["--clips", "2", "--rounds", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["world", *flags])
    world.main()
    assert "tiny 2x48" in capsys.readouterr().out
    data = json.loads((tmp_path / "world.json").read_text())
    assert data["world_version"] == WORLD_VERSION
    assert data["results"]["tiny 2x48"]["clips"] == 2
    assert "benchmarks.world" in data["command"]
    assert data["host"]["cores"] >= 1
