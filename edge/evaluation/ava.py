"""AVA's protocol: what of a file of detections counts, and the frame-mAP of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from edge.data.annotations import BoxTable
from edge.data.ava_files import AvaRows, Keyframe
from edge.evaluation.average_precision import Ties
from edge.evaluation.boxes import I64
from edge.evaluation.frames import FrameMetrics, evaluate_frames
from runtime.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class AvaTables:
    """Detections and truth that can be held against each other.

    Attributes:
        found: Detections, their frames numbered as those of the truth.
        truth: The truth.
        labels: Labels that count, rising.
        num_classes: All labels lie below.
        keyframes: How many there are in either.
    """

    found: BoxTable
    truth: BoxTable
    labels: list[int]
    num_classes: int
    keyframes: int


def ava_tables(
    detections: AvaRows,
    ground_truth: AvaRows,
    *,
    excluded: Collection[Keyframe] = (),
    label_map: Iterable[int] | None = None,
) -> AvaTables:
    """Number the keyframes of two files alike and leave out what does not count.

    Args:
        detections: From `read_detections`.
        ground_truth: From `read_ground_truth`.
        excluded: Keyframes that do not count.
        label_map: Labels that count; all that the truth has, by default.

    Raises:
        ConfigError: One file holds pixels and the other shares of the frame.
    """
    tables = [_without(rows, frozenset(excluded)) for rows in (detections, ground_truth)]
    _check_unit(tables[0].boxes, tables[1].boxes)
    # Numbered by name, not by the row they first appear in: the order of rows must not matter.
    keyframes = sorted({key for table in tables for key in table.keyframes})
    number = {key: i for i, key in enumerate(keyframes)}
    found, truth = (
        _renumbered(t.boxes, np.array([number[key] for key in t.keyframes], np.int64))
        for t in tables
    )
    labels = set(truth.label.tolist()) if label_map is None else set(label_map)
    largest = max([*labels, int(found.label.max(initial=0)), int(truth.label.max(initial=0))])
    return AvaTables(
        found=found,
        truth=truth,
        labels=sorted(labels),
        num_classes=largest + 1,
        keyframes=len(keyframes),
    )


def evaluate_ava(
    detections: AvaRows,
    ground_truth: AvaRows,
    *,
    excluded: Collection[Keyframe] = (),
    label_map: Iterable[int] | None = None,
    iou: float = 0.5,
    ties: Ties = "fixed",
) -> FrameMetrics:
    """Hold detections against the truth as the AVA challenge does.

    Args:
        detections: As in `ava_tables`, and so the next three.
        ground_truth: The truth.
        excluded: Keyframes that do not count.
        label_map: Labels that count.
        iou: Least overlap of a hit.
        ties: See `average_precision.py`.

    Returns:
        Metrics whose classes are labels: entry 12 is label 12.

    Raises:
        ConfigError: One file holds pixels and the other shares of the frame.
    """
    tables = ava_tables(detections, ground_truth, excluded=excluded, label_map=label_map)
    return evaluate_frames(
        tables.found,
        tables.truth,
        num_classes=tables.num_classes,
        iou=iou,
        classes=tables.labels,
        ties=ties,
    )


def without_videos(rows: AvaRows, videos: Collection[str]) -> AvaRows:
    """Return the rows of all other videos."""
    return _without(rows, frozenset(key for key in rows.keyframes if key[0] in videos))


def _without(rows: AvaRows, excluded: frozenset[Keyframe]) -> AvaRows:
    if excluded.isdisjoint(rows.keyframes):
        return rows
    kept = np.array([key not in excluded for key in rows.keyframes], dtype=bool)
    mine = kept[rows.boxes.frame]
    score = rows.boxes.score
    place = np.cumsum(kept) - 1
    return AvaRows(
        keyframes=tuple(k for k, keep in zip(rows.keyframes, kept, strict=True) if keep),
        boxes=BoxTable(
            frame=place[rows.boxes.frame[mine]],
            label=rows.boxes.label[mine],
            xyxy=rows.boxes.xyxy[mine],
            score=None if score is None else score[mine],
        ),
    )


def _renumbered(boxes: BoxTable, number: I64) -> BoxTable:
    return BoxTable(
        frame=number[boxes.frame], label=boxes.label, xyxy=boxes.xyxy, score=boxes.score
    )


def _check_unit(found: BoxTable, truth: BoxTable) -> None:
    """Refuse pixels against shares of the frame, which would score 0 without a word."""
    if not (len(found) and len(truth)):
        return
    largest = [float(np.abs(table.xyxy).max()) for table in (found, truth)]
    if min(largest) <= 2.0 and max(largest) > 8.0:
        raise ConfigError(
            f"boxes of the detections go to {largest[0]:g}, those of the truth to {largest[1]:g}: "
            "one file holds pixels, the other shares of the frame"
        )
