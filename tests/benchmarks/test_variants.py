"""Every variant has its line."""

from __future__ import annotations

import pytest

from benchmarks import variants
from benchmarks._harness import Measured
from benchmarks._networks import Clips, Network
from benchmarks.engines import EngineReport, EngineRow, variant_table
from edge.model.variants import build_model


def _network(name: str) -> Network:
    import numpy as np

    model = build_model("pico-scratch", num_classes=2, seed=0)
    clip = np.zeros((1, 8, 3, 128, 128), np.float32)
    return Network(name, model, Clips(calibration=(), held_out=(clip,), videos=None, origin=""))  # type: ignore[arg-type]


def _row(engine: str, ms: float, peak_mb: float, size: int) -> EngineRow:
    taken = Measured(rounds=[[ms]], peak_mb=peak_mb)
    return EngineRow(network="a", engine=engine, gflop=1.0, measured=taken, size_bytes=size)


def test_variant_has_input_size_work_program_time_and_memory() -> None:
    rows = [
        _row("xnnpack-int8", 7.9, 57.4, 4_030_000),
        _row("xnnpack-fp32", 17.8, 74.0, 15_100_000),
        EngineRow(network="b", engine="xnnpack-int8", gflop=1.0, missing="not measured"),
    ]
    header, known, unknown = variant_table([_network("a"), _network("b")], rows)
    assert len(header) == len(known) == len(unknown)
    assert known[:2] == ["`a`", "8x128x128"]
    assert known[4:] == ["15.1 / 4.0 MB", "17.80 ms", "7.90 ms", "74 / 57 MB"]
    assert unknown[5:7] == ["-", "-"]


def test_the_table_of_variants_stands_first(compared: EngineReport) -> None:
    assert compared.text.startswith("# Variants\n\n| variant ")
    assert "| xnnpack-int8 " in compared.text


def test_its_flags_are_those_of_engines(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        variants.main(["--help"])
    assert "--against" in capsys.readouterr().out
