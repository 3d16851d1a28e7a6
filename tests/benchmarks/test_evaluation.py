"""The benchmark of the evaluator measures the evaluator, on a set that can be scored."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import evaluation


def test_it_reads_and_scores_what_it_drew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["evaluation", "--rows", "3600", "--out", str(tmp_path)])
    evaluation.main()
    assert "| 3,600 " in capsys.readouterr().out
    assert (tmp_path / "evaluation.md").is_file()
    result = evaluation.measure(3600)
    assert result["rows"] == 3600
    assert 0.05 < result["frame_map"] < 0.95
    assert result["peak_mb"] > 10
