"""The process that is measured: `python -m benchmarks._worker JOB`, the job as JSON.

It reads commands from its standard input, one a line, and answers each with one line of JSON:
`load`, `time MILLISECONDS`, `quit`. What an engine itself prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np

from benchmarks._engines import Floats, engine_named, load
from benchmarks._held_back import hold_back
from runtime.profiling import peak_rss_mb

_WARM_UP = 3
_LEAST_RUNS = 5
OUTPUTS = ("pred_boxes", "pred_actor", "pred_actions")


class Subject(Protocol):
    """What is measured: loaded when it is made."""

    facts: dict[str, Any]

    def run(self) -> tuple[float, dict[str, float]]:
        """Run once; return the time, and that of each stage, milliseconds."""


class NetworkAlone:
    """A network in an engine, on one clip; held against torch's outputs when it is loaded."""

    def __init__(self, job: dict[str, Any]) -> None:
        with np.load(job["reference"]) as data:
            reference: dict[str, Floats] = dict(data)
        clips = [reference[f"clip{i}"] for i in range(int(reference["count"]))]
        start = time.perf_counter()
        self._run = load(Path(job["path"]), engine_named(job["engine"]), int(job["threads"]))
        self._clip = clips[0]
        self._run(self._clip)
        self.facts: dict[str, Any] = {"load_s": time.perf_counter() - start}
        found = [[np.array(o, np.float64) for o in self._run(clip)] for clip in clips]
        self.facts["agreement"] = self._agreement(found, reference)

    def run(self) -> tuple[float, dict[str, float]]:
        start = time.perf_counter()
        self._run(self._clip)
        return (time.perf_counter() - start) * 1e3, {}

    @staticmethod
    def _agreement(found: list[list[Any]], reference: dict[str, Floats]) -> dict[str, Any]:
        report: dict[str, Any] = {}
        for index in range(len(found[0])):
            name = OUTPUTS[index] if len(found[0]) == len(OUTPUTS) else f"output{index}"
            mine = np.stack([row[index] for row in found])
            truth = np.stack([reference[f"expected{i}_{index}"] for i in range(len(found))])
            if mine.shape != truth.shape:
                report[name] = {"error": f"shape {mine.shape[1:]}, expected {truth.shape[1:]}"}
                continue
            a, b = mine.ravel(), truth.ravel().astype(np.float64)
            norms = max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-30)
            report[name] = {"max_abs": float(abs(a - b).max()), "cosine": float(a @ b) / norms}
        return report


