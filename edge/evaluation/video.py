"""Video-mAP: tubes held against true tubes, as the evaluations of UCF101-24 and JHMDB-21 do it.

Two tubes of one video overlap by the mean of their boxes' IoU over the frames that both have, times
the overlap in time. For tubes without gaps that is the number of all of them (ACT, ROAD, YOWO,
MultiSports); with gaps those tools fail, and here it is the sum of the IoU over the frames in both,
divided by the number of frames in either. What else differs between them is in `protocols.py`.

Vectorised: all frames of all tubes stand end to end, and boxes meet by one search.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.data.annotations import Tube
from edge.evaluation.average_precision import Ties, rank
from edge.evaluation.boxes import F64, I64, Overlaps, box_iou
from edge.evaluation.frames import FrameMetrics, claimed, summarise
from edge.evaluation.protocols import PROTOCOLS, TUBES, Rules
from runtime.errors import ConfigError

MANY_IOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""0.5, 0.55, ..., 0.95."""
IOUS = (0.2, *MANY_IOUS)
# Rows of boxes that are compared at a time: about 100 MB of working memory.
_ROWS_AT_A_TIME = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTube(Tube):
    """A tube that a model says.

    Attributes:
        score: Any finite number; higher is surer.
    """

    score: float

    def __post_init__(self) -> None:
        # By name: a dataclass with slots is another class than the one that super() means.
        Tube.__post_init__(self)
        if not np.isfinite(self.score):
            raise ConfigError(f"{self.video}: a tube has the score {self.score}")


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoMetrics:
    """Video-mAP at several overlaps.

    Attributes:
        by_iou: For each overlap what was found, class by class.
    """

    by_iou: Mapping[float, FrameMetrics]

    def mean_ap(self, iou: float) -> float:
        """Return video-mAP at one of the overlaps; NaN where there is nothing to find."""
        return self.by_iou[iou].mean_ap

    @property
    def mean_ap_many(self) -> float:
        """Mean of video-mAP at 0.5, 0.55, ..., 0.95; NaN unless all of them were computed."""
        if not set(MANY_IOUS) <= set(self.by_iou):
            return float("nan")
        return float(np.mean([self.mean_ap(iou) for iou in MANY_IOUS]))


def evaluate_tubes(
    found: Sequence[FoundTube],
    ground_truth: Sequence[Tube],
    *,
    num_classes: int,
    ious: Sequence[float] = IOUS,
    rules: Rules = PROTOCOLS[TUBES].tubes,
    ties: Ties = "fixed",
) -> VideoMetrics:
    """Hold tubes against the truth.

    Args:
        found: Tubes of any videos, in any order; one in a video without truth is an error.
        ground_truth: The true tubes.
        num_classes: Labels are 0 to `num_classes - 1`.
        ious: Least overlaps of a hit, above 0.
        rules: What counts; ACT's by default.
        ties: What to do with equal scores, see `average_precision.py`.

    Raises:
        ConfigError: A label or an overlap is out of range.

    Example:
        A tube that covers three quarters of the true one.

        >>> import numpy as np
        >>> boxes = np.tile(np.array([10, 10, 50, 90], np.float32), (8, 1))
        >>> frames = np.arange(8)
        >>> truth = Tube(video="a", label=0, frames=frames, boxes=boxes)
        >>> found = FoundTube(video="a", label=0, frames=frames[:6], boxes=boxes[:6], score=0.8)
        >>> metrics = evaluate_tubes([found], [truth], num_classes=1)
        >>> metrics.mean_ap(0.5), round(metrics.mean_ap_many, 2)
        (1.0, 0.6)
    """
    for name, tubes in (("found", found), ("true", ground_truth)):
        bad = [tube for tube in tubes if tube.label >= num_classes]
        if bad:
            raise ConfigError(
                f"a {name} tube in {bad[0].video} has the label {bad[0].label}, expected 0 to "
                f"{num_classes - 1}"
            )
    if not ious or not all(0.0 < iou <= 1.0 for iou in ious):
        raise ConfigError(f"the overlaps are {list(ious)}, expected numbers above 0, at most 1")
    # By what they are, so that the order in which they are given never decides.
    found, truth = sorted(found, key=_ranked), sorted(ground_truth, key=_content)
    label = np.array([tube.label for tube in found], dtype=np.int64)
    score = np.array([tube.score for tube in found], dtype=np.float64)
    edges = np.searchsorted(label, range(num_classes + 1))
    num_truth = np.bincount([tube.label for tube in truth], minlength=num_classes)
    pairs = tube_overlaps(found, truth, rules)
    by_iou = {}
    for iou in ious:
        enough = pairs.iou > iou if rules.strict else pairs.iou >= iou
        overlaps = Overlaps(
            detection=pairs.detection[enough], truth=pairs.truth[enough], iou=pairs.iou[enough]
        )
        hit = claimed(overlaps, np.arange(len(found)), rules)
        rankings = []
        for c in range(num_classes):
            rows = slice(edges[c], edges[c + 1])
            rankings.append(rank(score[rows], hit[rows], int(num_truth[c])))
        by_iou[iou] = summarise(rankings, ties=ties, curve=rules.curve)
    return VideoMetrics(by_iou=by_iou)


