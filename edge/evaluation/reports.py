"""The files that an evaluation writes, besides its plots."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.data.samples import ClipDataset
from edge.evaluation.ava import write_label_map, write_rows
from edge.evaluation.boxes import F64, I64, BoxTable
from edge.evaluation.clips import F32, ClipMetrics, plain
from edge.evaluation.frames import evaluate_frames
from edge.evaluation.outputs import ClipOutputs
from edge.evaluation.sheet import Tile, write_sheet
from runtime.decode import Detections

# Rows a keyframe in detections.csv: the AVA challenge's own tool reads no more than the best 50.
CSV_ROWS_PER_CLIP = 50


def per_class(metrics: ClipMetrics, names: Sequence[str], confusion: I64) -> list[list[str]]:
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
            name, str(actors), figure(plain(frames.ap[c])), figure(plain(frames.ap_least[c])),
            figure(plain(frames.ap_most[c])), _part(found, actors), _part(right, actors), other,
        ])  # fmt: skip
    return rows


def write_ava(
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


def _best_rows(found: Detections) -> tuple[F32, I64, F64]:
    """Return boxes, labels and scores of a clip's best rows."""
    score = found.actions.astype(np.float64) * found.actor[:, None].astype(np.float64)
    order = np.argsort(-score, axis=None, kind="stable")[:CSV_ROWS_PER_CLIP]
    token, label = np.unravel_index(order, score.shape)
    return found.xyxy[token], label, score[token, label]


def write_worst(
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


def figure(value: float | None) -> str:
    """Return a figure as text, a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


def _part(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "-"


def write_csv(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write rows, whole or not at all."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    part.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a text, whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
