"""People followed from sample to sample: sure boxes begin a track, unsure ones may continue it.

The idea of two thresholds is ByteTrack's. Here the video is whole, so tracks are also followed
back in time from where they began, and a person who walks in small and unsure is had from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edge.labelling.fuse import Boxes, overlaps
from edge.labelling.packages import scipy_optimize

F64 = npt.NDArray[np.float64]

# Boxes are compared enlarged by this share of their size, so that a quick person, whose boxes
# of an eighth of a second apart may not touch, is still the nearest to where they were.
_BUFFER = 0.3
_LEAST_OVERLAP_SURE = 0.2
_LEAST_OVERLAP_UNSURE = 0.4
# A box that lies so far over a person who is followed already begins no track.
_TAKEN = 0.6
_PACE_KEPT = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackRules:
    """Who is followed, and for how long unseen.

    Attributes:
        conf: Least score of a box that begins a track.
        low_conf: Least score of a box that continues one.
        max_gap: So many samples may miss between two boxes of a track.
    """

    conf: float
    low_conf: float
    max_gap: int


@dataclass(slots=True)
class Path:
    """One person's boxes, by the number of the sample.

    Attributes:
        boxes: Sample -> xyxy px.
        scores: Sample -> score.
    """

    boxes: dict[int, F64] = field(default_factory=dict)
    scores: dict[int, float] = field(default_factory=dict)
    _pace: F64 = field(default_factory=lambda: np.zeros(2))
    _newest: int = 0

    def add(self, sample: int, box: F64, score: float) -> None:
        """Take the box of a sample; the pace follows."""
        if self.boxes:
            before = self.boxes[self._newest]
            moved = (_centre(box) - _centre(before)) / abs(sample - self._newest)
            self._pace = _PACE_KEPT * self._pace + (1 - _PACE_KEPT) * moved
        self.boxes[sample], self.scores[sample], self._newest = box, score, sample

    def age(self, sample: int) -> int:
        """Return how many samples lie between the newest box and this one."""
        return abs(sample - self._newest)

    def expected(self, sample: int) -> F64:
        """Return where the person should be."""
        # Half of a long gap at most: people who hide behind something also stop there.
        ahead = min(self.age(sample), 3)
        return np.asarray(self.boxes[self._newest] + np.tile(self._pace * ahead, 2))

    def turned(self) -> None:
        """Go back in time from the first box on."""
        order = sorted(self.boxes)[:4]
        self._newest, self._pace = order[0], np.zeros(2)
        if len(order) > 1:
            span = _centre(self.boxes[order[0]]) - _centre(self.boxes[order[-1]])
            self._pace = span / (order[-1] - order[0])


def follow(samples: Sequence[Boxes], rules: TrackRules) -> list[Path]:
    """Follow everyone through the samples of a video.

    Args:
        samples: Boxes of each sample, in px.
        rules: Thresholds.

    Returns:
        Paths with gaps, by their first sample.
    """
    free = [np.ones(len(boxes), bool) & (boxes.scores >= rules.low_conf) for boxes in samples]
    done: list[Path] = []
    active: list[Path] = []
    for number, boxes in enumerate(samples):
        done += [path for path in active if path.age(number) > rules.max_gap + 1]
        active = [path for path in active if path.age(number) <= rules.max_gap + 1]
        sure = boxes.scores >= rules.conf
        rest = _continue(active, number, boxes, free[number], sure, _LEAST_OVERLAP_SURE)
        _continue(rest, number, boxes, free[number], ~sure, _LEAST_OVERLAP_UNSURE)
        active += _begin(active, number, boxes, free[number], sure)
    paths = sorted(done + active, key=lambda path: min(path.boxes))
    for path in paths:
        _follow_back(path, samples, free, rules)
    return sorted(paths, key=lambda path: (min(path.boxes), path.boxes[min(path.boxes)][0]))


def _continue(
    paths: list[Path],
    number: int,
    boxes: Boxes,
    free: npt.NDArray[np.bool_],
    which: npt.NDArray[np.bool_],
    least: float,
) -> list[Path]:
    """Give free boxes to paths, the most overlap in all; return the paths without one."""
    choice = np.flatnonzero(free & which)
    if not len(choice) or not paths:
        return paths
    expected = np.stack([path.expected(number) for path in paths])
    over = overlaps(_enlarged(expected), _enlarged(boxes.xyxy[choice]))
    # Where two paths would have the same box, the one seen last has it.
    age = np.array([path.age(number) for path in paths])[:, None]
    value = np.where(over >= least, over - 0.02 * np.minimum(age - 1, 10), 0.0)
    rows, columns = scipy_optimize().linear_sum_assignment(-value)
    left = list(range(len(paths)))
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if over[row, column] < least:
            continue
        index = int(choice[column])
        paths[row].add(number, boxes.xyxy[index].astype(np.float64), float(boxes.scores[index]))
        free[index] = False
        left.remove(row)
    return [paths[row] for row in left]


def _begin(
    active: list[Path],
    number: int,
    boxes: Boxes,
    free: npt.NDArray[np.bool_],
    sure: npt.NDArray[np.bool_],
) -> list[Path]:
    here = [path.boxes[number] for path in active if number in path.boxes]
    new: list[Path] = []
    for index in np.flatnonzero(free & sure).tolist():
        box = boxes.xyxy[index].astype(np.float64)
        if here and overlaps(box[None], np.stack(here)).max() > _TAKEN:
            continue
        path = Path()
        path.add(number, box, float(boxes.scores[index]))
        free[index] = False
        here.append(box)
        new.append(path)
    return new


def _follow_back(
    path: Path,
    samples: Sequence[Boxes],
    free: list[npt.NDArray[np.bool_]],
    rules: TrackRules,
) -> None:
    """Continue a path before its first box with boxes that nobody has."""
    path.turned()
    number = min(path.boxes) - 1
    while number >= 0 and path.age(number) <= rules.max_gap + 1:
        every = np.ones(len(samples[number]), bool)
        _continue([path], number, samples[number], free[number], every, _LEAST_OVERLAP_UNSURE)
        number -= 1


def _centre(box: F64) -> F64:
    return np.asarray((box[:2] + box[2:]) / 2)


def _enlarged(boxes: npt.NDArray[np.floating]) -> F64:
    xyxy = boxes.astype(np.float64)
    grow = (xyxy[:, 2:] - xyxy[:, :2]) * (_BUFFER / 2)
    return np.concatenate([xyxy[:, :2] - grow, xyxy[:, 2:] + grow], axis=1)
