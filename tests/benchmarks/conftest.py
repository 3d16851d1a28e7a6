"""One comparison of a tiny network, shared by the tests of the benchmarks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from benchmarks.engines import EngineOptions, EngineReport, run


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> EngineReport:
    """Return the report of a network of 32 x 32 px in every engine that is installed here."""
    pytest.importorskip("torch")
    pytest.importorskip("executorch")
    pytest.importorskip("runtime._native", reason="the native module is not built here")
    from benchmarks._engines.networks import ceiling, load_clips, settle
    from edge.model.checkpoint import save_checkpoint
    from edge.model.variants import build_model

    folder = tmp_path_factory.mktemp("bench")
    model = build_model(
        "pico-scratch", num_classes=3, seed=0, height=32, width=32, num_frames=4,
        hidden_channels=16, channels=(32, 32), depths=(1, 1), head_channels=32, strides=(2,),
        kv_strides=(2, 1),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_SHARED", str(folder / "absent"))
        # The limit's own stack takes half a minute to build; a smaller one is built the same way.
        small = partial(ceiling, layers=2, tokens=16, width=32)
        patch.setattr("benchmarks._engines.networks.ceiling", small)
        settle(model, load_clips(model.config, calib_data=None, count=4).calibration)
        path = folder / "tiny.pt"
        save_checkpoint(path, model, class_names=("a", "b", "c"), trained=False, note="test")
        return run(
            EngineOptions(
                model=str(path), threads=1, rounds=2, turn_ms=1.0, calib_clips=4,
                out=str(folder / "out"),
            )
        )  # fmt: skip


@pytest.fixture(scope="session")
def int8_program(compared: EngineReport) -> Path:
    """Return the tiny network's int8 program."""
    return next((compared.out / "artifacts").glob("tiny-*/xnnpack-int8-*/network.pte"))
