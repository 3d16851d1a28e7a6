"""The method's own ablation: which tokens speak, and where their boxes begin.

`python -m benchmarks.selections --init weights/pico-scratch/model.pt` trains each form of the heads
on the same clips for the same number of steps, from the same backbone and with fresh heads, so that
no form begins with heads that were made for another. Then frame-mAP, the network's work, and the
time of a clip: one int8 program for each form, in turns.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._child import run_edge
from runtime.options import EXIT_OK, OptionParser, guarded, option
from runtime.report import write_report

if TYPE_CHECKING:
    from runtime.engine import LoadedEngine

FORMS = {
    "all": ("all", "token"),
    "centre": ("centre", "token"),
    "centre_mean": ("centre_mean", "token"),
    "halves": ("halves", "token"),
    "halves, absolute boxes": ("halves", "absolute"),
}
_HEADER = ("tokens", "N", "GFLOP", "frame-mAP@0.5", "actor AP", "duplicates", "ms, int8 (p95)")


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionOptions:
    """What to train, and for how long.

    Attributes are the flags; see their help.
    """

    init: str = option(
        "weights/pico-scratch/model.pt", "weights of the backbone", metavar="MODEL.pt"
    )
    data: str = option("synthetic-train:64000", "clips to learn from")
    cache: str | None = option(None, "folder that keeps them", metavar="DIR")
    steps: int = option(600, "steps of each form")
    batch: int = option(16, "clips of a step")
    val_data: str = option("synthetic-val:1000", "clips to measure on")
    rounds: int = option(20, "turns of each program")
    threads: int = option(2, "threads of the engine")
    out: str = option("runs/bench/selections", "folder for runs and reports")
    verbose: bool = option(False, "show tracebacks")


def main(argv: Sequence[str]) -> int:
    """Train, measure, and write selections.json and selections.md; finished forms are kept."""
    options = OptionParser(prog="benchmarks.selections", description=__doc__).parse_into(
        SelectionOptions, argv
    )
    rows = {name: _measured(name, *form, options) for name, form in FORMS.items()}
    for name, times in _times(options).items():
        rows[name] |= {
            "median_ms": float(np.median(times)),
            "p95_ms": float(np.quantile(times, 0.95)),
        }
    table = [_HEADER, *(_row(name, row) for name, row in rows.items())]
    command = "python -m benchmarks.selections " + " ".join(argv)
    notes = [
        f"each form: {options.steps} steps of {options.batch} clips of {options.data}, Muon, from "
        f"the backbone of {options.init} and fresh heads; {options.val_data}",
        f"time of the network alone, {options.threads} threads, {options.rounds} turns of each",
    ]
    text = write_report(
        Path(options.out), "selections", title="Token selections", command=command,
        content={"forms": rows}, table=table, notes=notes,
    )  # fmt: skip
    print(text)
    return EXIT_OK


def _folder(name: str, options: SelectionOptions) -> Path:
    return Path(options.out) / name.replace(", ", "-").replace(" ", "-")


def _measured(
    name: str, selection: str, reference: str, options: SelectionOptions
) -> dict[str, Any]:
    """Train one form, unless it is there, and return its facts."""
    from edge.model.checkpoint import load_checkpoint
    from edge.model.complexity import count

    folder = _folder(name, options)
    folder.mkdir(parents=True, exist_ok=True)
    begin, run, val = folder / "begin.pt", folder / "run", folder / "val"
    if not begin.exists():
        _fresh_heads(options.init, begin, selection, reference)
    if not (run / "best.pt").exists():
        cache = [] if options.cache is None else ["--cache", options.cache]
        run_edge(
            "train", "--model", load_checkpoint(begin).config.variant, "--init", str(begin),
            "--data", options.data, *cache, "--steps", str(options.steps), "--workers", "0",
            "--batch", str(options.batch), "--optimizer", "muon", "--lr-hold", "0.5",
            "--ema", "0.99", "--val-every", "0", "--val-clips", "200", "--out", str(run),
        )  # fmt: skip
    if not (val / "metrics.json").exists():
        run_edge(
            "val", "--model", str(run / "best.pt"), "--data", options.val_data, "--out", str(val),
            "--no-plots", "--worst", "0", "--overwrite",
        )  # fmt: skip
    if not (folder / "bundle").exists():
        run_edge(
            "export", "--model", str(run / "best.pt"), "--calib-data", "synthetic-train:32",
            "--calib-clips", "32", "--out", str(folder / "bundle"),
        )  # fmt: skip
    metrics = json.loads((val / "metrics.json").read_text("utf-8"))
    model = load_checkpoint(run / "best.pt").model
    return {
        "tokens": model.num_tokens,
        "gflop": count(model, model.config.clip_shape).gflops,
        "frame_map": metrics["frame_map"],
        "actor_ap": metrics["actor_ap"],
        "duplicates": metrics["at_threshold"]["duplicates_per_actor"],
    }


def _fresh_heads(init: str, out: Path, selection: str, reference: str) -> None:
    """Write a checkpoint with the backbone of another one, and heads that know nothing."""
    from edge.model.bmvit import with_overrides
    from edge.model.checkpoint import load_checkpoint, save_checkpoint
    from edge.model.variants import from_config

    source = load_checkpoint(init)
    config = with_overrides(source.config, token_selection=selection, box_reference=reference)
    model = from_config(config, seed=0)
    model.backbone.load_state_dict(source.model.backbone.state_dict())
    save_checkpoint(out, model, class_names=source.class_names, trained=False, note="fresh heads")


def _times(options: SelectionOptions) -> dict[str, list[float]]:
    """Return milliseconds of one clip for each form, measured in turns."""
    from runtime.bundle import Bundle
    from runtime.engine import load_engine

    engines: dict[str, LoadedEngine] = {}
    for name in FORMS:
        with Bundle.load(_folder(name, options) / "bundle") as bundle:
            engines[name] = load_engine(bundle, num_threads=options.threads)
            shape = bundle.spec.clip.input_shape
    clip = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    times: dict[str, list[float]] = {name: [] for name in FORMS}
    for turn in range(options.rounds + 1):
        for name, engine in engines.items():
            for _ in range(20):
                start = time.perf_counter()
                engine(clip)
                if turn:  # the first turn warms up
                    times[name].append((time.perf_counter() - start) * 1e3)
    return times


def _row(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    return (
        name, str(row["tokens"]), f"{row['gflop']:.3f}", f"{row['frame_map']:.4f}",
        f"{row['actor_ap']:.4f}", f"{row['duplicates']:.3f}",
        f"{row['median_ms']:.2f} ({row['p95_ms']:.2f})",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
