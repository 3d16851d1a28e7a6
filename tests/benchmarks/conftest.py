"""One comparison of a tiny network, shared by the tests of the benchmarks."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.engines import EngineOptions, EngineReport, run


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint of a network of 32 x 32 px with spread-out outputs."""
    pytest.importorskip("torch")
    from benchmarks._networks import load_clips, settle
    from edge.model.checkpoint import save_checkpoint
    from edge.model.variants import build_model

    folder = tmp_path_factory.mktemp("bench")
    model = build_model(
        "pico-scratch", num_classes=3, seed=0, height=32, width=32, num_frames=4,
        hidden_channels=16, channels=(32, 32), depths=(1, 1), head_channels=32, strides=(2,),
        kv_strides=(2, 1),
    )  # fmt: skip
    clips = load_clips(model.config, calib_data=folder / "drawn", count=4, out=folder)
    settle(model, clips.calibration)
    path = folder / "tiny.pt"
    save_checkpoint(path, model, class_names=("a", "b", "c"), trained=False, note="test")
    return path


@pytest.fixture(scope="session")
def compared(tiny_checkpoint: Path) -> EngineReport:
    """Return the report of that network in every engine that is installed here."""
    pytest.importorskip("executorch")
    pytest.importorskip("runtime._native", reason="the native module is not built here")
    from benchmarks._networks import ceiling

    folder = tiny_checkpoint.parent
    options = EngineOptions(
        model=str(tiny_checkpoint), threads=1, rounds=2, turn_ms=1.0, calib_clips=4,
        calib_data=str(folder / "drawn"), out=str(folder / "out"),
    )  # fmt: skip
    # The limit's own stack takes half a minute to build; a smaller one is built the same way.
    return run(options, limit=ceiling(layers=2, tokens=16, width=32), name="variants")


@pytest.fixture(scope="session")
def int8_program(compared: EngineReport) -> Path:
    """Return the tiny network's int8 program, in its bundle."""
    return next((compared.out / "artifacts").glob("tiny-*/bundle-*/bundle/xnnpack-int8.pte"))
