"""Every variant has its line, and what was not measured is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import variants
from benchmarks._engines.flags import command_of
from benchmarks.engines import EngineReport, EngineRow
from benchmarks.variants import VariantFacts, VariantOptions, engine_table, run, table
from runtime.errors import ConfigError

NANO = VariantFacts(
    name="nano", num_frames=8, height=160, width=192, params=3_770_000, gflop=3.141
)  # fmt: skip
TINY = VariantFacts(name="tiny", num_frames=8, height=224, width=224, params=7_000_000, gflop=10.0)


def _row(network: str, engine: str, **values: Any) -> EngineRow:
    return EngineRow(network=network, engine=engine, precision="int8", gflop=1.0, **values)


ROWS = [
    _row("nano", "xnnpack-int8", median_ms=7.9, p95_ms=9.0, peak_mb=57.4, size_bytes=4_030_000),
    _row("nano", "xnnpack-fp32", median_ms=17.8, p95_ms=20.0, peak_mb=74.0, size_bytes=15_100_000),
    _row("nano", "openvino-int8", missing="not measured: absent"),
    _row("tiny", "xnnpack-int8", median_ms=20.9, p95_ms=22.0, peak_mb=80.0, size_bytes=7_500_000),
    _row("ceiling", "xnnpack-int8", median_ms=3.0, p95_ms=3.0),
]


def test_variant_has_input_size_work_program_time_and_memory() -> None:
    header, nano, tiny = table([NANO, TINY], ROWS)
    assert len(header) == len(nano) == len(tiny)
    assert nano == [
        "`nano`", "8x160x192", "3.77 M", "3.14", "15.1 / 4.0 MB", "17.80 ms", "7.90 ms",
        "74 / 57 MB",
    ]  # fmt: skip
    assert tiny[4:] == ["- / 7.5 MB", "-", "20.90 ms", "- / 80 MB"]


def test_engine_has_each_variants_time_and_memory() -> None:
    lines = engine_table([NANO, TINY], ROWS)
    assert [line[0] for line in lines] == [
        "engine",
        "xnnpack-int8",
        "xnnpack-fp32",
        "openvino-int8",
    ]
    assert lines[1][1:] == ["7.90 ms, 9.00 ms, 57 MB", "20.90 ms, 22.00 ms, 80 MB"]
    assert lines[2][1:] == ["17.80 ms, 20.00 ms, 74 MB", "not measured"]
    assert lines[3][1:] == ["not measured", "not measured"]


def test_report_is_written_from_what_was_measured(
    compared: EngineReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks._engines.networks import Network, load_clips
    from edge.model.checkpoint import load_checkpoint

    monkeypatch.setenv("EDGE_SHARED", str(tmp_path / "absent"))
    found = load_checkpoint(compared.out.parent / "tiny.pt")
    network = Network("tiny", found.model, load_clips(found.config, calib_data=None, count=1))
    # Measuring itself is that of `benchmarks.engines`, and tested there.
    monkeypatch.setattr(variants, "make_networks", lambda options: [network])
    monkeypatch.setattr(variants, "compare", lambda networks, options: list(compared.rows))
    text = run(VariantOptions(out=str(tmp_path)))
    assert (tmp_path / "variants.md").read_text(encoding="utf-8") == text
    data = json.loads((tmp_path / "variants.json").read_text(encoding="utf-8"))
    config = found.config
    assert data["variants"] == [
        {
            "name": "tiny", "num_frames": config.num_frames, "height": config.height,
            "width": config.width, "params": network.params, "gflop": network.gflop,
        }
    ]  # fmt: skip
    assert f"{config.num_frames}x{config.height}x{config.width}" in text
    engines = {row["engine"] for row in data["rows"] if row["network"] == "tiny"}
    assert all(f"| {engine} " in text for engine in engines)
    assert all(row.missing in text for row in compared.rows)


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        pytest.param(VariantOptions(), "", id="all as they are"),
        pytest.param(VariantOptions(out="elsewhere", verbose=True), "", id="nothing of the place"),
        pytest.param(
            VariantOptions(variants=("pico", "tiny"), rounds=3, calib_data="my/videos"),
            " --variants pico tiny --rounds 3 --calib-data videos",
            id="what was changed",
        ),
    ],
)
def test_command_can_be_run_again(options: VariantOptions, flags: str) -> None:
    assert command_of("benchmarks.variants", options) == "python -m benchmarks.variants" + flags


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param({"rounds": 0}, "rounds is 0", id="no round"),
        pytest.param({"against": ("openvin",)}, "openvino", id="unknown engine"),
    ],
)
def test_wrong_options_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        VariantOptions(**values)  # type: ignore[arg-type]
