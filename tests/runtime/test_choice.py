"""The fastest program is measured once, said, and kept; no test depends on how fast one is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import choice
from runtime import engine as engine_module
from runtime.bundle import Bundle
from runtime.choice import choices_file, fastest, keep_choice, kept_choice, key_of
from runtime.engine import LoadedEngine, load_engine

pytest.importorskip("runtime._native", reason="the native module is not built here")


@pytest.fixture
def folder(make_bundle: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A bundle of two programs, both with an answer to the golden clip, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path: Path = make_bundle(artifacts=2)
    with np.load(path / "golden.npz") as golden:
        content = dict(golden)
    for name in ("pred_boxes", "pred_actor", "pred_actions"):
        content[f"xnnpack-int8/{name}"] = content[f"xnnpack-fp32/{name}"]
    np.savez(path / "golden.npz", **content)
    spec = Bundle.load(path).spec
    from hashlib import sha256

    digest = sha256((path / "golden.npz").read_bytes()).hexdigest()
    spec = replace(spec, golden=replace(spec.golden, sha256=digest))
    (path / "bundle.json").write_text(spec.to_json(), encoding="utf-8")
    return path


def _load(folder: Path, times_ms: dict[str, float], patch: pytest.MonkeyPatch) -> LoadedEngine:
    """Load a bundle whose programs take a given time; counts how many were measured."""
    measured = iter(times_ms.values())
    patch.setattr(engine_module, "measure_ms", lambda *_: next(measured))
    with Bundle.load(folder) as bundle:
        return load_engine(bundle)


def test_the_faster_one_is_taken_said_and_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _load(folder, {"int8": 24.0, "fp32": 18.0}, monkeypatch)
    assert first.artifact.precision == "fp32"
    assert "measured here: 18.0 ms a result, xnnpack-int8 24.0" in first.reason
    # Nothing is left to measure with: it would fail if it tried.
    again = _load(folder, {}, monkeypatch)
    assert again.artifact.precision == "fp32"
    assert "measured here" in again.reason
    assert len(json.loads(choices_file().read_text("utf-8"))) == 1


def test_another_number_of_threads_is_another_question(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _load(folder, {"int8": 24.0, "fp32": 18.0}, monkeypatch)
    with Bundle.load(folder) as bundle:
        artifacts = bundle.spec.artifacts
    keys = {
        key_of(artifacts, num_threads=threads, stride=stride)
        for threads in (0, 1)
        for stride in (0, 2)
    }
    assert len(keys) == 4
    assert sum(kept_choice(key, artifacts) is not None for key in keys) == 1


def test_one_that_was_asked_for_is_not_measured(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> float:
        raise AssertionError("measured")

    monkeypatch.setattr(engine_module, "measure_ms", refused)
    with Bundle.load(folder) as bundle:
        assert load_engine(bundle, artifact="xnnpack-int8").artifact.precision == "int8"
        assert load_engine(bundle, self_test=False).artifact.precision == "int8"
    assert not choices_file().exists()


@pytest.mark.parametrize(
    ("times", "place"),
    [
        pytest.param([24.0, 18.0], 1, id="clearly faster"),
        pytest.param([20.0, 19.5], 0, id="within noise"),
        pytest.param([0.9, 0.5], 0, id="too little to matter"),
        pytest.param([18.0, 24.0, 30.0], 0, id="the first is the fastest"),
    ],
)
def test_the_first_stays_unless_another_is_clearly_faster(times: list[float], place: int) -> None:
    assert fastest(times) == place


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}', '{"a": {"sha256": 3}}'])
def test_a_broken_file_is_measured_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    choices_file().parent.mkdir(parents=True)
    choices_file().write_text(content)
    assert _load(folder, {"int8": 1.0, "fp32": 2.0}, monkeypatch).artifact.precision == "int8"


def test_a_cache_that_cannot_be_written_is_no_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert _load(folder, {"int8": 9.0, "fp32": 2.0}, monkeypatch).artifact.precision == "fp32"


def test_old_choices_make_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_KEPT", 3)
    with Bundle.load(folder) as bundle:
        for number in range(5):
            keep_choice(str(number), bundle.spec.artifacts[0], "x")
    assert list(json.loads(choices_file().read_text("utf-8"))) == ["2", "3", "4"]


def test_a_measurement_is_of_the_program(folder: Path) -> None:
    calls: list[int] = []

    def program(clip: object, first: int) -> None:
        calls.append(first)

    assert choice.measure_ms(program, np.zeros(1, np.float32), 2) >= 0  # type: ignore[arg-type]
    assert calls[:3] == [0, 2, 4]
