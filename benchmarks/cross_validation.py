"""What a model learns of people and of a video's label, judged by recordings it never saw.

`python -m benchmarks.cross_validation --data labelled/ --init base.pt` cuts a folder of
`edge label --groups` into folds by recording, fine-tunes a model for each, exports it to int8, and
judges both, the float32 checkpoint in torch and the program in the device's engine, by the videos
of that fold. What is finished is kept: run it again to go on. Clips are put together before
anything is counted, with intervals over recordings.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmarks._child import run_edge
from benchmarks._folds import (
    Folds,
    split_by_source,
    write_fold,
)
from edge.data.annotations import ClipPlace
from edge.data.samples import ClipSample
from edge.evaluation.video_scores import VideoScores, best_threshold, intervals, table_of
from runtime.bundle import file_sha256
from runtime.decode import Detections
from runtime.errors import ConfigError, EdgeError
from runtime.options import EXIT_OK, OptionParser, guarded, option
from runtime.outputs import write_atomically
from runtime.report import markdown_table, write_report

if TYPE_CHECKING:
    from edge.evaluation.clip_metrics import ClipMetrics

# A clip without its frames, where it lies, and what was found there.
Found = tuple[ClipSample, ClipPlace, Detections]
Edge = Callable[..., None]
VARIANTS = ("pico", "nano", "tiny", "pico-scratch", "nano-scratch", "tiny-scratch")
EXCLUDED = "judged-by.txt"  # the videos that a fold must not learn from
KINDS = ("float32, torch", "int8, the device's engine")
_HEADER = (
    "model", "recordings", "clips", "people", "actor AP@0.5", "ROC-AUC (95 %)",
    "accuracy, threshold of the other folds (95 %)", "false alarms per hour",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossOptions:
    """What to learn from, and how long.

    Attributes are the flags; see their help.
    """

    data: str = option(
        "labelled", "folder of `edge label --present --absent --groups`", metavar="DIR"
    )
    model: str = option("pico-scratch", "variant", choices=VARIANTS)
    init: str = option(
        "weights/pico-scratch/model.pt", "weights that have seen none of these recordings"
    )
    weights: str | None = option(
        None, "folder with fold0.pt and so on, each fold's own weights, in place of a first "
        "training from --init; without --finetune-args they are what is judged", metavar="DIR",
    )  # fmt: skip
    features: str | None = option(
        None, "learn from kept features alone, such as features:A*2+features:B (`edge features`), "
        "without the clips that show a video of the fold; in place of --extra-data, with "
        "--classes joint", metavar="DATA",
    )  # fmt: skip
    extra_data: str = option(
        "synthetic-train:4000", "further data to learn from in each fold", former="beside"
    )
    repeat: int = option(8, "how often a fold's clips occur beside those")
    folds: int = option(5, "folds")
    only: str | None = option(None, "work on these folds alone, such as 0,2; then no report")
    steps: int = option(450, "steps of each fold")
    batch: int = option(16, "clips of a step")
    lr0: float = option(1e-3, "highest learning rate (Muon)")
    imgsz: str | None = option(None, "as of `edge train`: the input picture", metavar="SIDE")
    bystanders: str = option("silent", "as of `edge train`", choices=("silent", "actors"))
    weak_loss: str = option("mil", "as of `edge train`", choices=("mil", "copy"))
    precision: str = option("fp32", "as of `edge train`", choices=("fp32", "bf16"))
    finetune_args: str | None = option(
        None, "flags of a second training that goes on from the first and replace its own, such as "
        "--finetune-args='--imgsz 256 --steps 350'", metavar="FLAGS", former="then",
    )  # fmt: skip
    suppression_strength: float | None = option(
        None, "strength of the suppression between neighbouring tokens, as of `edge train`, put "
        "behind the weights once they are trained", metavar="STRENGTH", former="rivals",
    )  # fmt: skip
    out: str = option("runs/bench/cross_validation", "folder for runs and reports")
    verbose: bool = option(False, "show tracebacks")


def main(argv: Sequence[str]) -> int:
    """Train, export and judge every fold; write cross_validation.json and .md."""
    options = OptionParser(prog="benchmarks.cross_validation", description=__doc__).parse_into(
        CrossOptions, argv
    )
    data, out = Path(options.data), Path(options.out)
    dataset = _open(str(data), options.model)
    scores = VideoScores.of(dataset)
    if scores is None:
        raise ConfigError(f"{data} has no video_labels.csv; see --present of `edge label`")
    folds = split_by_source(scores.labels, scores.video_level[0], options.folds)
    chosen = [int(word) for word in options.only.split(",")] if options.only else None
    for fold in chosen or range(options.folds):
        if not 0 <= fold < options.folds:
            raise ConfigError(f"--only names fold {fold}, expected 0 to {options.folds - 1}")
        write_fold(data, out / f"fold{fold}" / "data", folds, fold)
        excluded = "".join(f"{name}\n" for name in (*folds.test[fold], *folds.unknown))
        write_atomically(out / f"fold{fold}" / EXCLUDED, excluded)
        learn(out / f"fold{fold}", options)
    if chosen:
        return EXIT_OK
    found = [_find(out / f"fold{fold}", options) for fold in range(options.folds)]
    results = {kind: _count(dataset, [clips[kind] for clips in found], folds) for kind in KINDS}
    text = write_report(
        out, "cross_validation", title="Unseen recordings",
        command="python -m benchmarks.cross_validation " + " ".join(argv),
        content={"folds": [list(names) for names in folds.test],
                 "unknown": list(folds.unknown), "results": results},
        table=[_HEADER, *(_row(kind, row) for kind, row in results.items())],
        notes=[
            f"{options.folds} folds by recording; {len(folds.unknown)} videos of unknown recording "
            "are in no fold",
            "boxes are a detector's, smoothed over time (`edge label`): agreement with it, not "
            "truth",
        ],
    )  # fmt: skip
    print(text)
    for kind, row in results.items():
        print(kind, *markdown_table(table_of(row["videos"])), sep="\n")
    return EXIT_OK


def learn(folder: Path, options: CrossOptions, edge: Edge = run_edge) -> None:
    """Train and export one fold, unless that is done.

    Args:
        folder: The fold's own.
        options: What to learn from, and how long.
        edge: Runs `edge` with these words.
    """
    data = folder / "data"
    if options.weights is None:
        _train(folder / "run", options.init, data, options, edge)
    first, trained = _trained(folder, options)
    if options.weights is not None:
        _same_weights(first, folder / "given.sha256")
    if options.finetune_args:
        _train(trained.parent, str(first), data, options, edge, options.finetune_args)
    weights, bundle = judged(folder, options)
    if options.suppression_strength is not None and not weights.exists():
        suppress(trained, weights, options.suppression_strength)
    if not bundle.exists():
        edge(
            "export", "--model", str(weights), "--targets", "xnnpack-int8",
            "--calib-data", f"{data}:train", "--calib-clips", "128", "--out", str(bundle),
        )  # fmt: skip


def _same_weights(given: Path, mark: Path) -> None:
    """Refuse weights other than those of which the fold's folder was made."""
    digest = file_sha256(given)
    if not mark.exists():
        mark.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(mark, digest)
    elif mark.read_text(encoding="ascii") != digest:
        raise ConfigError(
            f"{mark.parent} was made of other weights than {given} holds now; name another --out, "
            f"or delete it"
        )


