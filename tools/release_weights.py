"""Put the weights of a run into the repository, with where they come from.

    python tools/release_weights.py runs/train/pico [runs/train/nano] --out weights/nano
    python tools/release_weights.py runs/train/more --after weights/pico --out weights/pico
    python tools/release_weights.py runs/more --after weights/nano --share 0.5 --out weights/new
    python tools/release_weights.py --after weights/pico --suppression-strength 4 --out weights/pico
    python tools/release_weights.py --folds runs/cross_validation/fold?/run --out weights/folds

Takes the best weights of the last run, rounds them to float16, and writes them beside the flags
(`training.json`), the log (`log.jsonl`: all validations, every 500th step) and the curves
(`curves.png`) of all runs that led to them, oldest first. Without a run it is the released weights
that are written again. Of folds (`benchmarks.cross_validation`) the weights alone are written, the
mean of those runs of a fold that are given. The model card is written by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import matplotlib  # noqa: E402
from torch import nn  # noqa: E402

matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402

from edge.model.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from edge.model.variants import with_suppression  # noqa: E402
from edge.training.logs import read_log  # noqa: E402
from edge.training.run_folder import read_run  # noqa: E402

EVERY = 500
Rows = list[dict[str, Any]]


def kept_rows(run: Path) -> Rows:
    """Return all validations of a run, without their per-class tables, and every 500th step."""
    rows = []
    for row in read_log(run):
        if row["kind"] == "val":
            rows.append({k: v for k, v in row.items() if k not in ("ap", "per_class")})
        elif row["step"] % EVERY == 0:
            rows.append(row)
    return rows


def released(folder: Path) -> tuple[dict[str, dict[str, Any]], dict[str, Rows]]:
    """Return flags and rows of the runs that led to released weights, oldest first."""
    configs = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    rows: dict[str, Rows] = {name: [] for name in configs}
    for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        rows[row.pop("run")].append(row)
    return configs, rows


def average_(model: nn.Module, files: Sequence[Path], shares: Sequence[float] = ()) -> None:
    """Put into `model` the mean of the weights in these files ("model soup", arXiv 2203.05482).

    Args:
        model: Of the form of all.
        files: Checkpoints.
        shares: Of each, 1 in all; equal ones by default.
    """
    shares = shares or [1 / len(files)] * len(files)
    parts = [load_checkpoint(path).model.state_dict() for path in files]
    mean = {
        key: sum(share * part[key].double() for share, part in zip(shares, parts, strict=True))
        if value.is_floating_point()
        else value
        for key, value in parts[-1].items()
    }
    model.load_state_dict(mean)


def without_folders(text: str) -> str:
    """Leave out of each path all but its last name."""
    return re.sub(r"[^\s+;]*/", "", text)


def draw_curves(path: Path, runs: dict[str, tuple[Rows, int]]) -> None:
    """Draw losses and frame-mAP of runs over the clips that were seen, one behind the other."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.2), layout="constrained")
    offset = 0.0
    for number, (name, (rows, batch)) in enumerate(runs.items()):
        seen = {id(row): offset + row["step"] * batch / 1000 for row in rows}
        train = [row for row in rows if row["kind"] == "train"]
        for key, colour in (("action", "C0"), ("actor", "C1"), ("bbox", "C2"), ("giou", "C3")):
            left.plot(
                [seen[id(r)] for r in train], [r[key] for r in train], colour,
                label=key if number == 0 else None,
            )  # fmt: skip
        val = [row for row in rows if row["kind"] == "val"]
        for key, colour in (("frame_map", "C0"), ("actor_ap", "C1")):
            right.plot(
                [seen[id(r)] for r in val], [r[key] for r in val], f"{colour}o-", markersize=3,
                label={"frame_map": "frame-mAP@0.5", "actor_ap": "actor AP@0.5"}[key]
                if number == 0 else None,
            )  # fmt: skip
        end = max(seen.values())
        for axes in (left, right):
            if number:
                axes.axvline(offset, color="0.6", linestyle=":")
            axes.annotate(
                name, ((offset + end) / 2, 1.0 + 0.045 * (number % 3)), ha="center", va="bottom",
                xycoords=("data", "axes fraction"), color="0.4",
            )  # fmt: skip
        offset = end
    left.set(xlabel="thousand clips seen", ylabel="loss, unweighted", yscale="log")
    right.set(xlabel="thousand clips seen", ylabel="on validation clips", ylim=(0, 1))
    left.set_ylim(top=left.get_ylim()[1] * 1.8)  # room for the legend
    for axes in (left, right):
        axes.set_xlim(0, offset * 1.02)
        axes.grid(alpha=0.3)
    left.legend(loc="upper center", ncols=4)
    right.legend(loc="lower right")
    figure.savefig(path, dpi=110)


