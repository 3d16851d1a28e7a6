"""The same network in every engine: outputs agree, the report is whole, absences are said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks._engines import ENGINES, INSTALL, Engine, artifact, chosen_engines
from benchmarks._store import Store, facts_of
from benchmarks.engines import EngineOptions, EngineReport, EngineRow, table
from runtime.errors import ConfigError

OUTPUTS = {"pred_boxes", "pred_actor", "pred_actions"}
# Per precision: largest error of a box, and least cosine of each output, to torch in float32.
LIMITS = {
    "fp32": (1e-4, 0.99999),
    "bf16": (0.05, 0.99),
    "int8": (0.2, 0.9),
    "int8-bf16": (0.2, 0.9),
}


@pytest.mark.parametrize("engine", [pytest.param(e, id=e.name) for e in ENGINES])
def test_engine_agrees_with_torch(engine: Engine, compared: EngineReport) -> None:
    row = next(r for r in compared.rows if r.network == "tiny" and r.engine == engine.name)
    if row.missing:
        assert row.missing == engine.missing()
        pytest.skip(row.missing)
    assert row.measured is not None
    agreement = row.measured.facts["agreement"]
    assert set(agreement) == OUTPUTS
    most, least = LIMITS[engine.precision]
    assert agreement["pred_boxes"]["max_abs"] <= most
    assert min(found["cosine"] for found in agreement.values()) >= least


def test_every_engine_was_timed_in_every_round(compared: EngineReport) -> None:
    measured = [row for row in compared.rows if row.measured is not None]
    assert {"xnnpack-int8", "xnnpack-fp32", "torch-fp32"} <= {row.engine for row in measured}
    for row in measured:
        assert row.measured is not None
        assert len(row.measured.rounds) == 2
        assert all(len(times) >= 5 for times in row.measured.rounds)
        assert 0 < row.measured.median_ms <= row.measured.p95_ms
        assert row.size_bytes > 0


def test_our_program_is_delegated_whole(compared: EngineReport) -> None:
    ours = next(r for r in compared.rows if r.engine == "xnnpack-int8" and r.network == "tiny")
    assert ours.delegated == "100.0% in 1"


def test_limit_of_the_machine_is_measured_through_the_same_engine(compared: EngineReport) -> None:
    limit = {row.engine: row for row in compared.rows if row.network == "ceiling"}
    assert set(limit) == {"xnnpack-fp32", "xnnpack-int8"}
    assert all(row.limit is None for row in limit.values())
    ours = next(r for r in compared.rows if r.engine == "xnnpack-int8" and r.network == "tiny")
    assert ours.limit is not None
    assert ours.limit > 0


def test_report_is_written_whole(compared: EngineReport, tiny_checkpoint: Path) -> None:
    data = json.loads((compared.out / "variants.json").read_text(encoding="utf-8"))
    assert data["threads"] == 1
    assert data["host"]["processor"]
    assert data["host"]["torch"]
    assert data["table"][1][:2] == ["`tiny`", "4x32x32"]
    (variant,) = data["variants"]
    assert variant["name"] == "tiny"
    assert f"{variant['params'] / 1e6:.2f} M" in data["table"][1]
    assert [row["engine"] for row in data["rows"]] == [row.engine for row in compared.rows]
    assert (compared.out / "variants.md").read_text(encoding="utf-8") == compared.text
    assert all(row.engine in compared.text for row in compared.rows)
    assert not list(compared.out.glob("*.part"))


def test_missing_peer_is_one_line(tmp_path: Path) -> None:
    from benchmarks._networks import ceiling

    peer = Engine(family="openvino", precision="int8", packages=("no_such_package", "torch"))
    reason = artifact(ceiling(layers=1), peer, tmp_path)
    assert reason == f"not measured: {INSTALL} (needs no_such_package)"
    header, line = table([EngineRow(network="nano", engine=peer.name, gflop=3.0, missing=reason)])
    assert len(line) == len(header)
    assert "not measured" in line


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param({"against": ("onnxrt",)}, "onnxruntime", id="unknown engine"),
        pytest.param({"threads": 0}, "threads is 0", id="no thread"),
        pytest.param({"turn_ms": 0.0}, "turn-ms is", id="no time"),
        pytest.param({"rounds": 0}, "rounds is 0", id="no round"),
    ],
)
def test_wrong_options_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        EngineOptions(**values)  # type: ignore[arg-type]


def test_ours_is_always_among_the_engines() -> None:
    assert [e.name for e in chosen_engines(())] == ["xnnpack-int8", "xnnpack-fp32"]


def test_artifact_is_built_once_and_whole(tmp_path: Path) -> None:
    store = Store(tmp_path, "net", "weights")
    built: list[str] = []

    def build(folder: Path) -> dict[str, int]:
        built.append(folder.name)
        (folder / "file").write_text("x")
        return {"answer": 42}

    first = store.get("engine", ("numpy",), build)
    assert store.get("engine", ("numpy",), build) == first
    assert len(built) == 1
    assert facts_of(first / "file")["answer"] == 42

    def fail(folder: Path) -> dict[str, int]:
        (folder / "half").write_text("x")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        store.get("other", (), fail)
    assert [path.name for path in store.folder.iterdir()] == [first.name]
