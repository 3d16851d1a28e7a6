"""Core ML programs: all of the network inside one delegate call, made without an Apple system."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from edge.model.checkpoint import load_checkpoint
from export.coreml import CoreMLExporter
from export.registry import get_target
from runtime.errors import BackendUnavailableError
from tests.export.conftest import clips_of

torch.set_num_threads(1)


def test_all_is_in_one_call_in_float16(checkpoint: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("coremltools", reason="coremltools is not installed here")
    from quantize.graph import float_outputs

    level = logging.getLogger().level
    model = load_checkpoint(checkpoint).model.eval()
    clip = np.random.default_rng(0).normal(size=(1, 4, 3, 64, 64)).astype(np.float32)
    capfd.readouterr()
    lowered = get_target("coreml").lower(model, [clip])
    assert lowered.delegation is not None
    assert (lowered.delegation.share, lowered.delegation.calls) == (1.0, 1)
    assert b"CoreMLBackend" in lowered.program
    assert lowered.made_with["coremltools"]
    errors = [
        np.abs(a - b).mean()
        for a, b in zip(lowered.simulate(clip), float_outputs(model)(clip), strict=True)
    ]
    assert 1e-6 < max(errors) < 0.01, "torch runs it in float16, as the device does"
    assert "MIL" not in capfd.readouterr().err, "coremltools' own bars are kept off"
    assert logging.getLogger().level == level


@pytest.mark.slow
def test_a_model_on_a_stem_is_in_one_call(stem_checkpoint: Path) -> None:
    pytest.importorskip("coremltools", reason="coremltools is not installed here")
    from quantize.graph import float_outputs

    model = load_checkpoint(stem_checkpoint).model.eval()
    (clip,) = clips_of(model, 1)
    lowered = get_target("coreml").lower(model, [clip])
    assert lowered.delegation is not None
    assert (lowered.delegation.share, lowered.delegation.calls) == (1.0, 1)
    found, truth = lowered.simulate(clip), float_outputs(model)(clip)
    errors = [np.abs(a - b).mean() for a, b in zip(found, truth, strict=True)]
    assert 1e-6 < max(errors) < 0.05


def test_coreml_is_short_for_its_only_precision_and_is_not_run_here() -> None:
    target = get_target("coreml")
    assert type(target) is type(get_target("coreml-fp16"))
    assert (target.name, target.engine, target.suffix) == ("coreml-fp16", "coreml", ".pte")
    assert target.not_run == "Core ML runs on Apple devices only"
    with (
        pytest.raises(BackendUnavailableError, match="cannot be run here"),
        target.open(b"program"),
    ):
        pass


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    find = __import__("importlib.util").util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "coremltools" else find(name)
    )
    with pytest.raises(BackendUnavailableError, match=r"coremltools.*'\.\[export,coreml\]'"):
        CoreMLExporter("coreml-fp16", "fp16").check_packages()
