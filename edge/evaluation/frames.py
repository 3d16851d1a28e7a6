"""Frame-mAP as the AVA challenge counts it: per class, many labels a box, IoU 0.5.

A detection is held against the true box of its class and frame that it overlaps most. It is a hit
where the overlap is enough and no detection with a higher score took that box; else it is an error,
even where it overlaps another box as well. UCF101-24 and JHMDB-21 count every frame of a video, by
other rules: `rules` takes them from `protocols.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.data.annotations import BoxTable
from edge.evaluation.average_precision import Curve, Ranking, Ties, rank
from edge.evaluation.boxes import (
    Overlaps,
    best_truth,
    find_overlaps,
    first_claims,
    free_claims,
    places,
)
from edge.evaluation.protocols import PROTOCOLS, Rules
from runtime.errors import ConfigError

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameMetrics:
    """What was found, class by class; NaN for a class with nothing to find.

    Attributes:
        ap: (C,) average precision.
        ap_least: (C,) the least that an order of tied rows can give.
        ap_most: (C,) the most.
        num_truth: (C,) true boxes.
        num_detections: (C,) detections.
        rankings: For each class its curve.
    """

    ap: F64
    ap_least: F64
    ap_most: F64
    num_truth: I64
    num_detections: I64
    rankings: tuple[Ranking, ...]

    @property
    def mean_ap(self) -> float:
        """Mean over the classes that have something to find; NaN where none has."""
        return mean_of_known(self.ap)

    @property
    def tie_bounds(self) -> tuple[float, float]:
        """The least and the most that the mean can be, over all orders of tied rows."""
        return mean_of_known(self.ap_least), mean_of_known(self.ap_most)


def evaluate_frames(
    detections: BoxTable,
    ground_truth: BoxTable,
    *,
    num_classes: int,
    iou: float = 0.5,
    classes: Iterable[int] | None = None,
    ties: Ties = "fixed",
    rules: Rules = PROTOCOLS["ava"].frames,
) -> FrameMetrics:
    """Hold detections against the truth.

    Args:
        detections: With scores; their rows may come in any order.
        ground_truth: One row for each label of each box.
        num_classes: Labels are 0 to `num_classes - 1`.
        iou: Least overlap of a hit, above 0.
        classes: Labels that count; rows of others are left out. All by default.
        ties: What to do with equal scores, see `average_precision.py`.
        rules: What counts as a hit and how the area is taken; AVA's by default.

    Raises:
        ConfigError: Detections have no scores, or a label is out of range.

    Example:
        One frame with one person of class 0; the second detection is a duplicate.

        >>> import numpy as np
        >>> box = np.array([[0.1, 0.1, 0.5, 0.9]])
        >>> one, two = np.zeros(1, np.int64), np.zeros(2, np.int64)
        >>> truth = BoxTable(frame=one, label=one, xyxy=box)
        >>> scores = np.array([0.9, 0.4])
        >>> found = BoxTable(frame=two, label=two, xyxy=np.repeat(box, 2, axis=0), score=scores)
        >>> metrics = evaluate_frames(found, truth, num_classes=1)
        >>> metrics.mean_ap
        1.0
    """
    if detections.score is None:
        raise ConfigError("the detections have no scores")
    for name, table in (("detection", detections), ("ground-truth", ground_truth)):
        bad = np.flatnonzero((table.label < 0) | (table.label >= num_classes))
        if len(bad):
            raise ConfigError(
                f"{name} row {bad[0]} has the label {table.label[bad[0]]}, expected 0 to "
                f"{num_classes - 1}"
            )
    counts = np.ones(num_classes, dtype=bool)
    if classes is not None:
        counts[:] = False
        counts[list(classes)] = True
    found, truth = _only(detections, counts), _only(ground_truth, counts)
    assert found.score is not None
    order = _by_class_and_score(found, found.score)
    hit = _hits(found, truth, num_classes, order, iou, rules)[order]
    score, edges = found.score[order], np.searchsorted(found.label[order], range(num_classes + 1))
    num_truth = np.bincount(truth.label, minlength=num_classes)
    rankings = []
    for label in range(num_classes):
        rows = slice(edges[label], edges[label + 1])
        rankings.append(rank(score[rows], hit[rows], int(num_truth[label])))
    return summarise(rankings, ties=ties, curve=rules.curve)


def summarise(
    rankings: Iterable[Ranking], *, ties: Ties, curve: Curve = "every_point"
) -> FrameMetrics:
    """Return the metrics of one ranking for each class; `ties` and `curve` as in `Ranking`."""
    rows = tuple(rankings)
    return FrameMetrics(
        ap=np.array([row.average_precision(ties, curve=curve) for row in rows]),
        ap_least=np.array([row.average_precision("least", curve=curve) for row in rows]),
        ap_most=np.array([row.average_precision("most", curve=curve) for row in rows]),
        num_truth=np.array([row.num_truth for row in rows], dtype=np.int64),
        num_detections=np.array([row.count[-1] if len(row.count) else 0 for row in rows], np.int64),
        rankings=rows,
    )


def mean_of_known(values: F64) -> float:
    """Return the mean of what is not NaN; NaN where nothing is left."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _only(table: BoxTable, counts: npt.NDArray[np.bool_]) -> BoxTable:
    kept = counts[table.label]
    if kept.all():
        return table
    score = None if table.score is None else table.score[kept]
    return BoxTable(
        frame=table.frame[kept], label=table.label[kept], xyxy=table.xyxy[kept], score=score
    )


def _by_class_and_score(found: BoxTable, score: F64) -> I64:
    """Return the order of rows by class, then by falling score, then by what they are.

    Among equals the box that begins lower in the picture goes first. Any order would be as right;
    in this one the published answers that we compare with come out as they were published.
    """
    x1, y1, x2, y2 = found.xyxy.T
    return np.lexsort((found.frame, y2, x2, x1, -y1, -score, found.label))


def _hits(
    found: BoxTable, truth: BoxTable, num_classes: int, order: I64, iou: float, rules: Rules
) -> npt.NDArray[np.bool_]:
    """Return which detections are hits, of rows that are ranked in an order."""
    # Numbered from 0, so that frame and class fit one key whatever the frames are called.
    _, number = np.unique(np.concatenate([found.frame, truth.frame]), return_inverse=True)
    key = number.astype(np.int64) * num_classes + np.concatenate([found.label, truth.label])
    overlaps = find_overlaps(
        key[: len(found)], found.xyxy, key[len(found) :], truth.xyxy,
        iou=iou, pixel=rules.pixel, strict=rules.strict,
    )  # fmt: skip
    return claimed(overlaps, order, rules)


def claimed(overlaps: Overlaps, order: I64, rules: Rules) -> npt.NDArray[np.bool_]:
    """Return which of R detections are hits.

    Args:
        overlaps: Detections and truth that overlap enough.
        order: (R,) rows of the detections as they are ranked, each once.
        rules: Whether a detection may take what it overlaps second.
    """
    hit, place = np.zeros(len(order), dtype=bool), places(order)
    if rules.claims == "free":
        hit[free_claims(overlaps, place)] = True
        return hit
    detection, taken = best_truth(overlaps)
    hit[detection] = first_claims(detection, taken, place)
    return hit
