"""`edge val` in one call: run a model over a data set, count, and write the reports."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge.data.dataset import ClipDataset, RepeatKeyframe
from edge.data.remap import judged
from edge.evaluation.clip_metrics import ClipMetrics
from edge.evaluation.clip_tubes import clip_tubes
from edge.evaluation.decode_errors import EvalClip, content_of, lines_of
from edge.evaluation.evaluator import Evaluator, class_order, tokens_of
from edge.evaluation.options import ModelChoice, ValOptions
from edge.evaluation.outputs import prepare_folder, read_outputs, state_of
from edge.evaluation.plots import check_matplotlib, plot_confusion, plot_precision_recall
from edge.evaluation.predictors import Predictor, open_predictor
from edge.evaluation.protocols import TUBES
from edge.evaluation.reports import (
    csv_keys,
    figure,
    left_out_lines,
    per_class,
    write_ava,
    write_csv,
    write_worst,
)
from edge.evaluation.tube_json import write_tubes
from edge.evaluation.video_scores import lines_of_videos, table_of
from edge.evaluation.workers import compute_outputs
from runtime.decode import Detections
from runtime.outputs import write_atomically
from runtime.report import host_facts, markdown_table
from runtime.types import ClipSpec, Progress

TABLES = ("metrics.json", "per_class.csv", "detections.csv", "ground_truth.csv", "classes.pbtxt")
TUBE_FILE = "tubes.json.gz"
PLOTS = ("precision_recall.png", "confusion.png")
WORST = "worst.jpg"


@dataclass(frozen=True, slots=True, kw_only=True)
class ValReport:
    """A finished evaluation.

    Attributes:
        content: What `metrics.json` holds.
        per_class: Rows of `per_class.csv`, the header first.
        out: Folder of the reports.
        files: Names of the files in it.
        protocols: Frame-mAP and video-mAP by protocol, the header first; none without tubes.
    """

    content: dict[str, Any]
    per_class: list[list[str]]
    out: Path
    files: tuple[str, ...]
    protocols: Sequence[Sequence[str]] = ()

    def lines(self) -> list[str]:
        """Return the figures as text."""
        c, at = self.content, self.content["at_threshold"]
        low, high = c["frame_map_tie_bounds"]
        what = " (frozen: the keyframe repeated)" if c["frozen"] else ""
        lines = [
            f"{c['model']} ({c['precision']}) on {c['data']}{what}: {c['clips']} clips, "
            f"{c['actors']} actors, {c['bystanders']} bystanders"
            + (f", {c['undecided']} who may act" if c["undecided"] else "")
            + (f", {c['ignored']} ignored" if c["ignored"] else ""),
            *([c["classes_joined"]] if c["classes_joined"] else []),
            *left_out_lines(c["classes_left_out"]),
            *markdown_table(self.per_class),
            f"frame-mAP@0.5  {figure(c['frame_map'])}  ({figure(low)} to {figure(high)} over the "
            "orders of equal scores)",
            f"actor AP@0.5   {figure(c['actor_ap'])}",
            f"θ {at['conf']:.4g} ({c['conf_from']}): precision {figure(at['precision'])}, recall "
            f"{figure(at['recall'])}, F1 {figure(at['f1'])}",
            f"duplicates {figure(at['duplicates_per_actor'])} per actor; false positives "
            f"{figure(at['bystander_fp_per_clip'])} on bystanders, "
            f"{figure(at['elsewhere_fp_per_clip'])} elsewhere per clip",
        ]
        if self.protocols:
            made = "trimmed" if c["video"]["trimmed"] else "not trimmed"
            lines += [
                f"{c['video']['true_tubes']} true tubes, {c['video']['found_tubes']} linked "
                f"({made}); figures of protocol {c['video']['protocol']}, others beside it",
                *markdown_table([list(row) for row in self.protocols]),
            ]
        if c["whole_videos"]:
            lines += [*lines_of_videos(c["whole_videos"]),
                      *markdown_table(table_of(c["whole_videos"]))]  # fmt: skip
        lines += lines_of(c)
        if not c["trained"]:
            lines.append("note: the weights are untrained: these figures mean nothing")
        return [*lines, f"wrote {', '.join(self.files)} to {self.out}"]


def validate(
    choice: ModelChoice,
    open_clips: Callable[[ClipSpec], ClipDataset],
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
        CaptureError: More than a tenth of the clips cannot be decoded.
        DecodeError: The model gave values that are not finite.
    """
    if options.plots:
        check_matplotlib()
    begun = _begin(choice, open_clips, data, options)
    predictor, dataset, folder = begun.predictor, begun.dataset, begun.folder
    compute_outputs(
        begun.choice, dataset, folder, predictor=predictor, workers=options.workers,
        progress=progress,
    )  # fmt: skip
    # None of an older run may stand beside the new ones.
    for name in (*TABLES, *PLOTS, WORST, TUBE_FILE):
        (options.out / name).unlink(missing_ok=True)
    every = list(read_outputs(folder, len(dataset)))
    clips = [clip for clip in every if clip.has_truth]
    found = [tokens_of(clip) for clip in clips]
    evaluator = Evaluator(dataset)
    for clip, tokens in zip(clips, found, strict=True):
        evaluator.add(clip.index, clip.sample, tokens)
    also = {
        "classes_joined": begun.joins,
        **content_of([clip for clip in every if clip.reason]),
    }
    return _write(options, begun, data, clips, found, evaluator, also)


