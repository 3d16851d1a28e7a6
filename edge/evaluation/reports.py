"""The files that an evaluation writes, besides its plots."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.data.annotations import BoxTable, ClipPlace
from edge.data.ava_files import Keyframe, write_label_map, write_rows
from edge.data.dataset import ClipDataset
from edge.evaluation.boxes import F64, I64
from edge.evaluation.clip_metrics import F32, ClipMetrics, plain
from edge.evaluation.decode_errors import EvalClip, read_clip
from edge.evaluation.frames import evaluate_frames
from edge.evaluation.sheet import Tile, write_sheet
from runtime.decode import Detections
from runtime.outputs import atomic_file

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvKeys:
    """How the rows of a CSV name clips and classes.

    Attributes:
        keyframes: Video and second column of each clip.
        labels: Number of each class.
        scales: (K, 4) what the shares of the frame are multiplied by.
    """

    keyframes: tuple[Keyframe, ...]
    labels: I64
    scales: F64


def csv_keys(
    clips: Sequence[EvalClip], places: Sequence[ClipPlace | None], labels: Sequence[int],
    *, in_px: bool,
) -> CsvKeys:  # fmt: skip
    """Return what AVA's format can say of clips: it knows whole numbers only.

    Where each clip lies at a whole second of a video, that second; else the number of its frame;
    where clips lie in no video, each is a video of its own, at second 0.

    Args:
        clips: The clips.
        places: Where they lie, if anywhere.
        labels: Number of each class in the data set's own files.
        in_px: Write px of the original frame, as tubes have, in place of shares.
    """
    known = [place for place in places if place is not None]
    keys = [(clip.sample.clip_id, 0) for clip in clips]
    if known and len(known) == len(clips):
        seconds = [(place.video, round(place.timestamp)) for place in known]
        whole = all(place.timestamp == round(place.timestamp) for place in known)
        whole = whole and not in_px and len(set(seconds)) == len(seconds)
        keys = seconds if whole else [(place.video, place.frame) for place in known]
    sizes = np.array([clip.sample.size_wh for clip in clips], dtype=np.float64).reshape(-1, 2)
    scales = np.tile(sizes, 2) if in_px else np.ones((len(clips), 4))
    return CsvKeys(keyframes=tuple(keys), labels=np.array(labels, np.int64), scales=scales)


def write_ava(
    out: Path,
    names: Sequence[str],
    clips: Sequence[EvalClip],
    found: Sequence[Detections],
    keys: CsvKeys,
) -> float | None:
    """Write detections, truth and classes in AVA's format; return the frame-mAP of the file."""
    best = [_best_rows(detections) for detections in found]
    frame = np.repeat(np.arange(len(clips)), [len(score) for _, _, score in best])
    detections = BoxTable(
        frame=frame,
        label=keys.labels[np.concatenate([label for _, label, _ in best])],
        xyxy=np.concatenate([xyxy for xyxy, _, _ in best]).astype(np.float64) * keys.scales[frame],
        score=np.concatenate([score for _, _, score in best]).astype(np.float32).astype(np.float64),
    )
    person, label = zip(*(np.nonzero(clip.sample.labels > 0.5) for clip in clips), strict=True)
    frame = np.repeat(np.arange(len(clips)), [len(rows) for rows in label])
    truth = BoxTable(
        frame=frame,
        label=keys.labels[np.concatenate(label)],
        xyxy=np.concatenate(
            [clip.sample.boxes[rows] for clip, rows in zip(clips, person, strict=True)]
        ).astype(np.float64) * keys.scales[frame],
    )  # fmt: skip
    write_rows(out / "detections.csv", keys.keyframes, detections)
    write_rows(out / "ground_truth.csv", keys.keyframes, truth)
    write_label_map(out / "classes.pbtxt", names, keys.labels.tolist())
    top = int(keys.labels.max()) + 1
    return plain(evaluate_frames(detections, truth, num_classes=top).mean_ap)


def _best_rows(found: Detections) -> tuple[F32, I64, F64]:
    """Return boxes, labels and scores of a clip's best rows."""
    score = found.actions.astype(np.float64) * found.actor[:, None].astype(np.float64)
    order = np.argsort(-score, axis=None, kind="stable")[:CSV_ROWS_PER_CLIP]
    token, label = np.unravel_index(order, score.shape)
    return found.xyxy[token], label, score[token, label]


def write_worst(
    path: Path,
    dataset: ClipDataset,
    clips: Sequence[EvalClip],
    metrics: ClipMetrics,
    conf: float,
    count: int,
) -> bool:
    """Draw the clips with the most errors, the worst first; those that cannot be decoded are none.

    Returns:
        Whether there was one to draw.
    """
    errors = metrics.errors_by_clip(conf)
    tiles: list[Tile] = []
    for index in np.argsort(-errors, kind="stable").tolist():
        if len(tiles) == count:
            break
        read = None if clips[index].reason else read_clip(dataset, clips[index].index)
        if read is None or read.reason:  # it may have gone since
            continue
        sample = read.sample.with_people(~read.sample.ignore)
        kept, found = metrics.kept(index, conf)
        many = f"{errors[index]} error{'' if errors[index] == 1 else 's'}"
        tiles.append(
            Tile(sample=sample, kept=kept, found=found, caption=f"{sample.clip_id}: {many}")
        )
    if tiles:
        write_sheet(path, tiles, dataset.class_names)
    return bool(tiles)


def left_out_lines(names: Sequence[str]) -> list[str]:
    """Say which classes of the model the data set does not have, if any."""
    if not names:
        return []
    return [f"note: the data set does not have {', '.join(names)}, which the model knows: left out"]


def figure(value: float | None) -> str:
    """Return a figure as text, a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


def _part(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "-"


def write_csv(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write rows, whole or not at all."""
    with atomic_file(path) as part, part.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
