"""Where a program's time goes: every operator is found, timed, and joined with its shape."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks._program import Instruction, Node
from benchmarks._trace import join, typical
from benchmarks.by_operator import OperatorOptions, run
from runtime.bundle import Bundle
from runtime.errors import ArtifactError


def _node(kind: str, xnn: str, macs: int = 0) -> Node:
    return Node(kind=kind, xnn=xnn, shapes=f"shape of {kind}", macs=macs, elements=1)


def _event(name: str, ms: float, *, delegated: bool = True) -> dict[str, object]:
    return {"name": name, "delegated": delegated, "instruction": 0, "ms": [ms]}


def test_program_is_profiled_operator_by_operator(int8_program: Path, tmp_path: Path) -> None:
    report = run(OperatorOptions(model=str(int8_program), threads=1, runs=3, out=str(tmp_path)))
    kinds = {timed.kind for timed in report.operators}
    assert {"conv 1x1 int8", "batch matrix multiply fp32", "softmax fp32"} <= kinds
    assert report.outside == {}
    assert list(report.calls_ms) == [0]
    assert report.boundaries["quantize"][0] > 0
    assert report.boundaries["dequantize"][0] > 0
    assert report.plain_ms > 0
    data = json.loads((tmp_path / "by_operator.json").read_text(encoding="utf-8"))
    assert len(data["operators"]) == len(report.operators)
    assert (tmp_path / "by_operator.md").read_text(encoding="utf-8") == report.text


def test_multiply_adds_are_those_of_the_model(int8_program: Path, tmp_path: Path) -> None:
    with Bundle.load(int8_program.parent) as bundle:
        delegated = bundle.artifact("xnnpack-int8").delegated
    assert delegated is not None
    report = run(OperatorOptions(model=str(int8_program), threads=1, runs=1, out=str(tmp_path)))
    found = sum(timed.macs for timed in report.operators)
    assert found == delegated["multiply_adds"]


def test_events_are_joined_with_nodes_in_order() -> None:
    nodes = (_node("conv", "XNNConv2d", 8), _node("sum", "XNNAdd"), _node("linear", "XNNConv2d", 4))
    events = [
        _event("Convolution (NHWC, QC8) IGEMM #1", 3.0),
        _event("Add (ND) #1", 1.0),
        _event("Fully Connected (NC, QS8, QC8W) GEMM #1", 2.0),
        _event("DELEGATE_CALL", 7.0, delegated=False),
    ]
    timed, calls = join(events, {0: Instruction(backend="XnnpackBackend", nodes=nodes)})
    assert {(t.kind, t.ms, t.macs) for t in timed} == {
        ("conv", 3.0, 8),
        ("linear", 2.0, 4),
        ("sum", 1.0, 0),
    }
    assert calls == {0: 7.0}


def test_events_that_do_not_match_the_nodes_keep_their_kernel() -> None:
    nodes = (_node("sum", "XNNAdd"), _node("sum", "XNNAdd"))
    timed, _ = join([_event("Add (ND) #1", 1.0)], {0: Instruction(nodes=nodes)})
    assert [(t.kind, t.shapes, t.ms) for t in timed] == [("Add (ND)", "", 1.0)]


def test_operator_outside_the_delegates_is_named() -> None:
    event = _event("native_call_layer_norm.out", 5.0, delegated=False)
    timed, _ = join([event], {0: Instruction(operator="aten::native_layer_norm.out")})
    assert [(t.kind, t.kernel, t.ms) for t in timed] == [
        ("aten::native_layer_norm.out", "outside the delegate", 5.0)
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([], 0.0, id="none"),
        pytest.param([2.0], 2.0, id="one"),
        pytest.param([1.0, 1.0, 2.0, 900.0], 1.5, id="interrupted run left out"),
    ],
)
def test_typical_time(values: list[float], expected: float) -> None:
    assert typical(values) == expected


@pytest.mark.parametrize(
    "content", [None, b"", b"no program at all"], ids=["absent", "empty", "text"]
)
def test_what_is_no_program_is_refused(content: bytes | None, tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    path = tmp_path / "x.pte"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match="program"):
        run(OperatorOptions(model=str(path), out=str(tmp_path)))
