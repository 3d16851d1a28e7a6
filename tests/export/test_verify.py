"""A program that does not load, or answers otherwise than torch, is not exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export import ExportReport
from export.registry import TARGETS, get_target
from export.verify import STEP_STRIDE, run_program, steps_error, verify
from export.xnnpack import XnnpackExporter
from runtime.errors import BackendUnavailableError, ConfigError, ExportError
from runtime.types import Outputs

EXPORTER = get_target("xnnpack-fp32")


@pytest.fixture
def program(exported: ExportReport) -> bytes:
    return (exported.out / "xnnpack-fp32.pte").read_bytes()


@pytest.fixture
def clip() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 4, 3, 64, 64)).astype(np.float32)


def answer(program: bytes, clip: np.ndarray, *, offset: float = 0.0):
    """Return what the engine itself says, moved by `offset`, as if torch had said it."""
    boxes, actor, actions = run_program(EXPORTER, program, [clip])
    return lambda _clip: (boxes, actor + np.float32(offset), actions)


def test_equal_answers_pass(program: bytes, clip: np.ndarray) -> None:
    same = answer(program, clip)
    with EXPORTER.open(program) as run:
        found = verify(run, [clip], name="x.pte", precision="fp32", truth=same, simulate=same)
    assert found.max_abs == {"pred_boxes": 0.0, "pred_actor": 0.0, "pred_actions": 0.0}
    assert found.outputs[0].shape == (1, 32, 4)


@pytest.mark.parametrize("which", ["truth", "simulate"])
def test_another_answer_than_torchs_is_an_error(
    program: bytes, clip: np.ndarray, which: str
) -> None:
    sides = {"truth": answer(program, clip), "simulate": answer(program, clip)}
    sides[which] = answer(program, clip, offset=0.5)
    with (
        EXPORTER.open(program) as run,
        pytest.raises(ExportError, match=r"differs from .* in pred_actor"),
    ):
        verify(run, [clip], name="x.pte", precision="fp32", **sides)


@pytest.mark.parametrize(
    ("engine", "simulation", "share", "fault"),
    [
        pytest.param(-0.6, 0.6, 0.25, "", id="few-and-as-near"),
        pytest.param(-0.15, 0.15, 1.0, "by 0.3 in pred_actor", id="all-values"),
        pytest.param(1.2, 0.08, 0.25, r"by 0\.28 in pred_actor", id="further-off"),
    ],
)
def test_an_engine_may_round_otherwise_than_torch_but_not_worse(
    clip: np.ndarray, engine: float, simulation: float, share: float, fault: str
) -> None:
    random = np.random.default_rng(1)
    shapes = ((1, 32, 4), (1, 32), (1, 32, 3))
    boxes, actor, actions = (random.normal(size=shape).astype(np.float32) for shape in shapes)
    where = np.arange(32) < share * 32

    def moved(offset: float):
        return lambda _clip: Outputs(boxes, actor + np.float32(offset) * where, actions)

    def check() -> None:
        verify(
            moved(engine), [clip], name="x.pte", precision="int8", truth=moved(0.0),
            simulate=moved(simulation),
        )  # fmt: skip

    # All are off the simulation by 0.3 on average, of 0.2 that are allowed; 0.4 to the float model.
    if not fault:
        check()
    else:
        with pytest.raises(ExportError, match=f"the same graph in torch {fault}"):
            check()


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda p: b"", id="empty"),
        pytest.param(lambda p: b"no program" * 100, id="text"),
        pytest.param(lambda p: p[: len(p) // 2], id="truncated"),
    ],
)
def test_a_program_that_does_not_load_is_an_error(program: bytes, clip: np.ndarray, spoil) -> None:
    with pytest.raises(ExportError, match="the runtime refuses it"):
        run_program(EXPORTER, spoil(program), [clip])


def test_a_program_that_answers_otherwise_in_steps_is_an_error(
    program: bytes, clip: np.ndarray
) -> None:
    whole = run_program(EXPORTER, program, [clip])
    with EXPORTER.open(program, stride=STEP_STRIDE) as run:
        assert max(steps_error(run, [clip], whole, "x.pte").values()) <= 1e-6
        other = whole._replace(pred_actor=whole.pred_actor + np.float32(0.5))
        with pytest.raises(ExportError, match="in steps differs from the whole clip"):
            steps_error(run, [clip], other, "x.pte")


def test_every_target_of_the_registry_can_be_had() -> None:
    assert [get_target(name).name for name in TARGETS] == list(TARGETS)
    with pytest.raises(ConfigError, match="Did you mean 'xnnpack-fp32'"):
        get_target("xnpack-fp32")


def test_a_missing_package_is_named_with_its_install() -> None:
    class Missing(XnnpackExporter):
        packages = ("torch", "no_such_package")

    target = Missing("xnnpack-int8", "int8")
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
