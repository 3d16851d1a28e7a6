"""Average precision of one ranking: the area under its curve, as VOC or as ACT takes it.

Detections with one score have no order among themselves, yet the area needs one. Whoever sorts them
anyway lets the order of rows decide: on a published file of rounded scores that moves the mAP from
0.12 to 0.19. There are two answers here, and neither looks at the order of rows:

* `fixed`: equals are ordered by what they are (`frames.py` says how), for comparing with tools that
  take some order;
* `spread`: the hits of a group of equals stand evenly spread in it, and the area is the mean over
  where the first of them can stand. A model that gives one score to everything earns what guessing
  does. For scores with few values, such as those of int8, this is the fairer one.

The least and the most that an order of the rows can give are there, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

Ties = Literal["fixed", "spread"]
Curve = Literal["every_point", "trapezoid"]
"""How the area is taken, see `protocols.py`."""
_PHASES = 16  # places of a group's first hit that are tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Detections of one kind by falling score, held against the truth.

    A group is all detections of one score; a threshold can part groups, not what is in one.

    Attributes:
        score: (S,) score of each group, falling.
        count: (S,) detections with this score or a higher one.
        hits: (S,) hits among these.
        places: (H,) where each hit stands, from 1, in the order that the ranking was given.
        num_truth: How many there are to find.
    """

    score: F64
    count: F64
    hits: F64
    places: F64
    num_truth: int

    @property
    def precision(self) -> F64:
        """Share of hits among the detections down to each group."""
        return self.hits / self.count

    @property
    def recall(self) -> F64:
        """Share of the truth that the detections down to each group found."""
        return self.hits / max(self.num_truth, 1)

    def average_precision(
        self, ties: Ties | Literal["least", "most"] = "fixed", *, curve: Curve = "every_point"
    ) -> float:
        """Return the area under the curve, NaN where there is nothing to find.

        Args:
            ties: How equals are ordered, see above; `least` and `most` are the extremes.
            curve: How the area is taken.
        """
        if self.num_truth == 0:
            return float("nan")
        if ties == "fixed":
            return self._area(self.places, curve)
        count_before = np.concatenate([[0.0], self.count[:-1]])
        hits_before = np.concatenate([[0.0], self.hits[:-1]])
        # One entry per hit: the k-th of the t hits among the n detections of its group.
        group = np.repeat(np.arange(len(self.hits)), (self.hits - hits_before).astype(np.int64))
        before, k = count_before[group], np.arange(1.0, len(group) + 1.0) - hits_before[group]
        t, n = (self.hits - hits_before)[group], (self.count - count_before)[group]
        if ties == "most" or bool((t == n).all()):
            return self._area(before + k, curve)
        if ties == "least":
            return self._area(before + n - t + k, curve)
        phases = (np.arange(_PHASES) + 0.5) / _PHASES
        spread = (before + np.ceil((k - u) * n / t) for u in phases)
        return float(np.mean([self._area(places, curve) for places in spread]))

    def _area(self, places: F64, curve: Curve) -> float:
        hits = np.arange(1.0, len(places) + 1.0)
        precision = hits / places
        if curve == "every_point":
            return float(np.maximum.accumulate(precision[::-1]).sum() / self.num_truth)
        # Recall moves at hits only: each adds a trapezoid from the row before it, whose precision
        # is 1 by definition where there is none.
        before = np.divide(hits - 1.0, places - 1.0, out=np.ones_like(hits), where=places > 1.0)
        return float(((precision + before) / 2.0).sum() / self.num_truth)


def rank(score: F64, hit: Bools, num_truth: int) -> Ranking:
    """Count hits down a ranking.

    Args:
        score: (R,) scores, falling; equals in their fixed order, where they have one.
        hit: (R,) whether each detection found something that none before it had found.
        num_truth: How many there are to find.
    """
    last = np.flatnonzero(np.append(score[1:] != score[:-1], len(score) > 0))
    return Ranking(
        score=score[last],
        count=(last + 1).astype(np.float64),
        hits=np.cumsum(hit)[last].astype(np.float64),
        places=(np.flatnonzero(hit) + 1).astype(np.float64),
        num_truth=num_truth,
    )
