"""A fresh process is measured from its start to its first result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.cold_start import STAGES, ColdOptions, run
from edge.data.demo_clip import write_demo_clip
from runtime.errors import ConfigError


def test_every_stage_is_measured_without_torch(tmp_path: Path) -> None:
    pytest.importorskip("runtime._native", reason="the native module is not built here")
    write_demo_clip(tmp_path / "demo.mp4", seconds=1.5)
    options = ColdOptions(source=str(tmp_path / "demo.mp4"), rounds=1, out=str(tmp_path))
    text = run(options)
    (row,) = json.loads((tmp_path / "cold_start.json").read_text(encoding="utf-8"))["rounds"]
    assert all(row[stage] > 0 for stage in STAGES if stage != "total_s")
    assert "torch imported: False" in text


def test_no_round_is_refused() -> None:
    with pytest.raises(ConfigError, match="--rounds is 0"):
        ColdOptions(rounds=0)
