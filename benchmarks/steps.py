"""What overlapping clips save: each step of time is computed once, not once per clip.

`python -m benchmarks.steps` runs each program whole and in steps, each in a process of its own, in
interleaved turns, on clips that begin `--stride` samples apart as the runtime feeds them. The
outputs of both ways are compared on a drawn video first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._engines import artifact, engine_named
from benchmarks._harness import Job, measure, ratio
from benchmarks._held_back import LEVELS
from benchmarks._main import run_main
from benchmarks.engines import EngineOptions, make_networks
from runtime.errors import ConfigError
from runtime.options import check_options, guarded, option
from runtime.report import command_of, write_report

_HEADER = ("network", "whole", "p95", "in steps", "p95", "steps / whole", "steps / first's",
           "stems", "error")  # fmt: skip
# Name and file of each program.
Programs = Sequence[tuple[str, Path]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """Options of `python -m benchmarks.steps`."""

    variants: tuple[str, ...] = option(("nano",), "networks with random weights: pico nano tiny")
    programs: tuple[str, ...] = option(
        (), "programs in place of these, all measured in turns, the others by the first",
        metavar="NAME=FILE.pte",
    )  # fmt: skip
    kernels: tuple[str, ...] = option(
        ("all",), "instructions that XNNPACK may use", choices=tuple(LEVELS)
    )
    stride: int = option(2, "samples from one clip to the next", least=1)
    threads: int = option(2, "threads of the engine", least=1)
    rounds: int = option(7, "turns of each way; they alternate", least=1)
    turn_ms: int = option(400, "length of a turn, milliseconds", above=0)
    calib_clips: int = option(32, "clips for int8 ranges", least=1)
    out: str = option("runs/bench", "folder for steps.json, steps.md and the programs")
    verbose: bool = option(False, "show tracebacks")

    def __post_init__(self) -> None:
        check_options(self)
        for text in self.programs:
            name, equal, path = text.partition("=")
            if not (name and equal and Path(path).is_file()):
                raise ConfigError(
                    f"--programs {text!r}: expected NAME=FILE.pte of a file that is there"
                )


def compare(programs: Programs, options: StepOptions) -> list[dict[str, Any]]:
    """Measure both ways of each program, all in turns; times in milliseconds per clip.

    Raises:
        ConfigError: A program shares no steps at this stride, or does not run.
    """
    measured = [
        (name if level == "all" else f"{name}, {level}", path, level)
        for level in options.kernels for name, path in programs
    ]  # fmt: skip
    jobs = [
        Job(key=(name, way),
            content={"kind": "steps", "path": str(path.resolve()), "stride": options.stride,
                     "shared": way == "steps", "kernels": level})
        for name, path, level in measured for way in ("whole", "steps")
    ]  # fmt: skip
    found = measure(jobs, threads=options.threads, rounds=options.rounds, turn_ms=options.turn_ms)
    first = found[measured[0][0], "steps"]
    rows: list[dict[str, Any]] = []
    for name, path, _ in measured:
        whole, steps = found[name, "whole"], found[name, "steps"]
        for taken in (whole, steps):
            if taken.failure:
                raise ConfigError(f"{path}: {taken.failure}")
        if not steps.facts["shares"]:
            raise ConfigError(f"a stride of {options.stride} samples leaves {path} no steps")
        rows.append({
            "network": name, "whole_ms": whole.median_ms, "whole_p95_ms": whole.p95_ms,
            "steps_ms": steps.median_ms, "steps_p95_ms": steps.p95_ms,
            "ratio": ratio(steps, whole), "to_first": ratio(steps, first),
            "clips": steps.facts["clips"], "stems_per_clip": steps.facts["stems_per_clip"],
            "max_abs": steps.facts["max_abs"],
            "clips_compared": steps.facts["clips_compared"],
        })  # fmt: skip
    return rows


def run(options: StepOptions) -> str:
    """Build what is not built yet, measure, write both files, return the report's text."""
    load_before = os.getloadavg()[0]
    rows = compare(_programs(options), options)
    table = [_HEADER] + [
        (row["network"], *(f"{row[key]:.2f} ms" for key in
         ("whole_ms", "whole_p95_ms", "steps_ms", "steps_p95_ms")), f"{row['ratio']:.2f}",
         f"{row['to_first']:.2f}", f"{row['stems_per_clip']:.2f}", f"{row['max_abs']:.2g}")
        for row in rows
    ]  # fmt: skip
    return write_report(
        Path(options.out), "steps", title="Overlapping clips", table=table,
        command=command_of("python -m benchmarks.steps", options),
        notes=[
            f"Clips begin {options.stride} samples apart. `stems`: runs of the stem per clip. "
            "`error`: largest difference of any output from the whole clip's. Ratios are medians "
            f"of the rounds'. Load average before: {load_before:.2f}.",
            "",
        ],
        content={"threads": options.threads, "results": rows, "load_before": load_before},
    )  # fmt: skip


def _programs(options: StepOptions) -> Programs:
    """Return name and program of each network, built where it is not there yet."""
    if options.programs:
        pairs = [text.partition("=") for text in options.programs]
        return [(name, Path(path)) for name, _, path in pairs]
    found: list[tuple[str, Path]] = []
    asked = EngineOptions(
        variants=options.variants, calib_clips=options.calib_clips, out=options.out
    )
    for network in make_networks(asked):
        for precision in ("int8", "fp32"):
            engine = engine_named(f"xnnpack-{precision}")
            made = artifact(network, engine, Path(options.out) / "artifacts")
            if isinstance(made, str):
                raise ConfigError(f"{network.name}, {engine.name}: {made}")
            found.append((f"{network.name} {precision}", made))
    return found


def main(argv: Sequence[str]) -> int:
    """Measure and print the report."""
    return run_main(argv, "steps", __doc__, StepOptions, run)


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