def tube_overlaps(found: Sequence[Tube], truth: Sequence[Tube], rules: Rules) -> Overlaps:
    """Return the pairs of tubes of one video and class that overlap at all, and by how much.

    Args:
        found: Tubes of any videos.
        truth: Others; among equal overlaps those that come first are first.
        rules: How to count pixels and frames.
    """
    if not (found and truth):
        empty = np.empty(0, dtype=np.int64)
        return Overlaps(detection=empty, truth=empty, iou=np.empty(0))
    keys, true_keys = _keys(found, truth)
    order = np.argsort(true_keys, kind="stable")
    sorted_keys = true_keys[order]
    begin = np.searchsorted(sorted_keys, keys, side="left")
    count = np.searchsorted(sorted_keys, keys, side="right") - begin
    ends = np.cumsum(count)
    detection = np.repeat(np.arange(len(keys)), count)
    place = np.arange(len(detection)) - np.repeat(ends - count, count)
    other = order[np.repeat(begin, count) + place]
    mine, theirs = _Rows.of(found), _Rows.of(truth)
    parts = [
        _overlap(mine, theirs, detection[chunk], other[chunk], rules)
        for chunk in _chunks(mine.count[detection])
    ]
    iou = np.concatenate([np.empty(0), *parts])
    some = iou > 0
    return Overlaps(detection=detection[some], truth=other[some], iou=iou[some])


def suppress(tubes: Sequence[FoundTube], *, iou: float = 0.3) -> list[FoundTube]:
    """Leave out tubes that overlap a better one of their video and class by more than `iou`.

    The ACT-detector does so, at 0.3, before it evaluates: on-line linking may follow one person by
    two tubes that met on the way.

    Returns:
        The tubes that stay, by video, class and falling score.
    """
    ranked = sorted(tubes, key=lambda tube: (tube.video, *_ranked(tube)))
    pairs = tube_overlaps(ranked, ranked, PROTOCOLS[TUBES].tubes)
    near = (pairs.detection > pairs.truth) & (pairs.iou > iou)
    kept = np.ones(len(ranked), dtype=bool)
    order = np.argsort(pairs.detection[near], kind="stable")
    for lower, higher in zip(
        pairs.detection[near][order].tolist(), pairs.truth[near][order].tolist(), strict=True
    ):
        if kept[higher]:
            kept[lower] = False
    return [tube for tube, stays in zip(ranked, kept, strict=True) if stays]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """The boxes of tubes end to end: tube t has rows `start[t]` to `start[t] + count[t] - 1`."""

    start: I64
    count: I64
    frame: I64
    xyxy: F64

    @classmethod
    def of(cls, tubes: Sequence[Tube]) -> _Rows:
        count = np.array([len(tube) for tube in tubes], dtype=np.int64)
        return cls(
            start=np.cumsum(count) - count,
            count=count,
            frame=np.concatenate([tube.frames for tube in tubes]),
            xyxy=np.concatenate([tube.boxes for tube in tubes]).astype(np.float64),
        )

    @property
    def first(self) -> I64:
        first: I64 = self.frame[self.start]
        return first

    @property
    def last(self) -> I64:
        last: I64 = self.frame[self.start + self.count - 1]
        return last


def _overlap(found: _Rows, truth: _Rows, one: I64, other: I64, rules: Rules) -> F64:
    """Return the overlap of tubes `one` of `found` and `other` of `truth`, pair by pair."""
    rows = np.repeat(np.arange(len(one)), found.count[one])
    ends = np.cumsum(found.count[one])
    within = np.arange(len(rows)) - np.repeat(ends - found.count[one], found.count[one])
    mine = found.start[one][rows] + within
    # The rows of the truth rise by tube and frame: one key for both finds the same frame.
    numbers, frames = np.unique(np.concatenate([found.frame, truth.frame]), return_inverse=True)
    span = len(numbers)
    tube = np.repeat(np.arange(len(truth.count)), truth.count)
    keys = tube * span + frames[len(found.frame) :]
    wanted = other[rows] * span + frames[: len(found.frame)][mine]
    theirs = np.searchsorted(keys, wanted).clip(0, len(keys) - 1)
    met = keys[theirs] == wanted
    pair = rows[met]
    iou = box_iou(found.xyxy[mine[met]], truth.xyxy[theirs[met]], pixel=rules.pixel)
    total = np.bincount(pair, weights=iou, minlength=len(one))
    common = np.bincount(pair, minlength=len(one))
    if rules.counts_last:
        union = found.count[one] + truth.count[other] - common
        return np.where(common >= rules.least_frames, total / union, 0.0)
    inter = np.minimum(found.last[one], truth.last[other])
    inter = inter - np.maximum(found.first[one], truth.first[other])
    both = np.maximum(found.last[one], truth.last[other])
    both = both - np.minimum(found.first[one], truth.first[other])
    in_time = np.divide(inter, both, out=np.zeros(len(one)), where=both > 0)
    enough = (common >= rules.least_frames) & (inter > 0)
    return np.divide(total, common, out=np.zeros(len(one)), where=enough) * in_time


def _keys(found: Sequence[Tube], truth: Sequence[Tube]) -> tuple[I64, I64]:
    """Return one number for video and class of each tube."""
    names = sorted({(tube.video, tube.label) for tube in (*found, *truth)})
    number = {name: i for i, name in enumerate(names)}
    return (
        np.array([number[tube.video, tube.label] for tube in found], dtype=np.int64),
        np.array([number[tube.video, tube.label] for tube in truth], dtype=np.int64),
    )


def _chunks(counts: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """Cut pairs where their rows add up to a chunk."""
    if len(counts):
        chunk = np.cumsum(counts) // _ROWS_AT_A_TIME
        yield from np.split(np.arange(len(counts)), np.flatnonzero(np.diff(chunk)) + 1)


def _ranked(tube: FoundTube) -> tuple[object, ...]:
    """Order by class, by falling score, then by what a tube is."""
    return (tube.label, -tube.score, *_content(tube))


def _content(tube: Tube) -> tuple[object, ...]:
    first = tuple(tube.boxes[0].tolist())
    ends = (int(tube.frames[0]), int(tube.frames[-1]))
    return (tube.video, *ends, first, zlib.crc32(tube.frames.tobytes() + tube.boxes.tobytes()))
