"""`edge val` in one call: run a model over a data set, count, and write the reports."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.data.samples import ClipDataset, ClipShape, Frozen
from edge.evaluation.ava import write_label_map, write_rows
from edge.evaluation.boxes import BoxTable
from edge.evaluation.clips import ClipMetrics, plain, predict
from edge.evaluation.frames import evaluate_frames
from edge.evaluation.outputs import (
    ClipOutputs,
    Progress,
    class_order,
    compute_outputs,
    prepare_folder,
    read_outputs,
    state_of,
)
from edge.evaluation.plots import check_matplotlib, plot_confusion, plot_precision_recall
from edge.evaluation.predictors import ModelChoice, Predictor, open_predictor
from edge.evaluation.sheet import Tile, write_sheet
from runtime.decode import Detections
from runtime.errors import ConfigError
from runtime.report import host_facts, markdown_table

# Rows a keyframe in detections.csv: the AVA challenge's own tool reads no more than the best 50.
CSV_ROWS_PER_CLIP = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ValOptions:
    """How to evaluate.

    Attributes:
        out: Folder of the reports.
        conf: Actor threshold; None takes the model's own, or the best F1 where it has none.
        frozen: Show the keyframe only, repeated: what is left is not seen by motion.
        workers: Processes.
        resume: Go on with the outputs that are in `out`.
        overwrite: Begin again, whatever is in `out`.
        plots: Draw the plots.
        worst: How many clips with the most errors to draw; 0 for none.
    """

    out: Path
    conf: float | None = None
    frozen: bool = False
    workers: int = 1
    resume: bool = False
    overwrite: bool = False
    plots: bool = True
    worst: int = 12

    def __post_init__(self) -> None:
        if self.conf is not None and not 0.0 <= self.conf <= 1.0:
            raise ConfigError(f"conf is {self.conf}, expected a value in [0, 1]")
        if not 1 <= self.workers <= 256:
            raise ConfigError(f"workers is {self.workers}, expected 1 to 256")
        if self.worst < 0:
            raise ConfigError(f"worst is {self.worst}, expected 0 or more")
        if self.resume and self.overwrite:
            raise ConfigError("resume and overwrite contradict each other; give one of them")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValReport:
    """A finished evaluation.

    Attributes:
        content: What `metrics.json` holds.
        per_class: Rows of `per_class.csv`, the header first.
        out: Folder of the reports.
        files: Names of the files in it.
    """

    content: dict[str, Any]
    per_class: list[list[str]]
    out: Path
    files: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the figures as text."""
        c, at = self.content, self.content["at_threshold"]
        low, high = c["frame_map_tie_bounds"]
        what = " (frozen: the keyframe repeated)" if c["frozen"] else ""
        lines = [
            f"{c['model']} ({c['precision']}) on {c['data']}{what}: {c['clips']} clips, "
            f"{c['actors']} actors, {c['bystanders']} bystanders",
            *markdown_table(self.per_class),
            f"frame-mAP@0.5  {_text(c['frame_map'])}  ({_text(low)} to {_text(high)} over the "
            "orders of equal scores)",
            f"actor AP@0.5   {_text(c['actor_ap'])}",
            f"θ {at['conf']:.4g} ({c['conf_from']}): precision {_text(at['precision'])}, recall "
            f"{_text(at['recall'])}, F1 {_text(at['f1'])}",
            f"duplicates {_text(at['duplicates_per_actor'])} per actor; false positives "
            f"{_text(at['bystander_fp_per_clip'])} on bystanders, "
            f"{_text(at['elsewhere_fp_per_clip'])} elsewhere per clip",
        ]
        if not c["trained"]:
            lines.append("note: the weights are untrained: these figures mean nothing")
        return [*lines, f"wrote {', '.join(self.files)} to {self.out}"]