def release_folds(runs: Sequence[Path], out: Path) -> None:
    """Write foldN.pt for the last weights of each run, whose folder lies in that of its fold.

    Of several runs of a fold it is the mean of their weights.
    """
    folds: dict[str, list[Path]] = {}
    for run in runs:
        folds.setdefault(run.absolute().parent.name, []).append(run / "last.pt")
    out.mkdir(parents=True, exist_ok=True)
    for name, files in folds.items():
        checkpoint, number = load_checkpoint(files[-1]), name.removeprefix("fold")
        note = f"fold {number} of {len(folds)}: {without_folders(checkpoint.note)}"
        if len(files) > 1:
            average_(checkpoint.model, files)
            note = f"{note}; mean of {', '.join(path.parent.name for path in files)}"
        save_checkpoint(
            out / f"{name}.pt", checkpoint.model, class_names=checkpoint.class_names,
            trained=checkpoint.trained, half=True, note=note,
        )  # fmt: skip


def main(argv: list[str]) -> int:
    """Release the weights of the last run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="*", help="folders of runs, the oldest first")
    parser.add_argument("--after", type=Path, help="released weights that the first run began with")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--file", default="best.pt", help="which weights of the last run")
    parser.add_argument(
        "--mean", type=int, default=1, metavar="N",
        help="the mean of this file of the last N runs, each of which began with the one before",
    )  # fmt: skip
    parser.add_argument(
        "--share", type=float, default=1.0, metavar="S",
        help="the mean of S of the last run and 1 - S of the weights of --after",
    )  # fmt: skip
    parser.add_argument(
        "--suppression-strength",
        "--rivals",
        dest="strength",
        type=float,
        help="strength of the suppression between neighbouring tokens from now on (ADR 24)",
    )
    parser.add_argument(
        "--folds", type=Path, nargs="+", metavar="RUN",
        help="runs of each fold, foldN/...; of several the mean",
    )  # fmt: skip
    options = parser.parse_args(argv)
    if options.folds:
        if options.runs or options.after or options.mean != 1 or options.strength is not None:
            parser.error("--folds stands alone beside --out")
        release_folds(options.folds, options.out)
        return 0
    if not options.runs and options.after is None:
        parser.error("expected folders of runs, or --after with weights to write again")
    files = [run / options.file for run in options.runs] or [options.after / "model.pt"]
    if not 1 <= options.mean <= len(files):
        parser.error(f"--mean is {options.mean}, expected 1 to {len(files)}, the runs given")
    if not 0 < options.share <= 1:
        parser.error(f"--share is {options.share:g}, expected a number above 0, at most 1")
    if options.share < 1 and (not options.runs or options.after is None or options.mean != 1):
        parser.error("--share needs a run and --after, and stands without --mean")
    configs, rows = ({}, {}) if options.after is None else released(options.after)
    for run in options.runs:
        if run.name in configs:
            parser.error(f"two runs are named {run.name}, one in the log; rename {run}")
        configs[run.name], rows[run.name] = read_run(run), kept_rows(run)
    checkpoint = load_checkpoint(files[-1])
    note = checkpoint.note
    if options.mean > 1:
        average_(checkpoint.model, files[-options.mean :])
        names = [path.parent.name for path in files[-options.mean :]]
        note = f"mean of {', '.join(names)}; {note}"
    if options.share < 1:
        parts = [files[-1], options.after / "model.pt"]
        average_(checkpoint.model, parts, [options.share, 1 - options.share])
        note = (
            f"{options.share:g} of {files[-1].parent.name}, the rest {options.after.name}; {note}"
        )
    model = checkpoint.model
    if options.strength is not None:
        model = with_suppression(model, options.strength)
        note = f"{note}; tokens suppress each other by {options.strength:g}"
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    save_checkpoint(
        out / "model.pt", model, class_names=checkpoint.class_names,
        trained=checkpoint.trained, note=without_folders(note), half=True,
    )  # fmt: skip
    for config in configs.values():
        for name in ("init", "cache", "stem_weights", "val_data", "ignore_people"):
            if name in ("init", "cache") or name in config:
                config[name] = config.get(name) and Path(config[name]).name
        config["data"] = without_folders(config["data"])
    (out / "training.json").write_text(json.dumps(configs, indent=1) + "\n", encoding="utf-8")
    lines = [json.dumps({"run": name, **row}) for name, all_ in rows.items() for row in all_]
    (out / "log.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    draw_curves(
        out / "curves.png", {name: (rows[name], configs[name]["batch"]) for name in configs}
    )
    for path in sorted(out.iterdir()):
        print(f"{path}: {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
