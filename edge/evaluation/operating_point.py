"""Where on a curve to stand: the threshold of the best F1; and the curve in a few points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.evaluation.average_precision import F64, Ranking


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """What a threshold gives.

    Attributes:
        conf: Threshold; scores strictly above it are kept.
        precision: Share of hits among what is kept.
        recall: Share of the truth that is found.
        f1: Harmonic mean of the two.
    """

    conf: float
    precision: float
    recall: float
    f1: float


def best_f1(ranking: Ranking) -> OperatingPoint | None:
    """Return the threshold with the largest F1; None where nothing is ever hit.

    It lies midway between the lowest score that it keeps and the highest that it drops, so that it
    survives the rounding of another engine; of several with one F1 the one in the widest gap wins.

    Args:
        ranking: Of probabilities, in [0, 1].
    """
    if not len(ranking.score) or ranking.hits[-1] == 0:
        return None
    f1 = 2.0 * ranking.hits / (ranking.count + ranking.num_truth)
    next_lower = np.append(ranking.score[1:], 0.0)
    best = np.flatnonzero(f1 >= f1.max())
    at = int(best[np.argmax((ranking.score - next_lower)[best])])
    return OperatingPoint(
        conf=float((ranking.score[at] + next_lower[at]) / 2.0),
        precision=float(ranking.precision[at]),
        recall=float(ranking.recall[at]),
        f1=float(f1[at]),
    )


def short_curve(ranking: Ranking, *, points: int = 33) -> list[tuple[float, float, float]]:
    """Return (threshold, precision, recall) at about evenly spaced recalls, threshold rising.

    Args:
        ranking: The whole curve.
        points: How many at most.
    """
    if not len(ranking.score):
        return []
    recall: F64 = ranking.recall
    wanted = np.linspace(recall[0], recall[-1], points)
    at = np.unique(np.searchsorted(recall, wanted, side="left").clip(0, len(recall) - 1))[::-1]
    next_lower = np.append(ranking.score[1:], 0.0)
    conf = (ranking.score + next_lower) / 2.0
    rows = np.stack([conf[at], ranking.precision[at], recall[at]], axis=1)
    return [(float(a), float(b), float(c)) for a, b, c in rows.round(6)]
