"""What overlapping clips save: each step of time is computed once, not once per clip.

`python -m benchmarks.steps` runs each program whole and in steps, each in a process of its own, in
interleaved turns, on clips that begin `--stride` samples apart as the runtime feeds them. Before
that it compares the outputs of both ways on a drawn video, in a process that has both.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._child import run_child
from benchmarks._engines.artifacts import Store
from benchmarks._engines.base import engine_named
from benchmarks.engines import EngineOptions, make_networks
from runtime.errors import ConfigError
from runtime.options import EXIT_OK, OptionParser, guarded, option
from runtime.report import write_report

LIMIT = 0.9
SETTLE_S = 0.05

# argv: program, threads, samples between clips, milliseconds to measure.
TIMING_CHILD = """
import json, sys, time
import numpy as np
from runtime import _native
path, threads, stride, budget = sys.argv[1], *map(int, sys.argv[2:5])
engine = _native.Engine(path, threads, stride)
clip = np.random.default_rng(0).standard_normal(engine.input_shape).astype(np.float32)
first, times = 0, []
while len(times) < 20 or sum(times[10:]) < budget:
    start = time.perf_counter()
    engine(clip, first)
    times.append((time.perf_counter() - start) * 1e3)
    first += stride
print(json.dumps({"ms": times[10:], "stems": engine.stem_runs / len(times)}))
"""

# argv: program, threads, samples between clips.
PARITY_CHILD = """
import json, sys
import numpy as np
from edge.data.demo_clip import render_frame
from runtime import _native
path, threads, stride = sys.argv[1], *map(int, sys.argv[2:4])
whole, steps = _native.Engine(path, threads), _native.Engine(path, threads, stride)
_, frames, _, height, width = whole.input_shape
preprocess = _native.Preprocess(height, width, [0.45] * 3, [0.225] * 3)
buffer = _native.ClipBuffer(preprocess, frames)
worst, clips = 0.0, 0
for index in range(frames + 24 * stride):
    buffer.push(render_frame(index * 4 / 30))
    if buffer.full and (index + 1 - frames) % stride == 0:
        pairs = zip(whole(buffer.clip()), steps(buffer.clip(), buffer.first))
        worst, clips = max(worst, *(float(abs(a - b).max()) for a, b in pairs)), clips + 1