def _train(
    run: Path, init: str, data: Path, options: CrossOptions, edge: Edge, changes: str = ""
) -> None:
    """Train one run, unless that is done; `changes` come last and so replace what is before."""
    if (run / "done").exists():
        return
    if options.features is not None:  # of all videos but those that it is judged by
        source = (
            "--data", options.features, "--exclude-videos", str(run.with_name(EXCLUDED)),
            "--classes", "joint", "--drop-path", "0.1", "--save-every", "100",
        )  # fmt: skip
    else:
        source = (
            "--data", f"{options.extra_data}+{data}:train*{options.repeat}",
            "--val-data", f"{data}:val", "--val-clips", "0", "--val-every", "0",
            "--cache", str(run.with_name(f"cache-{run.name}" if changes else "cache")),
            "--read-scale", "1.5", "--scale-low", "0.8", "--scale-high", "1.6",
            "--mosaic", "0.15", "--bystanders", options.bystanders, "--save-every", "50",
            *(("--imgsz", options.imgsz) if options.imgsz else ()),
        )  # fmt: skip
    edge(
        "train", "--model", options.model, "--init", init, *source,
        "--optimizer", "muon", "--lr0", str(options.lr0), "--lr-hold", "0.3", "--ema", "0.995",
        "--batch", str(options.batch), "--steps", str(options.steps),
        "--weak-loss", options.weak_loss, "--precision", options.precision, "--workers", "0",
        "--no-tensorboard", *shlex.split(changes),
        *(("--resume", str(run)) if (run / "state.pt").exists() else ("--out", str(run))),
    )  # fmt: skip
    (run / "done").touch()


def suppress(trained: Path, path: Path, strength: float) -> None:
    """Write the same weights, of a model whose neighbouring tokens suppress each other."""
    from edge.model.checkpoint import load_checkpoint, save_checkpoint
    from edge.model.variants import with_suppression

    old = load_checkpoint(trained)
    model = with_suppression(old.model, strength)
    save_checkpoint(path, model, class_names=old.class_names, trained=old.trained, note=old.note)


def _trained(folder: Path, options: CrossOptions) -> tuple[Path, Path]:
    """Return the weights behind the first training of a fold, and those behind all of it."""
    first = folder / "run" / "last.pt"
    if options.weights is not None:
        first = Path(options.weights) / f"{folder.name}.pt"
    if not options.finetune_args:
        return first, first
    second = "then" if options.weights is None else "given-then"
    return first, folder / second / "last.pt"


