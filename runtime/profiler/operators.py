"""Times of single operators, by each engine's own tracer, in runs of their own.

A tracer costs time, so these runs are not those that the stages are measured in.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.bundle_spec import Artifact
from runtime.errors import ArtifactError, EdgeError
from runtime.profiler.timeline import Span
from runtime.profiling import Percentiles
from runtime.self_test import golden_answer

if TYPE_CHECKING:
    from runtime.bundle import Bundle
    from runtime.types import Floats

WARM_UP = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """What one kind of operator costs in one result.

    Attributes:
        program: The program that it belongs to.
        kind: What it is, as the engine calls it.
        count: How many there are in a result.
        p50_ms: Time of all of them together, in one result.
        p95_ms: The same that 95 % of the results do not exceed.
        p99_ms: The same of 99 %.
    """

    program: str
    kind: str
    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTrace:
    """The operators of a program.

    Attributes:
        tracer: Whose times these are.
        runs: How many results were traced.
        operators: Kinds of operators, the costliest first.
        spans: Each operator of the last results, for a timeline.
        reason: Why there are none.
    """

    tracer: str
    runs: int = 0
    operators: tuple[Operator, ...] = ()
    spans: tuple[Span, ...] = ()
    reason: str = ""


# (program, kind, name, start s, duration s) of each operator of one run.
Run = list[tuple[str, str, str, float, float]]


def trace_operators(
    bundle: Bundle, artifact: Artifact, *, num_threads: int, stride: int, runs: int, keep: int = 4
) -> OperatorTrace:
    """Trace a program on its golden clip, as overlapping clips would be run.

    Args:
        bundle: An open bundle.
        artifact: Which of its programs.
        num_threads: Threads of the engine; 0 leaves it to the engine.
        stride: Samples from one clip to the next.
        runs: Results to trace.
        keep: Results whose single operators are kept.
    """
    tracer, trace = _TRACERS.get(artifact.target, ("", None))
    if trace is None:
        reason = f"there is no tracer for {artifact.target} programs"
        return OperatorTrace(tracer="none", reason=reason)
    clip, _ = golden_answer(bundle, artifact)
    try:
        found = trace(bundle.artifact_path(artifact), clip, num_threads, stride, runs)
    except EdgeError as error:
        return OperatorTrace(tracer=tracer, reason=str(error))
    if not any(found):
        return OperatorTrace(tracer=tracer, reason=f"{tracer} gave no times")
    spans = tuple(
        Span(name, "operators", start, duration, kind)
        for run in found[-keep:]
        for _, kind, name, start, duration in run
    )
    return OperatorTrace(tracer=tracer, runs=len(found), operators=_summed(found), spans=spans)


def _summed(runs: Iterable[Run]) -> tuple[Operator, ...]:
    times: dict[tuple[str, str], Percentiles] = defaultdict(Percentiles)
    counts: dict[tuple[str, str], int] = {}
    for run in runs:
        sums: dict[tuple[str, str], float] = defaultdict(float)
        number: dict[tuple[str, str], int] = defaultdict(int)
        for program, kind, _, _, duration in run:
            sums[program, kind] += duration
            number[program, kind] += 1
        for key, duration in sums.items():
            times[key].add(duration * 1e3)
            counts[key] = max(counts.get(key, 0), number[key])
    rows = [
        Operator(
            program=program, kind=kind, count=counts[program, kind],
            p50_ms=t.at(50), p95_ms=t.at(95), p99_ms=t.at(99),
        )
        for (program, kind), t in times.items()
    ]  # fmt: skip
    return tuple(sorted(rows, key=lambda row: -row.p50_ms))


def _native(path: Path, clip: Floats, threads: int, stride: int, runs: int) -> list[Run]:
    from runtime import _native

    engine = _native.Engine(path, threads, stride, True)
    found: list[Run] = []
    for index in range(WARM_UP + runs):
        engine.trace()
        engine(clip, index * stride if stride else -1)
        events = engine.trace()
        if index < WARM_UP:
            continue
        # A delegate call is the sum of its operators, a method the sum of its instructions.
        inside = [e for e in events if e[2] or (e[1] not in _OUTER and e[3] >= 0)]
        found.append(
            [(method, re.sub(r" #\d+$", "", name), name, start, duration)
             for method, name, _, _, start, duration in inside]
        )  # fmt: skip
    return found


_OUTER = ("DELEGATE_CALL", "OPERATOR_CALL", "Method::execute", "Method::init")


def _onnx(path: Path, clip: Floats, threads: int, stride: int, runs: int) -> list[Run]:
    from runtime.engines.onnx import OnnxProgram

    with tempfile.TemporaryDirectory(prefix="bmvit-profile-") as folder:
        program = OnnxProgram(path, threads, Path(folder))
        for _ in range(WARM_UP + runs):
            program(clip)
        try:
            events: list[dict[str, Any]] = json.loads(program.end_profile().read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ArtifactError(f"ONNX Runtime's profile cannot be read: {error}") from error
    return parse_onnx_profile(events)[WARM_UP:]


def parse_onnx_profile(events: Iterable[dict[str, Any]]) -> list[Run]:
    """Sort the events of ONNX Runtime's profile into runs; times in it are microseconds."""
    events = list(events)
    ends = sorted(
        (float(e["ts"]), float(e["ts"]) + float(e["dur"]))
        for e in events
        if e.get("name") == "model_run"
    )
    runs: list[Run] = [[] for _ in ends]
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") != "Node" or not name.endswith("_kernel_time"):
            continue
        start, duration = float(event["ts"]), float(event["dur"])
        kind = str(event.get("args", {}).get("op_name", "?"))
        index = next((i for i, (a, b) in enumerate(ends) if a <= start <= b), None)
        if index is not None:
            short = name.removesuffix("_kernel_time")
            runs[index].append(("forward", kind, short, start / 1e6, duration / 1e6))
    return runs


