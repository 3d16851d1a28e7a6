"""The process that runs one pipeline: `python -m benchmarks._rivals.worker JOB`.

It reads commands from its standard input, one a line, and answers each with one line of JSON:
`load`, `time MILLISECONDS`, `quit`. What an engine itself prints goes to standard error.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np

from benchmarks._engines.base import engine_named
from benchmarks._rivals.pipelines import STAGES, Ours, Pipeline, Result, YOWOv2, fix_candidates
from runtime.profiling import peak_rss_mb

_WARM_UP = 3
_LEAST_RUNS = 5


def main() -> None:
    """Answer commands until `quit`."""
    job: dict[str, Any] = json.loads(sys.argv[1])
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        _serve(job, answers)


def _serve(job: dict[str, Any], answers: TextIO) -> None:
    results: Iterator[Result] | None = None
    for line in sys.stdin:
        command, *rest = line.split()
        if command == "load":
            pipeline = load_pipeline(job)
            answer: dict[str, Any] = {"facts": fix_candidates(pipeline, int(job["candidates"]))}
            results = pipeline.results()
        elif command == "quit":
            answer = {"peak_mb": peak_rss_mb()}
        else:
            assert results is not None, "load comes first"
            answer = time_results(results, float(rest[0]))
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        if command == "quit":
            return


def load_pipeline(job: dict[str, Any]) -> Pipeline:
    """Load what a job describes."""
    threads, new_frames = int(job["threads"]), int(job["new_frames"])
    cv2.setNumThreads(threads)
    frames = np.load(job["frames"])
    path = Path(job["path"])
    if job["rival"] is None:
        return Ours(path, frames, new_frames=new_frames, threads=threads)
    engine = engine_named(job["engine"])
    run = engine.load_module().load(path, engine.precision, threads)
    return YOWOv2(run, frames, new_frames=new_frames, **job["rival"])


def time_results(results: Iterator[Result], milliseconds: float) -> dict[str, Any]:
    """Take results for some time, warm-up apart; return all times, milliseconds."""
    for _ in itertools.islice(results, _WARM_UP):
        pass
    taken: list[Result] = []
    end = time.perf_counter() + milliseconds / 1e3
    while time.perf_counter() < end or len(taken) < _LEAST_RUNS:
        taken.append(next(results))
    return {
        "ms": [result.total_ms for result in taken],
        "stages_ms": {name: [r.stages_ms[name] for r in taken] for name in STAGES},
    }


if __name__ == "__main__":
    main()
