"""What labels of whole videos teach, where who does it is known after all.

`python -m benchmarks.weak_labels` writes clips of the benchmark world as a folder of one's own and
hides who does some of the actions: only the clip's label is left. The same weights, which know
nothing of these actions in their last layer, then learn from it three times: with the labels named,
with `--weak-loss mil`, and with `--weak-loss copy`. They are judged by validation clips with all
labels, so a model that says of everybody what one of them does loses by it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._child import run_edge
from runtime.errors import ConfigError
from runtime.options import EXIT_OK, OptionParser, guarded, option
from runtime.report import write_report

ARMS = {"named": "mil", "mil": "mil", "copy": "copy"}
"""Each with the loss that it is trained with; who does it is named in the first only."""
_HEADER = ("labels of the hidden actions", "AP of these, mean", "frame-mAP of the others",
           "score of who does it", "of others in the clip", "pairs in order",
           "on bystanders, a clip")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakOptions:
    """What to hide, and how long to learn.

    Attributes are the flags; see their help.
    """

    init: str = option("weights/pico-scratch/model.pt", "weights to start from", metavar="MODEL.pt")
    hidden: str = option("punch,wave,fall,phone", "actions of which only the clip is known")
    clips: int = option(2400, "clips to learn from")
    steps: int = option(300, "steps of each arm")
    batch: int = option(16, "clips of a step")
    val_data: str = option("synthetic-val:1000", "clips to measure on")
    precision: str = option("auto", "arithmetic", choices=("auto", "fp32", "bf16"))
    out: str = option("runs/bench/weak_labels", "folder for data, runs and reports")
    verbose: bool = option(False, "show tracebacks")


def main(argv: Sequence[str]) -> int:
    """Write the data, train, measure, and write the report; what is finished is kept."""
    options = OptionParser(prog="benchmarks.weak_labels", description=__doc__).parse_into(
        WeakOptions, argv
    )
    hidden = tuple(options.hidden.split(","))
    begin = Path(options.out) / "begin.pt"
    if not begin.exists():
        begin.parent.mkdir(parents=True, exist_ok=True)
        _forget(options.init, begin, hidden)
    folders = Path(options.out) / "data-named", Path(options.out) / "data-hidden"
    if not all((folder / "annotations.csv").exists() for folder in folders):
        _write_data(*folders, begin, options.clips, hidden)
    rows = {}
    for arm, loss in ARMS.items():
        data = folders[arm != "named"]
        rows[arm] = _measured(arm, loss, data, begin, hidden, options)
    table = [_HEADER, *(_row(arm, row) for arm, row in rows.items())]
    command = "python -m benchmarks.weak_labels " + " ".join(argv)
    notes = [
        f"hidden: {', '.join(hidden)}; {options.steps} steps of {options.batch} clips, "
        f"{options.clips} different ones, Muon, from {options.init} without the last layer's rows "
        f"of these actions; {options.val_data}; one seed",
    ]
    text = write_report(
        Path(options.out), "weak_labels", title="Labels of whole videos", command=command,
        content={"arms": rows}, table=table, notes=notes,
    )  # fmt: skip
    print(text)
    return EXIT_OK


def _forget(init: str, out: Path, hidden: Sequence[str]) -> None:
    """Write a checkpoint that knows nothing of some actions in the last layer.

    Raises:
        ConfigError: An action is none of the model's.
    """
    import torch

    from edge.model.checkpoint import load_checkpoint, save_checkpoint
    from edge.model.variants import from_config

    source = load_checkpoint(init)
    unknown = [name for name in hidden if name not in source.class_names]
    if unknown:
        raise ConfigError(f"--hidden names {unknown}, expected some of {source.class_names}")
    rows = [source.class_names.index(name) for name in hidden]
    fresh = from_config(source.config, seed=0).heads.actions.last
    last = source.model.heads.actions.last
    assert last.bias is not None
    assert fresh.bias is not None
    with torch.no_grad():
        last.weight[rows] = fresh.weight[rows]
        last.bias[rows] = fresh.bias[rows]
    save_checkpoint(out, source.model, class_names=source.class_names, trained=True,
                    note=f"without the rows of {', '.join(hidden)}")  # fmt: skip


def _write_data(named: Path, hidden: Path, model: Path, clips: int, actions: Sequence[str]) -> None:
    """Write clips of the world as pictures, with who does what, and again without some of it."""
    import cv2

    from edge.data.registry import open_dataset
    from edge.model.checkpoint import load_checkpoint

    shape = load_checkpoint(model).config.clip
    dataset = open_dataset(f"synthetic-train:{clips}", shape)
    names, when = dataset.class_names, f"{shape.keyframe_index * shape.period_s:.6f}"
    tables: dict[Path, list[str]] = {named: [], hidden: []}
    labels: list[str] = []
    for index in range(clips):
        sample, video = dataset[index], f"{index:06d}"
        folder = named / "videos" / video
        folder.mkdir(parents=True, exist_ok=True)
        for number, frame in enumerate(sample.frames_rgb, 1):
            cv2.imwrite(str(folder / f"{number:05d}.png"), frame[:, :, ::-1])
        does = np.zeros((len(sample.boxes) + len(sample.inactive_persons), len(names)), bool)
        does[: len(sample.boxes)] = sample.labels > 0.5
        for root, table in tables.items():
            table.append(f"{video},{when},,,,,")  # so that there is a keyframe in any case
            for person, box in enumerate(np.concatenate([sample.boxes, sample.inactive_persons])):
                said = [str(i + 1) for i in np.flatnonzero(does[person])
                        if root == named or names[i] not in actions]  # fmt: skip
                corners = ",".join(f"{side:.6f}" for side in box)
                table += [f"{video},{when},{corners},{label},{person}" for label in said or [""]]
        for name in actions:
            column = names.index(name)
            labels.append(f"{video},{column + 1},{int(does[:, column].any())}")
    hidden.mkdir(exist_ok=True)
    if not (hidden / "videos").exists():
        (hidden / "videos").symlink_to((named / "videos").resolve())
    (hidden / "video_labels.csv").write_text("\n".join(labels) + "\n", encoding="utf-8")
    for root, table in tables.items():
        (root / "classes.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
        (root / "fps.txt").write_text(f"{1 / shape.period_s:.9g}\n", encoding="utf-8")
        # Last: where it lies, everything else does.
        (root / "annotations.csv").write_text("\n".join(table) + "\n", encoding="utf-8")


def _measured(
    arm: str, loss: str, data: Path, begin: Path, hidden: Sequence[str], options: WeakOptions
) -> dict[str, Any]:
    """Train one arm, unless it is there, and return its figures."""
    from edge.model.checkpoint import load_checkpoint

    run, val = Path(options.out) / arm / "run", Path(options.out) / arm / "val"
    if not (run / "last.pt").exists() or not (val / "metrics.json").exists():
        run_edge(
            "train", "--model", load_checkpoint(begin).config.variant, "--init", str(begin),
            "--data", str(data), "--augment", "off", "--weak-loss", loss, "--workers", "0",
            "--steps", str(options.steps), "--batch", str(options.batch), "--optimizer", "muon",
            "--lr0", "1e-3", "--lr-hold", "0.5", "--ema", "0.99", "--precision", options.precision,
            "--overwrite", "--out", str(run),
        )  # fmt: skip
        run_edge(
            "val", "--model", str(run / "last.pt"), "--data", options.val_data, "--out", str(val),
            "--no-plots", "--worst", "0", "--overwrite",
        )  # fmt: skip
    metrics = json.loads((val / "metrics.json").read_text("utf-8"))
    found = metrics["ap"]
    return {
        "ap_hidden": float(np.mean([found[name] for name in hidden])),
        "ap_others": float(np.mean([v for n, v in found.items() if n not in hidden and v])),
        "ap": found,
        "actor_ap": metrics["actor_ap"],
        "on_bystanders": metrics["at_threshold"]["bystander_fp_per_clip"],
        **_who(val / "outputs", metrics["clips"], [list(found).index(name) for name in hidden]),
    }


def _who(outputs: Path, clips: int, hidden: Sequence[int]) -> dict[str, float]:
    """Return what scores those who do a hidden action have, and the others of the same clips.

    A person's score is the highest p(actor) x p(action) of the tokens that lie on them.
    """
    from edge.evaluation.boxes import find_overlaps
    from edge.evaluation.evaluator import tokens_of
    from edge.evaluation.outputs import read_outputs

    doers: list[float] = []
    others: list[float] = []
    right: list[float] = []
    for clip in read_outputs(outputs, clips):
        found, sample = tokens_of(clip), clip.sample
        people = np.concatenate([sample.boxes, sample.inactive_persons]).astype(np.float64)
        does = np.zeros((len(people), sample.labels.shape[1]), bool)
        does[: len(sample.boxes)] = sample.labels > 0.5
        one = np.zeros(max(len(found), len(people)), np.int64)
        pairs = find_overlaps(
            one[: len(found)], found.xyxy.astype(np.float64), one[: len(people)], people, iou=0.5
        )
        scores = np.zeros(does.shape)
        said = found.actions * found.actor[:, None]
        np.maximum.at(scores, pairs.truth, said[pairs.detection])
        for action in hidden:
            if not does[:, action].any():
                continue
            mine, theirs = scores[does[:, action], action], scores[~does[:, action], action]
            doers += mine.tolist()
            others += theirs.tolist()
            gaps = np.sign(mine[:, None] - theirs[None])
            right += ((gaps + 1) / 2).flatten().tolist()
    return {
        "score_doers": float(np.mean(doers)),
        "score_others": float(np.mean(others)),
        "pairs_in_order": float(np.mean(right)),
    }


def _row(arm: str, row: dict[str, Any]) -> tuple[str, ...]:
    words = {"named": "who does it is named", "mil": "of clips, `mil`", "copy": "of clips, `copy`"}
    figures = ("ap_hidden", "ap_others", "score_doers", "score_others", "pairs_in_order",
               "on_bystanders")  # fmt: skip
    return (words[arm], *(f"{row[name]:.4f}" for name in figures))


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
