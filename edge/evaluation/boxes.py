"""Which boxes overlap: vectorised, in one pass, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.errors import ConfigError

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Pairs of boxes that are compared at a time: about 100 MB of working memory.
_PAIRS_AT_A_TIME = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlaps:
    """Pairs of a detection and a true box that overlap enough.

    Attributes:
        detection: (P,) int64, row of the detection; it rises.
        truth: (P,) int64, row of the true box.
        iou: (P,) float64.
    """

    detection: I64
    truth: I64
    iou: F64


def find_overlaps(
    keys: I64,
    xyxy: F64,
    true_keys: I64,
    true_xyxy: F64,
    *,
    iou: float,
    pixel: float = 0.0,
    strict: bool = False,
) -> Overlaps:
    """Return the pairs of boxes with the same key whose IoU is at least `iou`.

    Args:
        keys: (R,) int64, what must be equal for two boxes to meet: frame, or frame and class.
        xyxy: (R, 4) corners of the detections.
        true_keys: (G,) int64 of the true boxes.
        true_xyxy: (G, 4) corners of the true boxes.
        iou: Least intersection over union, above 0.
        pixel: What a side has more than the difference of its corners.
        strict: An IoU equal to `iou` is not enough.
    """
    if not 0.0 < iou <= 1.0:
        raise ConfigError(f"iou is {iou}, expected above 0 and at most 1")
    # By key, then by corners: among equal overlaps the choice must not hang on the order of rows.
    order = np.lexsort((*true_xyxy.T[::-1], true_keys))
    sorted_keys = true_keys[order]
    first = np.searchsorted(sorted_keys, keys, side="left")
    count = np.searchsorted(sorted_keys, keys, side="right") - first
    met = np.flatnonzero(count)
    parts: list[Overlaps] = []
    for rows in _chunks(met, count[met]):
        many = count[rows]
        ends = np.cumsum(many)
        detection = np.repeat(rows, many)
        place = np.arange(ends[-1]) - np.repeat(ends - many, many)
        truth = order[np.repeat(first[rows], many) + place]
        found = box_iou(xyxy[detection], true_xyxy[truth], pixel=pixel)
        kept = found > iou if strict else found >= iou
        parts.append(Overlaps(detection=detection[kept], truth=truth[kept], iou=found[kept]))
    return Overlaps(
        detection=np.concatenate([np.empty(0, np.int64), *(p.detection for p in parts)]),
        truth=np.concatenate([np.empty(0, np.int64), *(p.truth for p in parts)]),
        iou=np.concatenate([np.empty(0), *(p.iou for p in parts)]),
    )


def best_truth(overlaps: Overlaps, allowed: Bools | None = None) -> tuple[I64, I64]:
    """Return each overlapping detection and the true box that it overlaps most.

    Args:
        overlaps: Pairs, as `find_overlaps` returns them.
        allowed: (G,) which true boxes count; None for all.

    Returns:
        Rows of detections, rising, and the row of the true box of each.
    """
    kept = np.arange(len(overlaps.iou)) if allowed is None else allowed[overlaps.truth].nonzero()[0]
    detection, iou = overlaps.detection[kept], overlaps.iou[kept]
    order = kept[np.lexsort((-iou, detection))]  # stable: the first of equals stays the first
    detection = overlaps.detection[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = detection[1:] != detection[:-1]
    return detection[first], overlaps.truth[order[first]]


def first_claims(detection: I64, truth: I64, place: I64) -> Bools:
    """Return which detections are the first on their true box.

    Args:
        detection: (P,) rows of detections, each once.
        truth: (P,) the true box that each overlaps most.
        place: Where each of all detections stands in the ranking.
    """
    order = np.lexsort((place[detection], truth))
    claimed = truth[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = claimed[1:] != claimed[:-1]
    result = np.zeros(len(order), dtype=bool)
    result[order[first]] = True
    return result


def free_claims(overlaps: Overlaps, place: I64) -> I64:
    """Return the detections that are hits where each may take the best truth that is left.

    Down the ranking, each detection takes, of the true boxes that no higher one took, the one that
    it overlaps most. All ask at once here: a true box keeps the highest that ever asked for it,
    and who is turned away asks for its next best. That ends with the same pairs, in as many rounds
    as a detection has true boxes to ask.

    Args:
        overlaps: Pairs, as `find_overlaps` returns them.
        place: Where each of all detections stands in the ranking.
    """
    order = np.lexsort((-overlaps.iou, overlaps.detection))  # stable, see `find_overlaps`
    detection, truth = overlaps.detection[order], overlaps.truth[order]
    edges = np.flatnonzero(np.append(True, detection[1:] != detection[:-1])[: len(detection)])
    ends = np.append(edges[1:], len(detection))
    asking = edges.copy()  # the pair that each detection asks for; its end when none is left
    while True:
        alive = np.flatnonzero(asking < ends)
        pair = asking[alive]
        turned = alive[~first_claims(detection[pair], truth[pair], place)]
        if not len(turned):
            return detection[pair]
        asking[turned] += 1


def places(order: I64) -> I64:
    """Return where each row stands in an order: the inverse of the permutation."""
    result = np.empty(len(order), dtype=np.int64)
    result[order] = np.arange(len(order))
    return result


def _chunks(rows: I64, counts: I64) -> Iterator[I64]:
    """Cut rows where their counts add up to a chunk."""
    if not len(rows):
        return
    chunk = np.cumsum(counts) // _PAIRS_AT_A_TIME
    yield from np.split(rows, np.flatnonzero(np.diff(chunk)) + 1)


def box_iou(a: F64, b: F64, *, pixel: float = 0.0) -> F64:
    """Return the IoU of boxes (P, 4), row by row; 0 where both are empty."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]) + pixel
    inter = np.prod(np.clip(sides, 0, None), axis=1)
    areas = [np.prod(box[:, 2:] - box[:, :2] + pixel, axis=1) for box in (a, b)]
    union = areas[0] + areas[1] - inter
    result: F64 = np.divide(inter, union, out=np.zeros(len(a)), where=union > 0)
    return result