def judged(folder: Path, options: CrossOptions) -> tuple[Path, Path]:
    """Return the weights and the bundle that a fold is judged by.

    What was made with and without --weights, --finetune-args and --suppression-strength lies side
    by side, or one would be taken for the other where a fold is run again.
    """
    _, weights = _trained(folder, options)
    bundle = "bundle" if options.weights is None else "bundle-given"
    if options.finetune_args:
        bundle += "-then"
    if options.suppression_strength is not None:
        bundle += f"-rivals{options.suppression_strength:g}"
        weights = folder / f"weights-{bundle}.pt"
    return weights, folder / bundle


def _open(data: str, variant: str) -> Any:
    """Return a data set of real videos with the clips that a variant wants."""
    from edge.data.registry import open_dataset
    from edge.model.variants import variant_config

    return open_dataset(data, variant_config(variant).clip)


def _find(folder: Path, options: CrossOptions) -> dict[str, list[Found]]:
    """Return what both models of a fold find in the clips that it is judged by."""
    from edge.data.registry import open_dataset
    from edge.evaluation.clip_metrics import predict
    from edge.evaluation.evaluator import class_order
    from edge.evaluation.options import ModelChoice
    from edge.evaluation.predictors import open_predictor

    models = judged(folder, options)
    predictors = [open_predictor(ModelChoice(model=str(path), num_threads=1)) for path in models]
    dataset: Any = open_dataset(f"{folder / 'data'}:val", predictors[0].shape)
    orders = [class_order(p.class_names, dataset.class_names, p.name) for p in predictors]
    found: dict[str, list[Found]] = {kind: [] for kind in KINDS}
    for index in range(len(dataset)):
        sample, place = dataset[index], dataset.where(index)
        truth = replace(sample, frames_rgb=sample.frames_rgb[:0])
        for kind, predictor, order in zip(KINDS, predictors, orders, strict=True):
            boxes, actor, actions = predictor.run([sample.frames_rgb])[0]
            found[kind].append((truth, place, predict(boxes, actor, actions[:, order])))
    return found


def _count(dataset: Any, by_fold: Sequence[list[Found]], folds: Folds) -> dict[str, Any]:
    """Count what one kind of model found, over all folds and in each."""
    metrics, scores = _metrics(dataset, [one for clips in by_fold for one in clips])
    counted = metrics.result(0.5)
    each = [_metrics(dataset, clips) for clips in by_fold]
    return {
        "clips": len(metrics),
        "people": counted["actors"],
        "actor_ap": counted["actor_ap"],
        "videos": scores.result(),
        "per_fold": [{"actor_ap": m.result(0.5)["actor_ap"], "auc": s.auc()} for m, s in each],
        "nested": nested(scores, folds),
    }


def _metrics(dataset: Any, clips: Sequence[Found]) -> tuple[ClipMetrics, VideoScores]:
    from edge.evaluation.clip_metrics import ClipMetrics

    scores = VideoScores.of(dataset)
    assert scores is not None  # the folds were cut by it
    metrics = ClipMetrics(dataset.class_names, video_level=scores.video_level)
    for truth, place, found in clips:
        metrics.update(truth, found)
        scores.add(place, found)
    return metrics, scores


def nested(scores: VideoScores, folds: Folds) -> dict[str, Any]:
    """Judge each fold at the threshold that is best on all other folds.

    Returns:
        Accuracy with its interval over recordings, and false alarms per hour.
    """
    videos = scores.videos(scores.video_level[0])
    fold_of = {name: fold for fold, test in enumerate(folds.test) for name in test}
    mine = np.array([fold_of[name] for name in videos.names])
    right, events = np.zeros(len(mine), bool), np.zeros(len(mine))
    for fold in range(len(folds.test)):
        others, here = mine != fold, mine == fold
        threshold = best_threshold(videos.score[others], videos.present[others])
        if threshold is None:
            raise EdgeError("all other folds have videos of one kind; take fewer folds")
        right[here] = (videos.score[here] > threshold) == videos.present[here]
        events[here] = videos.alarms(threshold)[here]

    def accuracy(weight: npt.NDArray[np.float64]) -> dict[str, float]:
        return {"accuracy": float((weight * right).sum() / weight.sum())}

    low, high = intervals(videos.source, accuracy)["accuracy"]
    without, hours = ~videos.present, videos.hours
    return {
        "accuracy": float(right.mean()),
        "accuracy_95": [low, high],
        "false_alarms_per_hour": float(events[without].sum() / hours[without].sum()),
        "hours_without": float(hours[without].sum()),
    }


def _row(kind: str, row: dict[str, Any]) -> tuple[str, ...]:
    (video,) = row["videos"].values()
    auc, at = video["roc_auc"], row["nested"]
    return (
        kind, str(video["sources"]), str(row["clips"]), str(row["people"]),
        f"{row['actor_ap']:.3f}", _span(auc), f"{at['accuracy']:.3f} ({at['accuracy_95'][0]:.3f} - "
        f"{at['accuracy_95'][1]:.3f})", f"{at['false_alarms_per_hour']:.0f}",
    )  # fmt: skip


def _span(value: dict[str, Any]) -> str:
    return f"{value['value']:.3f} ({value['low']:.3f} - {value['high']:.3f})"


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
