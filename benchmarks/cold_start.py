"""Cold start: a fresh process from nothing to its first result on a file, and its peak memory.

`python -m benchmarks.cold_start` starts one process a round, so nothing is warm but the page cache.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from pathlib import Path

from edge.data.demo_clip import write_demo_clip
from runtime.bundle import DEFAULT_BUNDLE
from runtime.measure import ColdStart, measure_cold_start
from runtime.report import write_report

STAGES = ("interpreter_s", "import_s", "load_s", "first_result_s", "total_s", "peak_mb")


def main() -> None:
    """Measure, print the table, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=str(DEFAULT_BUNDLE))
    parser.add_argument("--source", help="video file; else the demo clip is made")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    args = parser.parse_args()
    source = args.source
    if source is None:
        source = str(args.out / "demo.mp4")
        write_demo_clip(Path(source), seconds=3.0)
    measure_cold_start(args.model, source, threads=args.threads)  # warms the page cache
    rounds = [
        measure_cold_start(args.model, source, threads=args.threads) for _ in range(args.rounds)
    ]
    text = write_report(
        args.out, "cold_start", title="Cold start",
        table=[["stage", "median", "worst"], *(_row(stage, rounds) for stage in STAGES)],
        command=f"python -m benchmarks.cold_start --threads {args.threads} --rounds {args.rounds}",
        content={"rounds": [dataclasses.asdict(r) for r in rounds]},
        notes=[f"torch imported: {any(r.torch_imported for r in rounds)}", ""],
    )  # fmt: skip
    print(text)


def _row(stage: str, rounds: list[ColdStart]) -> list[str]:
    values = [getattr(r, stage) for r in rounds]
    form = "{:.0f} MB" if stage.endswith("mb") else "{:.3f} s"
    name = stage.rsplit("_", 1)[0].replace("_", " ")
    return [name, form.format(statistics.median(values)), form.format(max(values))]


if __name__ == "__main__":
    main()
