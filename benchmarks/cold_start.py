"""Cold start: a fresh process from nothing to its first result on a file, and its peak memory.

`python -m benchmarks.cold_start` starts one process a round, so nothing is warm but the page cache.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks._main import run_main
from edge.data.demo_clip import write_demo_clip
from runtime.bundle import DEFAULT_BUNDLE
from runtime.measure import ColdStart, measure_cold_start
from runtime.options import check_options, guarded, option
from runtime.report import command_of, write_report

STAGES = ("interpreter_s", "import_s", "load_s", "first_result_s", "total_s", "peak_mb")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdOptions:
    """What to start, and how often. Attributes are the flags; see their help."""

    model: str = option(str(DEFAULT_BUNDLE), "bundle folder or zip", metavar="BUNDLE")
    source: str | None = option(None, "video file; else the demo clip is made", metavar="FILE")
    threads: int = option(2, "threads of the engine", least=1)
    rounds: int = option(10, "processes", least=1)
    out: str = option("runs/bench", "folder for cold_start.json and cold_start.md")
    verbose: bool = option(False, "show tracebacks")

    def __post_init__(self) -> None:
        check_options(self)


def run(options: ColdOptions) -> str:
    """Measure, write both files; return the Markdown."""
    out = Path(options.out)
    source = options.source or str(out / "demo.mp4")
    if options.source is None:
        write_demo_clip(Path(source), seconds=3.0)
    # The first warms the page cache.
    rounds = [
        measure_cold_start(options.model, source, threads=options.threads)
        for _ in range(options.rounds + 1)
    ][1:]
    return write_report(
        out, "cold_start", title="Cold start",
        table=[["stage", "median", "worst"], *(_row(stage, rounds) for stage in STAGES)],
        command=command_of("python -m benchmarks.cold_start", options),
        content={"rounds": [dataclasses.asdict(r) for r in rounds]},
        notes=[f"torch imported: {any(r.torch_imported for r in rounds)}", ""],
    )  # fmt: skip


def _row(stage: str, rounds: list[ColdStart]) -> list[str]:
    values = [getattr(r, stage) for r in rounds]
    form = "{:.0f} MB" if stage.endswith("mb") else "{:.3f} s"
    name = stage.rsplit("_", 1)[0].replace("_", " ")
    return [name, form.format(statistics.median(values)), form.format(max(values))]


def main(argv: Sequence[str]) -> int:
    """Read the flags, measure, print the report."""
    return run_main(argv, "cold_start", __doc__, ColdOptions, run)


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