print(json.dumps({"max_abs": worst, "clips": clips, "shares": steps.shares_steps}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """Options of `python -m benchmarks.steps`."""

    variants: tuple[str, ...] = option(("nano",), "networks with random weights: pico nano tiny")
    programs: tuple[str, ...] = option(
        (), "programs in place of these, all measured in turns, the others by the first",
        metavar="NAME=FILE.pte",
    )  # fmt: skip
    stride: int = option(2, "samples from one clip to the next")
    threads: int = option(2, "threads of the engine")
    rounds: int = option(7, "turns of each way; they alternate")
    turn_ms: int = option(400, "length of a turn, milliseconds")
    calib_clips: int = option(32, "clips for int8 ranges")
    out: str = option("runs/bench", "folder for steps.json, steps.md and the programs")
    verbose: bool = option(False, "show tracebacks")

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: One cannot be used.
        """
        for name in ("stride", "threads", "rounds", "turn_ms", "calib_clips"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 1 or more")
        for text in self.programs:
            name, equal, path = text.partition("=")
            if not (name and equal and Path(path).is_file()):
                raise ConfigError(
                    f"--programs {text!r}: expected NAME=FILE.pte of a file that is there"
                )


def run(options: StepOptions) -> str:
    """Build what is not built yet, measure, write both files, return the report's text."""
    load_before = os.getloadavg()[0]
    programs = _programs(options)
    measured = measure([path for _, _, path in programs], options)
    found: list[dict[str, Any]] = [
        {"network": name, "precision": precision, **result}
        for (name, precision, _), result in zip(programs, measured, strict=True)
    ]
    header = ("network", "whole", "p95", "in steps", "p95", "steps / whole", "steps / first's",
              "stems", "error")  # fmt: skip
    rows = [header, *(_row(result) for result in found)]
    worst = max(result["ratio"] for result in found)
    notes = [
        f"Clips begin {options.stride} samples apart. `stems`: runs of the stem per clip. `error`: "
        "largest difference of any output from the whole clip's. The ratio is the median of the "
        f"rounds'; the largest is {worst:.2f}, {'within' if worst <= LIMIT else 'OVER'} {LIMIT}. "
        f"Load average before: {load_before:.2f}.",
        "",
    ]
    variants = " ".join(options.variants)
    what = f"--variants {variants}"
    if options.programs:
        what = "--programs " + " ".join(
            f"{text.partition('=')[0]}=..." for text in options.programs
        )
    return write_report(
        Path(options.out),
        "steps",
        title="Overlapping clips",
        command=f"python -m benchmarks.steps {what} --stride {options.stride}",
        table=rows,
        notes=notes,
        content={"threads": options.threads, "results": found, "load_before": load_before},
    )


Rows = list[dict[str, Any]]


def measure(paths: Sequence[Path], options: StepOptions) -> list[dict[str, Any]]:
    """Compare the two ways of each program, all in turns; times in milliseconds per clip."""
    threads, stride = str(options.threads), str(options.stride)
    parities = [run_child(PARITY_CHILD, str(path), threads, stride) for path in paths]
    for path, parity in zip(paths, parities, strict=True):
        if not parity["shares"]:
            raise ConfigError(f"a stride of {stride} samples leaves {path} no steps to share")
    turns: list[tuple[Rows, Rows]] = [([], []) for _ in paths]
    for _ in range(options.rounds):
        for path, (whole, steps) in zip(paths, turns, strict=True):
            for way, rows in (("0", whole), (stride, steps)):
                time.sleep(SETTLE_S)
                rows.append(run_child(TIMING_CHILD, str(path), threads, way, str(options.turn_ms)))
    first = turns[0][1]
    return [_of(whole, steps, first, parity)
            for (whole, steps), parity in zip(turns, parities, strict=True)]  # fmt: skip


def _of(whole: Rows, steps: Rows, first: Rows, parity: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of one program; `first`: turns in steps of the one it is compared to."""
    to_first = [
        statistics.median(mine["ms"]) / statistics.median(other["ms"])
        for mine, other in zip(steps, first, strict=True)
    ]
    medians = [[statistics.median(row["ms"]) for row in rows] for rows in (whole, steps)]
    all_ms = [sorted(ms for row in rows for ms in row["ms"]) for rows in (whole, steps)]
    return {
        "whole_ms": statistics.median(all_ms[0]),
        "whole_p95_ms": all_ms[0][int(0.95 * (len(all_ms[0]) - 1))],
        "steps_ms": statistics.median(all_ms[1]),
        "steps_p95_ms": all_ms[1][int(0.95 * (len(all_ms[1]) - 1))],
        "ratio": statistics.median(b / a for a, b in zip(*medians, strict=True)),
        "ratios": [b / a for a, b in zip(*medians, strict=True)],
        "to_first": statistics.median(to_first),
        "stems_per_clip": steps[-1]["stems"],
        "max_abs": parity["max_abs"],
        "clips_compared": parity["clips"],
    }


def _programs(options: StepOptions) -> list[tuple[str, str, Path]]:
    """Return name, precision and program of each network, built where it is not there yet."""
    asked = EngineOptions(
        variants=options.variants, textbook=False, calib_clips=options.calib_clips
    )
    if options.programs:
        pairs = [text.partition("=") for text in options.programs]
        return [(name, "int8" if "int8" in path else "", Path(path)) for name, _, path in pairs]
    found: list[tuple[str, str, Path]] = []
    for network in make_networks(asked):
        store = Store(Path(options.out) / "artifacts", network.name, network.fingerprint)
        for precision in ("int8", "fp32"):
            engine = engine_named(f"xnnpack-{precision}")
            path = engine.load_module().build(network, precision, store)
            found.append((network.name, precision, path))
    return found


def _row(result: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{result['network']} {result['precision']}".strip(),
        f"{result['whole_ms']:.2f} ms",
        f"{result['whole_p95_ms']:.2f} ms",
        f"{result['steps_ms']:.2f} ms",
        f"{result['steps_p95_ms']:.2f} ms",
        f"{result['ratio']:.2f}",
        f"{result['to_first']:.2f}",
        f"{result['stems_per_clip']:.2f}",
        f"{result['max_abs']:.2g}",
    )


def main(argv: Sequence[str]) -> int:
    """Measure and print the report."""
    parser = OptionParser(prog="python -m benchmarks.steps", description=__doc__)
    print(run(parser.parse_into(StepOptions, argv)))
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
