"""How fast the benchmark world is drawn, on one core.

`python -m benchmarks.world` makes the first clips of the training split at the shapes that models
ask for, in several rounds. The best round is what one core does when it has nothing else to do; the
median round is what it did here.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.data.drawn import SyntheticClips
from edge.world import WORLD_VERSION
from runtime.report import write_report
from runtime.types import ClipSpec

# What the variants are trained with: samples, side in px, and frames at 30 fps between samples.
SHAPES: dict[str, tuple[int, int, int]] = {
    "pico 8x128": (8, 128, 4),
    "nano 8x160": (8, 160, 4),
    "small 16x256": (16, 256, 4),
}

NOTE = """\
Clips per second of one core, nothing else on it: `best` is the best round, `median` the median one,
by wall time; `CPU` by processor time, which other programs on the machine disturb less."""


def measure(shape: ClipSpec, *, clips: int, rounds: int) -> dict[str, Any]:
    """Return clips per second, and the spread over clips, for one shape."""
    dataset = SyntheticClips("train", shape, length=clips)
    for index in range(min(8, clips)):
        _ = dataset[index]  # textures and noise are made once in a process
    walls, processors = [], []
    each = np.full(clips, np.inf)
    for _ in range(rounds):
        wall, processor = time.perf_counter(), time.process_time()
        for index in range(clips):
            start = time.process_time()
            _ = dataset[index]
            each[index] = min(each[index], time.process_time() - start)
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return {
        "clips": clips,
        "rounds": rounds,
        "best_per_s": clips / min(walls),
        "median_per_s": clips / statistics.median(walls),
        "cpu_per_s": clips / min(processors),
        "clip_ms": {str(p): 1e3 * float(np.percentile(each, p)) for p in (5, 50, 95, 100)},
    }


def main() -> None:
    """Measure, print the table, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    args = parser.parse_args()
    cv2.setNumThreads(1)
    rows = [["clip", "best", "median", "CPU", "a clip's p50", "p95", "slowest"]]
    results: dict[str, Any] = {}
    for name, (frames, side, rate) in SHAPES.items():
        shape = ClipSpec(num_frames=frames, height=side, width=side, sampling_rate=rate, fps=30.0)
        result = results[name] = measure(shape, clips=args.clips, rounds=args.rounds)
        spread = result["clip_ms"]
        rows.append([
            name, *(f"{result[key]:.0f}/s" for key in ("best_per_s", "median_per_s", "cpu_per_s")),
            *(f"{spread[p]:.1f} ms" for p in ("50", "95", "100")),
        ])  # fmt: skip
    text = write_report(
        args.out, "world", title="Drawing the benchmark world", table=rows,
        command=f"python -m benchmarks.world --clips {args.clips} --rounds {args.rounds}",
        content={"world_version": WORLD_VERSION, "results": results}, notes=[NOTE, ""],
    )  # fmt: skip
    print(text)


if __name__ == "__main__":
    main()