def compute_share(
    choice: ModelChoice,
    open_clips: Callable[[ClipSpec], ClipDataset],
    *,
    data: str,
    options: ValOptions,
    progress: Progress | None = None,
) -> list[str]:
    """Run a model over one share of a data set; `validate` with `resume` then counts all of them.

    Shares may run in any order and at the same time, on machines that see the same folder.

    Args:
        choice: As for `validate`.
        open_clips: As for `validate`.
        data: As for `validate`.
        options: How; `shard` is the share.
        progress: Told of the clips that are done.

    Returns:
        What was done, as text.

    Raises:
        EdgeError: As `validate`.
    """
    assert options.shard is not None
    begun = _begin(choice, open_clips, data, options)
    done = compute_outputs(
        begun.choice, begun.dataset, begun.folder, predictor=begun.predictor,
        workers=options.workers, shard=options.shard, progress=progress,
    )  # fmt: skip
    share, shares = options.shard
    return [
        f"share {share + 1} of {shares}: {done} of {len(begun.dataset)} clips are in {options.out}",
        "When all shares are done: the same command with --resume in place of --shard counts them",
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """A model and clips that fit each other, and the folder of this very run.

    Attributes:
        choice: The model, with its threads.
        predictor: The loaded model.
        dataset: The clips.
        joins: How labels were joined, for a reader; None where they were not.
        folder: Of the outputs.
    """

    choice: ModelChoice
    predictor: Predictor
    dataset: ClipDataset
    joins: str | None
    folder: Path


def _begin(
    choice: ModelChoice,
    open_clips: Callable[[ClipSpec], ClipDataset],
    data: str,
    options: ValOptions,
) -> _Begun:
    """Load the model, open the clips, and make the folder ready."""
    if options.workers > 1 and choice.num_threads == 0:
        share = max(1, (os.cpu_count() or 1) // options.workers)
        choice = replace(choice, num_threads=share)
    predictor = open_predictor(choice)
    spec = data if options.spec is None else options.spec
    dataset, joins = judged(
        open_clips(predictor.shape), spec, predictor.class_names, options.classes
    )
    if options.frozen:
        dataset = RepeatKeyframe(dataset)
    class_order(predictor.class_names, dataset.class_names, predictor.name)
    folder = options.out / "outputs"
    state = state_of(predictor, dataset, f"{data} frozen" if options.frozen else data)
    prepare_folder(
        folder, state, resume=options.resume, overwrite=options.overwrite,
        shared=options.shard is not None,
    )  # fmt: skip
    return _Begun(choice=choice, predictor=predictor, dataset=dataset, joins=joins, folder=folder)


def _write(
    options: ValOptions,
    begun: _Begun,
    data: str,
    clips: Sequence[EvalClip],
    found: Sequence[Detections],
    evaluator: Evaluator,
    also: dict[str, Any],
) -> ValReport:
    """Count and write every report."""
    predictor, dataset, metrics = begun.predictor, begun.dataset, evaluator.metrics
    out, names = options.out, dataset.class_names
    conf, conf_from = _conf(options, predictor, metrics)
    places = [dataset.where(clip.index) for clip in clips]
    known = [place for place in places if place is not None]
    truth = dataset.tubes() if len(known) == len(clips) else []
    labels = dataset.label_ids
    keys = csv_keys(clips, places, labels, in_px=bool(truth))
    content = {
        "model": predictor.name,
        "model_sha256": predictor.sha256,
        "precision": predictor.precision,
        "trained": predictor.trained,
        "data": data,
        "frozen": options.frozen,
        "classes_left_out": [name for name in predictor.class_names if name not in names],
        "conf_from": conf_from,
        **metrics.result(conf),
        "whole_videos": {} if evaluator.videos is None else evaluator.videos.result(),
        "frame_map_of_detections_csv": write_ava(out, names, clips, found, keys),
        **also,
        "host": host_facts(),
    }
    files = list(TABLES)
    table = metrics.confusion(conf)
    rows = per_class(metrics, names, table)
    protocols: list[list[str]] = []
    if truth:
        results, tubes, config = clip_tubes(
            clips, found, known, truth, class_names=names, protocol=options.protocol or TUBES
        )
        content["video"] = {"trimmed": config.trim, **results.content()}
        # The class stands there already.
        rows = [row + more[1:] for row, more in zip(rows, results.per_class(), strict=True)]
        protocols = results.by_protocol()
        write_tubes(out / TUBE_FILE, names, tubes)
        files.append(TUBE_FILE)
    write_csv(out / "per_class.csv", rows)
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
        files += PLOTS
    count = options.worst
    if count and write_worst(out / WORST, dataset, clips, metrics, conf, count):
        files.append(WORST)
    # Last: where it lies, everything else does.
    write_atomically(out / "metrics.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return ValReport(
        content=content, per_class=rows, out=out, files=tuple(files), protocols=protocols
    )


def _conf(options: ValOptions, predictor: Predictor, metrics: ClipMetrics) -> tuple[float, str]:
    """Return the threshold and where it is from."""
    if options.conf is not None:
        return options.conf, "as asked"
    if predictor.conf is not None:
        return predictor.conf, "the artifact's own"
    return metrics.best_conf(), "the best F1 on these very clips"