def _openvino(path: Path, clip: Floats, threads: int, stride: int, runs: int) -> list[Run]:
    from runtime.engines.openvino import OpenVinoProgram

    program = OpenVinoProgram(path, threads, count=True)
    found: list[Run] = []
    for index in range(WARM_UP + runs):
        start = time.perf_counter()
        program(clip)
        if index >= WARM_UP:
            found.append(_in_a_row(program.operator_times(), start))
    return found


def _tensorrt(path: Path, clip: Floats, threads: int, stride: int, runs: int) -> list[Run]:
    """By `IProfiler`. This has not been run by this project: no machine of it has TensorRT."""
    from runtime.tensorrt.engine import TensorRTProgram, missing

    lack = missing()
    if lack is not None:
        raise ArtifactError(lack)
    program = TensorRTProgram(path)
    found: list[Run] = []
    for index in range(WARM_UP + runs):
        start = time.perf_counter()
        layers = program.layer_times(clip)
        if index >= WARM_UP:
            found.append(_in_a_row([(name, name, s) for name, s in layers], start))
    return found


def _in_a_row(times: Iterable[tuple[str, str, float]], start: float) -> Run:
    """Lay operators one behind the other, where the engine says how long but not when."""
    run: Run = []
    for name, kind, duration in times:
        run.append(("forward", kind, name, start, duration))
        start += duration
    return run


_Trace = Callable[[Path, "Floats", int, int, int], list[Run]]
_TRACERS: dict[str, tuple[str, _Trace]] = {
    "xnnpack": ("ExecuTorch's event tracer", _native),
    "vulkan": ("ExecuTorch's event tracer", _native),
    "onnx": ("ONNX Runtime's profile", _onnx),
    "openvino": ("OpenVINO's performance counters", _openvino),
    "tensorrt": ("TensorRT's IProfiler (not run by this project)", _tensorrt),
}
