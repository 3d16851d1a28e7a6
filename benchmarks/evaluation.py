"""How long the evaluator takes for a file as long as AVA's validation set.

`python -m benchmarks.evaluation` draws people, their actions and a million rows of detections from
a seed, writes them in AVA's format, and reads and scores them in a fresh process. The peak of that
process's memory is beside the times.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._child import run_child
from edge.data.annotations import BoxTable
from edge.data.ava_files import write_rows
from runtime.report import write_report

CLASSES = 60
PEOPLE_PER_KEYFRAME = 3
BOXES_PER_KEYFRAME = 6

CHILD = """
import json, sys, time
from edge.evaluation.ava import evaluate_ava
from edge.data.ava_files import read_detections, read_ground_truth
from runtime.profiling import peak_rss_mb
start = time.perf_counter()
found, truth = read_detections(sys.argv[1]), read_ground_truth(sys.argv[2])
read = time.perf_counter()
metrics = evaluate_ava(found, truth)
done = time.perf_counter()
print(json.dumps({
    "rows": len(found.boxes), "true_rows": len(truth.boxes), "frame_map": metrics.mean_ap,
    "read_s": read - start, "evaluate_s": done - read,
    "peak_mb": peak_rss_mb(),
}))
"""


def draw(rows: int, seed: int = 0) -> tuple[list[tuple[str, int]], BoxTable, BoxTable]:
    """Draw keyframes, detections and truth: each box says every class, as AVA's models do.

    Args:
        rows: How many rows of detections, about.
        seed: Of the random numbers.
    """
    random = np.random.default_rng(seed)
    keyframes = max(1, rows // (BOXES_PER_KEYFRAME * CLASSES))
    names = [(f"video_{i // 900:04d}", 902 + i % 900) for i in range(keyframes)]
    people = keyframes * PEOPLE_PER_KEYFRAME
    corner = random.uniform(0, 0.6, (people, 2))
    person = np.concatenate([corner, corner + random.uniform(0.1, 0.4, (people, 2))], axis=1)
    acts = random.random((people, CLASSES)) < 2 / CLASSES
    who, what = np.nonzero(acts)
    truth = BoxTable(frame=who // PEOPLE_PER_KEYFRAME, label=what + 1, xyxy=person[who])

    frame = np.repeat(np.arange(keyframes), BOXES_PER_KEYFRAME)
    seen = frame * PEOPLE_PER_KEYFRAME + random.integers(0, PEOPLE_PER_KEYFRAME, len(frame))
    boxes = np.sort((person[seen] + random.normal(0, 0.03, (len(frame), 4))).reshape(-1, 2, 2), 1)
    score = random.normal(0, 1, (len(frame), CLASSES)) + 2 * acts[seen]
    found = BoxTable(
        frame=np.repeat(frame, CLASSES),
        label=np.tile(np.arange(1, CLASSES + 1), len(frame)),
        xyxy=np.repeat(boxes.reshape(-1, 4), CLASSES, axis=0),
        score=(1 / (1 + np.exp(-score))).astype(np.float32).ravel().astype(np.float64),
    )
    return names, found, truth


def measure(rows: int) -> dict[str, Any]:
    """Write the files, read and score them in a fresh process, and return its figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keyframes, found, truth = draw(rows)
        write_rows(folder / "detections.csv", keyframes, found)
        write_rows(folder / "truth.csv", keyframes, truth)
        size = (folder / "detections.csv").stat().st_size
        files = [str(folder / "detections.csv"), str(folder / "truth.csv")]
        figures = run_child(CHILD, *files)
    return {"file_mb": size / 1e6, **figures}


def main() -> None:
    """Measure and write `evaluation.json` and `evaluation.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    args = parser.parse_args()
    results = [measure(rows) for rows in args.rows]
    header = ["detections", "true labels", "file", "read", "evaluate", "together", "peak memory"]
    table = [header] + [
        [
            f"{r['rows']:,}", f"{r['true_rows']:,}", f"{r['file_mb']:.0f} MB",
            f"{r['read_s']:.1f} s", f"{r['evaluate_s']:.1f} s",
            f"{r['read_s'] + r['evaluate_s']:.1f} s", f"{r['peak_mb']:.0f} MB",
        ]
        for r in results
    ]  # fmt: skip
    text = write_report(
        args.out, "evaluation", title="Frame-mAP of large files", table=table,
        command=f"python -m benchmarks.evaluation --rows {' '.join(map(str, args.rows))}",
        content={"results": results},
        notes=[f"AVA's format, {CLASSES} classes, drawn from a seed; a fresh process.", ""],
    )  # fmt: skip
    print(text)


if __name__ == "__main__":
    main()