def validate(
    choice: ModelChoice,
    open_clips: Callable[[ClipShape], ClipDataset],
    *,
    data: str,
    options: ValOptions,
    progress: Progress | None = None,
) -> ValReport:
    """Evaluate a model on a data set and write the reports.

    Args:
        choice: The model.
        open_clips: Gives the data set for the clips that the model wants.
        data: What reports call the data set.
        options: How.
        progress: Told of the clips that are done.

    Raises:
        ConfigError: The model and the data do not fit, or `out` holds another run.
        ArtifactError: The model is missing or broken.
        BackendUnavailableError: A package or engine is missing here.
        DecodeError: The model gave values that are not finite.
    """
    if options.plots:
        check_matplotlib()
    if options.workers > 1 and choice.num_threads == 0:
        share = max(1, (os.cpu_count() or 1) // options.workers)
        choice = ModelChoice(
            model=choice.model, artifact=choice.artifact, num_threads=share, device=choice.device
        )
    predictor = open_predictor(choice)
    dataset = open_clips(predictor.shape)
    if options.frozen:
        dataset = Frozen(dataset)
    class_order(predictor, dataset)
    folder = options.out / "outputs"
    state = state_of(predictor, dataset, f"{data} frozen" if options.frozen else data)
    prepare_folder(folder, state, resume=options.resume, overwrite=options.overwrite)
    compute_outputs(
        choice, dataset, folder, predictor=predictor, workers=options.workers, progress=progress
    )
    clips = list(read_outputs(folder, len(dataset)))
    found = [predict(*clip.outputs) for clip in clips]
    metrics = ClipMetrics(dataset.class_names)
    for clip, detections in zip(clips, found, strict=True):
        metrics.add(clip.boxes, clip.labels, clip.bystanders, detections)
    return _write(options, predictor, dataset, data, clips, found, metrics)


def _write(
    options: ValOptions,
    predictor: Predictor,
    dataset: ClipDataset,
    data: str,
    clips: Sequence[ClipOutputs],
    found: Sequence[Detections],
    metrics: ClipMetrics,
) -> ValReport:
    """Count and write every report."""
    out, names = options.out, dataset.class_names
    conf, conf_from = _conf(options, predictor, metrics)
    content = {
        "model": predictor.name,
        "model_sha256": predictor.sha256,
        "precision": predictor.precision,
        "trained": predictor.trained,
        "data": data,
        "frozen": options.frozen,
        "conf_from": conf_from,
        **metrics.result(conf),
        "frame_map_of_detections_csv": _write_ava(out, names, clips, found),
        "host": host_facts(),
    }
    files = ["metrics.json", "per_class.csv", "detections.csv", "ground_truth.csv", "classes.pbtxt"]
    table = metrics.confusion(conf)
    rows = _per_class(metrics, names, table)
    _write_csv(out / "per_class.csv", rows)
    title = f"{predictor.name} on {data}{' (frozen)' if options.frozen else ''}"
    if options.plots:
        frames, actors = metrics.frame_metrics(), metrics.actor_ranking()
        plot_precision_recall(
            out / "precision_recall.png", title=title, class_names=names, frames=frames,
            actors=actors, at=metrics.at(conf),
        )  # fmt: skip
        plot_confusion(
            out / "confusion.png", title=title, class_names=names, table=table, conf=conf
        )
        files += ["precision_recall.png", "confusion.png"]
    if options.worst and len(clips):
        _write_worst(out / "worst.jpg", dataset, metrics, conf, options.worst)
        files.append("worst.jpg")
    # Last: where it lies, everything else does.
    _write_text(out / "metrics.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return ValReport(content=content, per_class=rows, out=out, files=tuple(files))


def _conf(options: ValOptions, predictor: Predictor, metrics: ClipMetrics) -> tuple[float, str]:
    """Return the threshold and where it is from."""
    if options.conf is not None:
        return options.conf, "as asked"
    if predictor.conf is not None:
        return predictor.conf, "the artifact's own"
    return metrics.best_conf(), "the best F1 on these very clips"


def _per_class(metrics: ClipMetrics, names: Sequence[str], confusion: Any) -> list[list[str]]:
    """Return the table of classes: AP, and what became of those who do it."""
    frames = metrics.frame_metrics()
    rows = [["class", "actors", "AP@0.5", "AP least", "AP most", "found", "said so", "else said"]]
    for c, name in enumerate(names):
        actors, right = int(frames.num_truth[c]), int(confusion[c, c])
        found = actors - int(confusion[c, -1])
        others = confusion[c, :-1].copy()
        others[c] = 0
        other = f"{names[int(others.argmax())]} ({others.max()})" if others.any() else ""
        rows.append([
            name, str(actors), _text(plain(frames.ap[c])), _text(plain(frames.ap_least[c])),
            _text(plain(frames.ap_most[c])), _part(found, actors), _part(right, actors), other,
        ])  # fmt: skip
    return rows


def _write_ava(
    out: Path, names: Sequence[str], clips: Sequence[ClipOutputs], found: Sequence[Detections]
) -> float | None:
    """Write detections, truth and classes in AVA's format; return the frame-mAP of the file.

    Each clip is a video of that name with one keyframe, at second 0; labels count from 1.
    """
    keyframes = [(clip.clip_id, 0) for clip in clips]
    best = [_best_rows(detections) for detections in found]
    counts = [len(score) for _, _, score in best]
    detections = BoxTable(
        frame=np.repeat(np.arange(len(clips)), counts),
        label=np.concatenate([label for _, label, _ in best]) + 1,
        xyxy=np.concatenate([xyxy for xyxy, _, _ in best]).astype(np.float64),
        score=np.concatenate([score for _, _, score in best]).astype(np.float32).astype(np.float64),
    )
    person, label = zip(*(np.nonzero(clip.labels > 0.5) for clip in clips), strict=True)
    truth = BoxTable(
        frame=np.repeat(np.arange(len(clips)), [len(rows) for rows in label]),
        label=np.concatenate(label) + 1,
        xyxy=np.concatenate(
            [clip.boxes[rows] for clip, rows in zip(clips, person, strict=True)]
        ).astype(np.float64),
    )
    write_rows(out / "detections.csv", keyframes, detections)
    write_rows(out / "ground_truth.csv", keyframes, truth)
    write_label_map(out / "classes.pbtxt", names)
    return plain(evaluate_frames(detections, truth, num_classes=len(names) + 1).mean_ap)


def _best_rows(found: Detections) -> tuple[Any, Any, Any]:
    """Return boxes, labels and scores of a clip's best rows."""
    score = found.actions.astype(np.float64) * found.actor[:, None].astype(np.float64)
    order = np.argsort(-score, axis=None, kind="stable")[:CSV_ROWS_PER_CLIP]
    token, label = np.unravel_index(order, score.shape)
    return found.xyxy[token], label, score[token, label]


def _write_worst(
    path: Path, dataset: ClipDataset, metrics: ClipMetrics, conf: float, count: int
) -> None:
    """Draw the clips with the most errors, the worst first."""
    errors = metrics.errors_by_clip(conf)
    tiles = []
    for index in np.argsort(-errors, kind="stable")[:count].tolist():
        sample = dataset[index]
        kept, found = metrics.kept(index, conf)
        many = f"{errors[index]} error{'' if errors[index] == 1 else 's'}"
        tiles.append(
            Tile(sample=sample, kept=kept, found=found, caption=f"{sample.clip_id}: {many}")
        )
    write_sheet(path, tiles, dataset.class_names)


def _text(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


def _part(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "-"


def _write_csv(path: Path, rows: Sequence[Sequence[str]]) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    part.replace(path)


def _write_text(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
