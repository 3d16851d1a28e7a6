"""A program that does not load, or answers otherwise than torch, is not exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export import ExportReport
from export.registry import TARGETS, get_target
from export.verify import verify_program
from export.xnnpack import XnnpackTarget
from runtime.errors import BackendUnavailableError, ConfigError, ExportError


@pytest.fixture
def program(exported: ExportReport) -> bytes:
    return (exported.out / "xnnpack-fp32.pte").read_bytes()


@pytest.fixture
def clip() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 4, 3, 64, 64)).astype(np.float32)


def answer(program: bytes, clip: np.ndarray, *, offset: float = 0.0):
    """Return what the engine itself says, moved by `offset`, as if torch had said it."""
    from export.verify import run_program

    boxes, actor, actions = run_program(program, [clip], name="x.pte")
    return lambda _clip: (boxes, actor + np.float32(offset), actions)


def test_equal_answers_pass(program: bytes, clip: np.ndarray) -> None:
    same = answer(program, clip)
    found = verify_program(
        program, [clip], name="x.pte", precision="fp32", truth=same, simulate=same
    )
    assert found.max_abs == {"pred_boxes": 0.0, "pred_actor": 0.0, "pred_actions": 0.0}
    assert found.outputs[0].shape == (1, 32, 4)


@pytest.mark.parametrize("which", ["truth", "simulate"])
def test_another_answer_than_torchs_is_an_error(
    program: bytes, clip: np.ndarray, which: str
) -> None:
    sides = {"truth": answer(program, clip), "simulate": answer(program, clip)}
    sides[which] = answer(program, clip, offset=0.5)
    with pytest.raises(ExportError, match=r"differs from .* in pred_actor"):
        verify_program(program, [clip], name="x.pte", precision="fp32", **sides)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda p: b"", id="empty"),
        pytest.param(lambda p: b"no program" * 100, id="text"),
        pytest.param(lambda p: p[: len(p) // 2], id="truncated"),
    ],
)
def test_a_program_that_does_not_load_is_an_error(program: bytes, clip: np.ndarray, spoil) -> None:
    same = answer(program, clip)
    with pytest.raises(ExportError, match="the runtime refuses it"):
        verify_program(
            spoil(program), [clip], name="x.pte", precision="fp32", truth=same, simulate=same
        )


def test_a_program_that_answers_otherwise_in_steps_is_an_error(
    program: bytes, clip: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = answer(program, clip)
    options = {"name": "x.pte", "precision": "fp32", "truth": same, "simulate": same}
    found = verify_program(program, [clip], in_steps=True, **options)
    assert found.steps_max_abs is not None
    assert max(found.steps_max_abs.values()) <= 1e-6
    monkeypatch.setattr("export.verify.STEP_TOLERANCE", -1.0)
    with pytest.raises(ExportError, match="in steps differs from the whole clip"):
        verify_program(program, [clip], in_steps=True, **options)


def test_every_target_of_the_registry_can_be_had() -> None:
    assert [get_target(name).name for name in TARGETS] == list(TARGETS)
    with pytest.raises(ConfigError, match="Did you mean 'xnnpack-fp32'"):
        get_target("xnpack-fp32")


def test_a_missing_package_is_named_with_its_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.executorch.PACKAGES", ("torch", "no_such_package"))
    target = XnnpackTarget(name="xnnpack-int8", precision="int8")
    with pytest.raises(BackendUnavailableError, match=r"no_such_package.*pip install"):
        target.check_packages()


def test_a_rename_that_fails_leaves_the_older_bundle(
    exported: ExportReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from export.bundle import _replace

    older, newer = tmp_path / "older", tmp_path / "newer"
    for folder in (older, newer):
        folder.mkdir()
        (folder / "bundle.json").write_text(folder.name)
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self == newer:
            raise OSError("disk full")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="disk full"):
        _replace(newer, older)
    assert (older / "bundle.json").read_text() == "older"
