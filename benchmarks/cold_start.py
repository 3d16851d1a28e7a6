"""Cold start: a fresh process from nothing to its first result on a file, and its peak memory.

`python -m benchmarks.cold_start` starts one process a round, so nothing is warm but the page cache.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks._report import write_report
from edge.data.demo_clip import write_demo_clip

# The child prints the system-wide monotonic clock, so the interpreter's own start is counted too.
CHILD = """
import sys, time
started = time.monotonic()
from runtime.runner import ClipRunner
imported = time.monotonic()
with ClipRunner(sys.argv[1], num_threads=int(sys.argv[3])) as runner:
    loaded = time.monotonic()
    next(iter(runner.stream(source=sys.argv[2])))
    first = time.monotonic()
    status = open("/proc/self/status").read()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(__import__("json").dumps(
        {"started": started, "imported": imported, "loaded": loaded, "first": first,
         "peak_mb": peak, "torch": "torch" in sys.modules}))
"""


def measure(model: str, source: str, *, threads: int, rounds: int) -> list[dict[str, Any]]:
    """Run the child `rounds` times (after one that warms the page cache); times in seconds."""
    results = []
    for index in range(rounds + 1):
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", CHILD, model, source, str(threads)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        child = json.loads(done.stdout)
        if index == 0:
            continue
        results.append(
            {
                "interpreter_s": child["started"] - begun,
                "import_s": child["imported"] - child["started"],
                "load_s": child["loaded"] - child["imported"],
                "first_result_s": child["first"] - child["loaded"],
                "total_s": child["first"] - begun,
                "peak_mb": child["peak_mb"],
                "torch_imported": child["torch"],
            }
        )
    return results


def main() -> None:
    """Measure, print the table, and write both files."""
    from runtime.bundle import DEFAULT_BUNDLE

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
    rounds = measure(args.model, source, threads=args.threads, rounds=args.rounds)
    keys = ["interpreter_s", "import_s", "load_s", "first_result_s", "total_s", "peak_mb"]
    rows = [["stage", "median", "worst"]]
    for key in keys:
        values = [r[key] for r in rounds]
        unit = "MB" if key.endswith("mb") else "s"
        digits = 1 if unit == "MB" else 3
        rows.append([
            key.rsplit("_", 1)[0].replace("_", " "),
            f"{statistics.median(values):.{digits}f} {unit}",
            f"{max(values):.{digits}f} {unit}",
        ])  # fmt: skip
    text = write_report(
        args.out, "cold_start", title="Cold start", table=rows,
        command=f"python -m benchmarks.cold_start --threads {args.threads} --rounds {args.rounds}",
        content={"rounds": rounds, "model": args.model, "source": source},
        notes=[f"torch imported: {any(r['torch_imported'] for r in rounds)}", ""],
    )  # fmt: skip
    print(text)


if __name__ == "__main__":
    main()
