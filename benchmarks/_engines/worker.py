"""The process that runs one engine: `python -m benchmarks._engines.worker JOB`.

It reads commands from its standard input, one a line, and answers each with one line of JSON:
`load`, `check`, `time MILLISECONDS`, `quit`. What the engine itself prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from benchmarks._engines.base import Floats, Run, engine_named

OUTPUTS = ("pred_boxes", "pred_actor", "pred_actions")
_WARM_UP = 3
_LEAST_RUNS = 5


def main() -> None:
    """Answer commands until `quit`."""
    job: dict[str, Any] = json.loads(sys.argv[1])
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        _serve(job, answers)


def _serve(job: dict[str, Any], answers: TextIO) -> None:
    with np.load(job["reference"]) as data:
        reference: dict[str, Floats] = dict(data)
    clips = [reference[f"clip{i}"] for i in range(int(reference["count"]))]
    run: Run | None = None
    for line in sys.stdin:
        command, *rest = line.split()
        answer: dict[str, Any] = {}
        if command == "load":
            answer, run = _load(job, clips[0])
        elif command == "quit":
            answer = {"peak_mb": _peak_mb()}
        else:
            assert run is not None, "load comes first"
            if command == "check":
                answer = _check(run, clips, reference)
            else:
                answer = {"ms": _time(run, clips[0], float(rest[0]))}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        if command == "quit":
            return


def _load(job: dict[str, Any], clip: Floats) -> tuple[dict[str, Any], Run]:
    """Import the engine, load the artifact, run once: what a cold start of the engine costs."""
    before_mb = _peak_mb()
    start = time.perf_counter()
    engine = engine_named(job["engine"])
    run = engine.load_module().load(Path(job["path"]), engine.precision, int(job["threads"]))
    run(clip)
    took = time.perf_counter() - start
    return {"load_s": took, "before_mb": before_mb}, run


def _time(run: Run, clip: Floats, milliseconds: float) -> list[float]:
    """Run for some time, warm-up apart; return the time of each run in milliseconds."""
    for _ in range(_WARM_UP):
        run(clip)
    times: list[float] = []
    while sum(times) < milliseconds or len(times) < _LEAST_RUNS:
        start = time.perf_counter()
        run(clip)
        times.append((time.perf_counter() - start) * 1e3)
    return times


def _check(run: Run, clips: list[Floats], reference: dict[str, Floats]) -> dict[str, Any]:
    """Compare the outputs with the float32 model's in torch."""
    found = [[np.array(o, dtype=np.float64) for o in run(clip)] for clip in clips]
    report: dict[str, Any] = {}
    for index in range(len(found[0])):
        name = OUTPUTS[index] if len(found[0]) == len(OUTPUTS) else f"output{index}"
        mine = np.stack([row[index] for row in found])
        truth = np.stack([reference[f"expected{i}_{index}"] for i in range(len(clips))])
        if mine.shape != truth.shape:
            report[name] = {"error": f"shape {mine.shape[1:]}, expected {truth.shape[1:]}"}
            continue
        error = np.abs(mine - truth)
        report[name] = {
            "max_abs": float(error.max()),
            "mean_abs": float(error.mean()),
            "cosine": _cosine(mine, truth),
        }
    return report


def _cosine(mine: npt.NDArray[np.float64], truth: npt.NDArray[np.float32]) -> float:
    a, b = mine.ravel(), truth.astype(np.float64).ravel()
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-30))


def _peak_mb() -> float:
    """Return the most memory this process has held, MB."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        return 0.0


if __name__ == "__main__":
    main()
