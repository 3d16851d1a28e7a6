"""The same network in every engine: outputs agree, the report is whole, absences are said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import engines
from benchmarks._engines.artifacts import Store, facts_of
from benchmarks._engines.base import ENGINES, INSTALL, Engine, chosen_engines
from benchmarks._engines.rounds import Job, Timing, measure, ratio
from benchmarks._engines.tables import absences, goals, table
from benchmarks.engines import EngineOptions, EngineReport, EngineRow
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
        lacking = engine.missing()
        assert not lacking or all(name in row.missing for name in lacking)
        assert lacking or "bfloat16" in row.missing, row.missing
        pytest.skip(row.missing)
    assert row.agreement is not None
    assert set(row.agreement) == OUTPUTS
    most, least = LIMITS[engine.precision]
    assert row.agreement["pred_boxes"]["max_abs"] <= most
    assert min(found["cosine"] for found in row.agreement.values()) >= least


def test_every_engine_was_timed_in_every_round(compared: EngineReport) -> None:
    measured = [row for row in compared.rows if not row.missing]
    assert {"xnnpack-int8", "xnnpack-fp32", "torch-fp32"} <= {row.engine for row in measured}
    for row in measured:
        assert len(row.rounds_ms) == 2
        assert all(len(times) >= 5 for times in row.rounds_ms)
        assert row.median_ms is not None
        assert row.p95_ms is not None
        assert 0 < row.median_ms <= row.p95_ms


def test_our_program_is_delegated_whole(compared: EngineReport) -> None:
    ours = next(r for r in compared.rows if r.engine == "xnnpack-int8" and r.network == "tiny")
    assert ours.delegation is not None
    assert ours.delegation["share"] >= 0.99
    assert ours.delegation["calls"] == 1


def test_limit_of_the_machine_is_measured_through_the_same_engine(compared: EngineReport) -> None:
    limit = {row.engine: row for row in compared.rows if row.network == "ceiling"}
    assert set(limit) == {"xnnpack-fp32", "xnnpack-int8"}
    ours = next(r for r in compared.rows if r.engine == "xnnpack-int8" and r.network == "tiny")
    assert ours.ceiling is not None
    assert ours.ceiling > 0


def test_report_is_written_whole(compared: EngineReport) -> None:
    data = json.loads((compared.out / "benchmark.json").read_text(encoding="utf-8"))
    assert data["threads"] == 1
    assert data["host"]["processor"]
    assert data["host"]["torch"]
    assert [row["engine"] for row in data["rows"]] == [row.engine for row in compared.rows]
    assert (compared.out / "benchmark.md").read_text(encoding="utf-8") == compared.text
    assert all(row.engine in compared.text for row in compared.rows)
    assert not list(compared.out.glob("*.part"))


def test_missing_peer_is_one_line() -> None:
    peer = Engine(
        name="openvino-int8", family="openvino", precision="int8", module="open_vino",
        packages=("no_such_package", "torch"),
    )  # fmt: skip
    from benchmarks._engines.networks import ceiling

    reason, path = engines._artifact(ceiling(layers=1), peer, Path("unused"))
    assert path is None
    assert reason == f"not measured: {INSTALL} (needs no_such_package)"
    row = EngineRow(network="nano", engine=peer.name, precision="int8", gflop=3.0, missing=reason)
    header, line = table([row])
    assert len(line) == len(header)
    assert "not measured" in line
    assert absences([row]) == [f"- nano, openvino-int8: {reason}"]


def test_process_that_fails_is_said_and_the_others_are_measured(tmp_path: Path) -> None:
    pytest.importorskip("runtime._native", reason="the native module is not built here")
    from benchmarks._engines.base import engine_named
    from benchmarks._engines.networks import ceiling

    broken = tmp_path / "network.pte"
    broken.write_bytes(b"no program")
    network = ceiling(layers=1, tokens=4, width=8)
    jobs = [Job(network=network, engine=engine_named("xnnpack-int8"), path=broken)]
    timing = measure(jobs, threads=1, rounds=1, turn_ms=1.0)["ceiling", "xnnpack-int8"]
    assert "`load`" in timing.failure
    assert "network.pte" in timing.failure


def test_ratio_takes_rounds_in_pairs() -> None:
    ours = Timing(rounds=[[1.0, 1.0], [10.0], [4.0]])
    other = Timing(rounds=[[2.0, 2.0], [20.0], [4.0]])
    assert ratio(ours, other) == 0.5


def test_goals_name_what_was_reached() -> None:
    rows = [
        EngineRow(network="nano", engine="xnnpack-int8", precision="int8", gflop=3.0, ceiling=0.4),
        EngineRow(network="nano", engine="onnxruntime-int8", precision="int8", gflop=3.0, ours=0.5),
    ]
    reached, not_reached = goals(rows)
    assert reached == "- nano / onnxruntime-int8: 0.50, goal 0.60 (met)"
    assert not_reached == "- nano int8 of the limit: 40%, goal 50% (not met)"


def test_the_textbook_stands_beside_the_variant_of_its_size() -> None:
    rows = [
        EngineRow(network="nano-scratch", engine="xnnpack-int8", precision="int8", gflop=3.0),
        EngineRow(network="textbook", engine="xnnpack-int8", precision="int8", gflop=6.0, ours=0.3),
    ]
    (line,) = goals(rows)
    assert line == "- nano-scratch / textbook: 0.30, goal 0.42 (met); 0.60 at equal GFLOP"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param({"against": ("onnxrt",)}, "onnxruntime", id="unknown engine"),
        pytest.param({"threads": 0}, "threads is 0", id="no thread"),
        pytest.param({"turn_ms": 0.0}, "turn_ms", id="no time"),
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
