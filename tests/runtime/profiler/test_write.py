"""A profile of the default bundle, from end to end, and what its files hold."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("runtime._native", reason="the native module is not built here")

from runtime.bundle import DEFAULT_BUNDLE, Bundle
from runtime.cli import main
from runtime.profiler import OperatorTrace, Span, chrome_trace, golden_folder, trace_operators
from runtime.profiler.operators import parse_onnx_profile
from runtime.profiler.page import last_results


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("profile")
    assert main(["profile", "--results", "12", "--traced", "3", "--out", str(out)]) == 0
    return out


def test_the_page_needs_no_network_and_has_both_schemes(folder: Path) -> None:
    html = (folder / "profile.html").read_text("utf-8")
    assert not re.search(r"(?:src|href)=|https?://|url\(|@import", html)
    assert "prefers-color-scheme:dark" in html
    assert html.count("<svg") >= 5
    for part in ("Stages", "Timeline", "Operators", "Machine", "ExecuTorch&#x27;s event tracer"):
        assert part in html


def test_the_json_holds_stages_programs_operators_and_the_machine(folder: Path) -> None:
    content = json.loads((folder / "profile.json").read_text("utf-8"))
    assert content["results"] == 12
    stages = content["stages_ms"]
    assert {"capture", "preprocess", "inference", "decode", "sink", "total"} <= set(stages)
    assert {"program stem", "program trunk"} <= set(stages)
    assert all(s["p50"] <= s["p95"] * 1.01 <= s["p99"] * 1.03 for s in stages.values())
    kinds = content["operators"]["kinds"]
    assert content["operators"]["runs"] == 3
    assert {k["program"] for k in kinds} == {"stem", "trunk"}
    assert any("Convolution" in k["kind"] and k["count"] > 10 for k in kinds)
    assert "load" in content["machine"]["before"]["probes"]
    assert isinstance(content["quiet"]["during"]["quiet"], bool)
    energy = content["energy"]
    assert (energy["joules_per_result"] is None) == energy["text"].startswith("not known (")


def test_the_trace_nests_programs_in_their_inference(folder: Path) -> None:
    events = json.loads((folder / "trace.json").read_text("utf-8"))["traceEvents"]
    spans = [e for e in events if e["ph"] == "X"]
    inference = [e for e in spans if e["name"] == "inference"]
    programs = [e for e in spans if e["cat"] == "programs"]
    assert len(inference) == 12
    assert programs
    for program in programs:
        assert any(
            i["ts"] - 1 <= program["ts"]
            and program["ts"] + program["dur"] <= i["ts"] + i["dur"] + 1
            for i in inference
        )
    assert {e["pid"] for e in spans} == {1, 2}
    names = {e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    assert names == {"stages", "programs", "operators"}


def test_a_trace_begins_at_zero_in_microseconds() -> None:
    spans = [Span("b", "stages", 10.002, 0.001), Span("a", "stages", 10.0, 0.002)]
    events = [e for e in json.loads(chrome_trace(spans))["traceEvents"] if e["ph"] == "X"]
    assert [(e["name"], e["ts"], e["dur"]) for e in events] == [
        ("a", 0.0, 2000.0), ("b", 2000.0, 1000.0),
    ]  # fmt: skip


def test_the_last_results_are_cut_at_a_sink() -> None:
    spans = []
    for i in range(4):
        spans += [Span("inference", "stages", i, 0.5), Span("sink", "stages", i + 0.6, 0.1)]
    assert [s.start_s for s in last_results(spans, 2)] == [2, 2.6, 3, 3.6]


def test_operators_of_a_delegate_are_counted_once() -> None:
    with Bundle.load(DEFAULT_BUNDLE) as bundle:
        artifact = bundle.spec.artifacts[0]
        trace = trace_operators(bundle, artifact, num_threads=1, stride=0, runs=2)
    assert trace.reason == ""
    assert not any(o.kind in ("DELEGATE_CALL", "Method::execute") for o in trace.operators)
    assert {o.program for o in trace.operators} == {"forward"}
    assert [s.track for s in trace.spans] == ["operators"] * len(trace.spans)


def test_a_target_without_a_tracer_says_so() -> None:
    import dataclasses

    with Bundle.load(DEFAULT_BUNDLE) as bundle:
        other = dataclasses.replace(bundle.spec.artifacts[0], target="coreml")
        trace = trace_operators(bundle, other, num_threads=1, stride=0, runs=2)
    assert trace == OperatorTrace(tracer="none", reason="there is no tracer for coreml programs")


def test_onnx_runtimes_profile_is_sorted_into_runs() -> None:
    def event(name: str, ts: int, dur: int, **args: str) -> dict[str, object]:
        cat = "Node" if args else "Session"
        return {"name": name, "ts": ts, "dur": dur, "cat": cat, "args": args}

    runs = parse_onnx_profile(
        [
            event("session_initialization", 0, 50),
            event("Conv_1_kernel_time", 110, 30, op_name="Conv"),
            event("Conv_1_fence_before", 105, 1, op_name="Conv"),
            event("model_run", 100, 100),
            event("Relu_2_kernel_time", 310, 5, op_name="Relu"),
            event("model_run", 300, 100),
        ]
    )
    assert [[(kind, name, duration) for _, kind, name, _, duration in run] for run in runs] == [
        [("Conv", "Conv_1", pytest.approx(30e-6))],
        [("Relu", "Relu_2", pytest.approx(5e-6))],
    ]


def test_the_golden_clip_becomes_pictures_in_order(tmp_path: Path) -> None:
    with Bundle.load(DEFAULT_BUNDLE) as bundle:
        pictures = sorted(golden_folder(bundle, tmp_path).iterdir())
        frames = bundle.spec.clip.num_frames
    assert len(pictures) % frames == 0
    assert pictures[0].read_bytes() == pictures[frames].read_bytes() != pictures[1].read_bytes()
