"""What a model learns of people and of a video's label, judged by recordings it never saw.

`python -m benchmarks.cross_validation --data labelled/ --groups sources.csv --init base.pt` cuts a
folder of `edge label` into folds by recording, fine-tunes a model for each, exports it to int8, and
judges both, the float32 checkpoint in torch and the program in the device's engine, by the videos
of that fold. What is finished is kept: run it again to go on. Clips are put together before
anything is counted, with intervals over recordings.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._child import run_edge
from benchmarks._cross.folds import (
    CALIBRATION,
    Folds,
    read_present,
    read_sources,
    split_by_source,
    write_fold,
)
from edge.evaluation.video_scores import VideoScores, best_threshold, table_of
from runtime.errors import ConfigError, EdgeError
from runtime.options import EXIT_OK, OptionParser, guarded, option
from runtime.report import markdown_table, write_report

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

    data: str = option("labelled", "folder of `edge label`, with video_labels.csv", metavar="DIR")
    groups: str = option("sources.csv", "CSV of clip,source: which clips are of one recording")
    label: int = option(2, "number of the action that video_labels.csv is about")
    model: str = option("nano", "variant", choices=("pico", "nano", "tiny"))
    init: str = option("weights/nano/model.pt", "weights that have seen none of these recordings")
    beside: str = option("synthetic-train:4000", "further data to learn from in each fold")
    repeat: int = option(8, "how often a fold's clips occur beside those")
    folds: int = option(5, "folds")
    only: str | None = option(None, "work on these folds alone, such as 0,2; then no report")
    steps: int = option(450, "steps of each fold")
    batch: int = option(16, "clips of a step")
    lr0: float = option(1e-3, "highest learning rate (Muon)")
    weak_loss: str = option("mil", "as of `edge train`", choices=("mil", "copy"))
    precision: str = option("fp32", "as of `edge train`", choices=("fp32", "bf16"))
    out: str = option("runs/bench/cross_validation", "folder for runs and reports")
    verbose: bool = option(False, "show tracebacks")


def main(argv: Sequence[str]) -> int:
    """Train, export and judge every fold; write cross_validation.json and .md."""
    options = OptionParser(prog="benchmarks.cross_validation", description=__doc__).parse_into(
        CrossOptions, argv
    )
    data, out = Path(options.data), Path(options.out)
    present = read_present(data, options.label)
    folds = split_by_source(
        read_sources(Path(options.groups), sorted(present)), present, options.folds
    )
    chosen = (
        [int(word) for word in options.only.split(",")] if options.only else range(options.folds)
    )
    for fold in chosen:
        if not 0 <= fold < options.folds:
            raise ConfigError(f"--only names fold {fold}, expected 0 to {options.folds - 1}")
        folder = out / f"fold{fold}"
        write_fold(data, folder / "data", folds, fold)
        _learn(folder, options)
    if options.only:
        return EXIT_OK
    results = {kind: _judge(kind, folds, out) for kind in KINDS}
    command = "python -m benchmarks.cross_validation " + " ".join(argv)
    notes = [
        f"{options.model} from {Path(options.init).name}, {options.steps} steps of {options.batch} "
        f"clips each ({options.beside} and the fold's own {options.repeat} times), {options.folds} "
        f"folds by recording; {len(folds.unknown)} videos of unknown recording are in no fold",
        "boxes are a detector's, smoothed over time (`edge label`): agreement with it, not truth",
    ]
    text = write_report(
        out, "cross_validation", title="Recordings never seen", command=command,
        content={"folds": [list(names) for names in folds.test],
                 "unknown": list(folds.unknown), "results": results},
        table=[_HEADER, *(_row(kind, row) for kind, row in results.items())], notes=notes,
    )  # fmt: skip
    print(text)
    for kind, row in results.items():
        print(kind, *markdown_table(table_of(row["videos"])), sep="\n")
    return EXIT_OK


def _learn(folder: Path, options: CrossOptions) -> None:
    """Train and export one fold, unless that is done."""
    run, bundle, data = folder / "run", folder / "bundle", folder / "data"
    if not (run / "done").exists():
        run_edge(
            "train", "--model", options.model, "--init", options.init,
            "--data", f"{options.beside}+{data}:train*{options.repeat}",
            "--val-data", f"{data}:val", "--val-clips", "0", "--val-every", "0",
            "--cache", str(folder / "cache"), "--read-scale", "1.5", "--scale-low", "0.8",
            "--scale-high", "1.6", "--mosaic", "0.15",
            "--optimizer", "muon", "--lr0", str(options.lr0), "--lr-hold", "0.3", "--ema", "0.995",
            "--batch", str(options.batch), "--steps", str(options.steps),
            "--weak-loss", options.weak_loss,
            "--precision", options.precision, "--workers", "0", "--save-every", "50",
            "--no-tensorboard", *(["--resume", str(run)] if (run / "state.pt").exists()
                                  else ["--out", str(run)]),
        )  # fmt: skip
        (run / "done").touch()
    if not bundle.exists():
        run_edge(
            "export", "--model", str(run / "last.pt"), "--targets", "xnnpack-int8",
            "--calib-data", str(data / CALIBRATION), "--calib-clips", "128", "--out", str(bundle),
        )  # fmt: skip


def _judge(kind: str, folds: Folds, out: Path) -> dict[str, Any]:
    """Count over all folds what one kind of model found in the videos it never saw."""
    from edge.evaluation.clips import ClipMetrics

    metrics: ClipMetrics | None = None
    scores: VideoScores | None = None
    per_fold = []
    for fold in range(len(folds.test)):
        folder = out / f"fold{fold}"
        model = folder / "run" / "last.pt" if kind == KINDS[0] else folder / "bundle"
        mine: tuple[ClipMetrics, VideoScores] | None = None
        for sample, place, found, labels, names, seconds in _found(model, folder / "data"):
            if metrics is None or scores is None:
                weak = [int(i) for i in np.flatnonzero(labels.weak)]
                metrics = ClipMetrics(names, weak=weak)
                scores = VideoScores(labels, names, {})
            if mine is None:
                weak = [int(i) for i in np.flatnonzero(labels.weak)]
                mine = ClipMetrics(names, weak=weak), VideoScores(labels, names, seconds)
            scores.seconds = {**scores.seconds, **seconds}
            for metric, score in ((metrics, scores), mine):
                metric.update(sample, found)
                score.add(place, found)
        assert mine is not None
        per_fold.append({"actor_ap": mine[0].result(0.5)["actor_ap"], "auc": mine[1].auc()})
    assert metrics is not None
    assert scores is not None
    counted = metrics.result(0.5)
    return {
        "clips": len(metrics),
        "people": counted["actors"],
        "actor_ap": counted["actor_ap"],
        "videos": scores.result(),
        "per_fold": per_fold,
        "nested": nested(scores, folds),
    }


def _found(model: Path, data: Path) -> Iterator[tuple[Any, ...]]:
    """Yield each clip a fold is judged by, and what a model finds there."""
    from edge.data.annotations import place_of
    from edge.data.registry import open_dataset
    from edge.data.video_labels import video_labels_of
    from edge.evaluation.clips import predict
    from edge.evaluation.predictors import ModelChoice, open_predictor
    from edge.evaluation.workers import class_order

    predictor = open_predictor(ModelChoice(model=str(model), num_threads=1))
    dataset: Any = open_dataset(f"{data}:val", predictor.shape)
    order = class_order(predictor, dataset)
    labels = video_labels_of(dataset)
    seconds = {name: float(one.end_s - one.start_s) for name, one in dataset.media.items()}
    for index in range(len(dataset)):
        sample = dataset[index]
        boxes, actor, actions = predictor.run([sample.frames_rgb])[0]
        found = predict(boxes, actor, actions[:, order])
        yield sample, place_of(dataset, index), found, labels, dataset.class_names, seconds


def nested(scores: VideoScores, folds: Folds) -> dict[str, Any]:
    """Judge each fold at the threshold that is best on all other folds.

    Returns:
        Accuracy with its interval over recordings, and false alarms per hour.
    """
    videos = scores.videos(scores.weak[0])
    fold_of = {name: fold for fold, test in enumerate(folds.test) for name in test}
    mine = np.array([fold_of[_stem(name, fold_of)] for name in videos.names])
    right, events = np.zeros(len(mine), bool), np.zeros(len(mine))
    for fold in range(len(folds.test)):
        others, here = mine != fold, mine == fold
        threshold = best_threshold(videos.score[others], videos.present[others])
        if threshold is None:
            raise EdgeError("all other folds have videos of one kind; take fewer folds")
        right[here] = (videos.score[here] > threshold) == videos.present[here]
        events[here] = videos.alarms(threshold)[here]
    sources = np.array([folds.source[_stem(name, fold_of)] for name in videos.names])
    low, high = _interval(right.astype(float), sources)
    without, hours = ~videos.present, videos.hours
    return {
        "accuracy": float(right.mean()),
        "accuracy_95": [low, high],
        "false_alarms_per_hour": float(events[without].sum() / hours[without].sum()),
        "hours_without": float(hours[without].sum()),
    }


def _stem(name: str, known: Mapping[str, int]) -> str:
    """Return a video's name as the tables write it: with its suffix or without."""
    return name if name in known else name.rpartition(".")[0]


def _interval(values: np.ndarray[Any, Any], sources: np.ndarray[Any, Any]) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    groups = [np.flatnonzero(sources == one) for one in np.unique(sources)]
    drawn = [
        values[np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))])]
        .mean() for _ in range(2000)
    ]  # fmt: skip
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


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