class Steps:
    """An XNNPACK program on overlapping clips, whole or in shared steps.

    In steps its outputs are held against those of whole clips, on a drawn video.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        if (level := job.get("kernels", "all")) != "all":
            hold_back(level)
        from runtime._native import Engine

        self._now = clock_of(job)
        self._stride, path, threads = int(job["stride"]), str(job["path"]), int(job["threads"])
        stride = self._stride if job["shared"] else 0
        self._engine = Engine(path, threads, stride) if stride else Engine(path, threads)
        shape = self._engine.input_shape
        self._clip = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        self._first = self._runs = 0
        self.facts: dict[str, Any] = {"shares": bool(stride) and self._engine.shares_steps}
        if self.facts["shares"]:
            self.facts |= self._parity(Engine(path, threads), Engine(path, threads, stride))

    def run(self) -> tuple[float, dict[str, float]]:
        start = self._now()
        self._engine(self._clip, self._first)
        taken_ms = (self._now() - start) * 1e3
        self._first, self._runs = self._first + self._stride, self._runs + 1
        if self.facts["shares"]:
            self.facts |= {"clips": self._runs,
                           "stems_per_clip": self._engine.stem_runs / self._runs}  # fmt: skip
        return taken_ms, {}

    def _parity(self, whole: Any, steps: Any) -> dict[str, Any]:
        from edge.data.demo_clip import render_frame
        from runtime import _native

        _, frames, _, height, width = whole.input_shape
        preprocess = _native.Preprocess(height, width, [0.45] * 3, [0.225] * 3)
        buffer = _native.ClipBuffer(preprocess, frames)
        worst, clips = 0.0, 0
        for index in range(frames + 24 * self._stride):
            buffer.push(render_frame(index * 4 / 30))
            if buffer.full and (index + 1 - frames) % self._stride == 0:
                pairs = zip(whole(buffer.clip()), steps(buffer.clip(), buffer.first), strict=True)
                worst = max(worst, *(float(abs(a - b).max()) for a, b in pairs))
                clips += 1
        return {"max_abs": worst, "clips_compared": clips}


class OnnxAlone:
    """An ONNX network of whatever inputs and outputs in ONNX Runtime, on one kept input."""

    def __init__(self, job: dict[str, Any]) -> None:
        import onnxruntime

        self._now = clock_of(job)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(job["threads"])
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            job["path"], sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {self._session.get_inputs()[0].name: np.load(job["input"])}
        self.facts: dict[str, Any] = {}

    def run(self) -> tuple[float, dict[str, float]]:
        start = self._now()
        self._session.run(None, self._inputs)
        return (self._now() - start) * 1e3, {}


class EngineAlone:
    """A network of whatever outputs in one of the engines, on one drawn input."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._now = clock_of(job)
        self._run = load(Path(job["path"]), engine_named(job["engine"]), int(job["threads"]))
        pixels = np.random.default_rng(0).integers(0, 256, job["shape"])
        self._clip = pixels.astype(np.float32)
        self.facts: dict[str, Any] = {}

    def run(self) -> tuple[float, dict[str, float]]:
        start = self._now()
        self._run(self._clip)
        return (self._now() - start) * 1e3, {}


def clock_of(job: dict[str, Any]) -> Callable[[], float]:
    """Return the clock of a job, in seconds: the processor's time of this process where it asks so.

    On one thread that is what a run takes on a machine that does nothing else, but for what others
    do to caches and clocks.
    """
    return time.process_time if job.get("clock") == "processor" else time.perf_counter


def subject_of(job: dict[str, Any]) -> Subject:
    """Load what a job describes."""
    if job["kind"] == "onnx":
        return OnnxAlone(job)
    if job["kind"] == "engine":
        return EngineAlone(job)
    if job["kind"] == "pipeline":
        from benchmarks._pipelines import Pipeline

        return Pipeline(job)
    return Steps(job) if job["kind"] == "steps" else NetworkAlone(job)


def take(subject: Subject, milliseconds: float) -> dict[str, Any]:
    """Run for some time, warm-up apart; return all times, milliseconds."""
    for _ in range(_WARM_UP):
        subject.run()
    taken: list[tuple[float, dict[str, float]]] = []
    while sum(ms for ms, _ in taken) < milliseconds or len(taken) < _LEAST_RUNS:
        taken.append(subject.run())
    stages = {name: [each[name] for _, each in taken] for name in taken[0][1]}
    return {"ms": [ms for ms, _ in taken], "stages": stages}


def main() -> None:
    """Answer commands until `quit`."""
    job: dict[str, Any] = json.loads(sys.argv[1])
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        _serve(job, answers)


def _serve(job: dict[str, Any], answers: TextIO) -> None:
    subject: Subject | None = None
    for line in sys.stdin:
        command, *rest = line.split()
        if command == "load":
            start = time.perf_counter()
            subject = subject_of(job)
            subject.run()
            took = subject.facts.pop("load_s", time.perf_counter() - start)
            answer = {"load_s": took, "facts": subject.facts}
        else:
            assert subject is not None, "load comes first"
            if command == "quit":
                answer = {"peak_mb": peak_rss_mb(), "facts": subject.facts}
            else:
                answer = take(subject, float(rest[0]))
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        if command == "quit":
            return


if __name__ == "__main__":
    main()
