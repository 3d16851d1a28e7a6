"""People followed from sample to sample, and made whole: gaps filled, jitter smoothed.

Sure boxes begin a track, unsure ones may continue it; the idea of two thresholds is ByteTrack's.
Here the video is whole, so tracks are also followed back in time from where they began, and a
person who walks in small and unsure is had from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edge.labelling.boxes import Boxes, areas, overlaps
from edge.labelling.packages import needed

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
class Tracklet:
    """One person's boxes by the number of the sample, with gaps.

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


def follow(samples: Sequence[Boxes], rules: TrackRules) -> list[Tracklet]:
    """Follow everyone through the samples of a video.

    Args:
        samples: Boxes of each sample, in px.
        rules: Thresholds.

    Returns:
        Tracklets with gaps, by their first sample.
    """
    free = [np.ones(len(boxes), bool) & (boxes.scores >= rules.low_conf) for boxes in samples]
    done: list[Tracklet] = []
    active: list[Tracklet] = []
    for number, boxes in enumerate(samples):
        done += [tracklet for tracklet in active if tracklet.age(number) > rules.max_gap + 1]
        active = [tracklet for tracklet in active if tracklet.age(number) <= rules.max_gap + 1]
        sure = boxes.scores >= rules.conf
        rest = _continue(active, number, boxes, free[number], sure, _LEAST_OVERLAP_SURE)
        _continue(rest, number, boxes, free[number], ~sure, _LEAST_OVERLAP_UNSURE)
        active += _begin(active, number, boxes, free[number], sure)
    tracklets = sorted(done + active, key=lambda tracklet: min(tracklet.boxes))
    for tracklet in tracklets:
        _follow_back(tracklet, samples, free, rules)
    return sorted(
        tracklets,
        key=lambda tracklet: (min(tracklet.boxes), tracklet.boxes[min(tracklet.boxes)][0]),
    )


def _continue(
    tracklets: list[Tracklet],
    number: int,
    boxes: Boxes,
    free: npt.NDArray[np.bool_],
    which: npt.NDArray[np.bool_],
    least: float,
) -> list[Tracklet]:
    """Give free boxes to tracklets, the most overlap in all; return the tracklets without one."""
    choice = np.flatnonzero(free & which)
    if not len(choice) or not tracklets:
        return tracklets
    expected = np.stack([tracklet.expected(number) for tracklet in tracklets])
    over = overlaps(_enlarged(expected), _enlarged(boxes.xyxy[choice]))
    # Where two tracklets would have the same box, the one seen last has it.
    age = np.array([tracklet.age(number) for tracklet in tracklets])[:, None]
    value = np.where(over >= least, over - 0.02 * np.minimum(age - 1, 10), 0.0)
    rows, columns = needed("scipy.optimize").linear_sum_assignment(-value)
    left = list(range(len(tracklets)))
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if over[row, column] < least:
            continue
        index = int(choice[column])
        tracklets[row].add(number, boxes.xyxy[index].astype(np.float64), float(boxes.scores[index]))
        free[index] = False
        left.remove(row)
    return [tracklets[row] for row in left]


def _begin(
    active: list[Tracklet],
    number: int,
    boxes: Boxes,
    free: npt.NDArray[np.bool_],
    sure: npt.NDArray[np.bool_],
) -> list[Tracklet]:
    here = [tracklet.boxes[number] for tracklet in active if number in tracklet.boxes]
    new: list[Tracklet] = []
    for index in np.flatnonzero(free & sure).tolist():
        box = boxes.xyxy[index].astype(np.float64)
        if here and overlaps(box[None], np.stack(here)).max() > _TAKEN:
            continue
        tracklet = Tracklet()
        tracklet.add(number, box, float(boxes.scores[index]))
        free[index] = False
        here.append(box)
        new.append(tracklet)
    return new


def _follow_back(
    tracklet: Tracklet,
    samples: Sequence[Boxes],
    free: list[npt.NDArray[np.bool_]],
    rules: TrackRules,
) -> None:
    """Continue a tracklet before its first box with boxes that nobody has."""
    tracklet.turned()
    number = min(tracklet.boxes) - 1
    while number >= 0 and tracklet.age(number) <= rules.max_gap + 1:
        every = np.ones(len(samples[number]), bool)
        _continue([tracklet], number, samples[number], free[number], every, _LEAST_OVERLAP_UNSURE)
        number -= 1


def _centre(box: F64) -> F64:
    return np.asarray((box[:2] + box[2:]) / 2)


def _enlarged(boxes: npt.NDArray[np.floating]) -> F64:
    xyxy = boxes.astype(np.float64)
    grow = (xyxy[:, 2:] - xyxy[:, :2]) * (_BUFFER / 2)
    return np.concatenate([xyxy[:, :2] - grow, xyxy[:, 2:] + grow], axis=1)


# Of two tracks that lie over each other all the time they share, one is a double; so is one that
# lies within the other and is not much smaller.
_DOUBLE = 0.6
_INSIDE, _INSIDE_DOUBLE = 0.9, 0.35
_ORDER = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackPlan:
    """From boxes of samples to tracks.

    Attributes:
        conf: Least score of a box that begins a track.
        low_conf: Least score of a box that continues one.
        keep_conf: Least mean score of a track that is kept.
        max_gap_s: Longest time unseen within a track, seconds.
        min_track_s: Shortest track that is kept, seconds; all of a video that is shorter.
        smooth_s: Window of the smoothing, seconds; 0 = none.
    """

    conf: float = 0.4
    low_conf: float = 0.1
    keep_conf: float = 0.25
    max_gap_s: float = 0.75
    min_track_s: float = 0.5
    smooth_s: float = 0.625


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One person for a while.

    Attributes:
        start: Number of the first sample.
        xyxy: (N, 4) px, one box a sample.
        scores: (N,) 0 where the box was filled in.
    """

    start: int
    xyxy: F64
    scores: F64

    @property
    def end(self) -> int:
        """Return the number of the last sample."""
        return self.start + len(self.scores) - 1

    @property
    def score(self) -> float:
        """Return the mean score, samples without a box counting as 0."""
        return float(self.scores.mean())

    def at(self, sample: float) -> F64 | None:
        """Return the box at a place between samples; None where the track is not."""
        if not self.start - 1e-6 <= sample <= self.end + 1e-6:
            return None
        place = np.arange(self.start, self.end + 1)
        return np.array([np.interp(sample, place, self.xyxy[:, side]) for side in range(4)])


def make_tracks(samples: Sequence[Boxes], every_s: float, plan: TrackPlan) -> list[Track]:
    """Follow people and keep the tracks that are long and sure enough; by their start."""
    rules = TrackRules(conf=plan.conf, low_conf=min(plan.low_conf, plan.conf),
                       max_gap=round(plan.max_gap_s / every_s))  # fmt: skip
    least = min(plan.min_track_s / every_s, 0.9 * len(samples))
    tracks = [_filled(tracklet) for tracklet in follow(samples, rules)]
    tracks = [t for t in tracks if len(t.scores) >= least - 1e-6 and t.score >= plan.keep_conf]
    tracks = _without_doubles(tracks)
    return [_smoothed(track, every_s, plan.smooth_s) for track in tracks]


def _filled(tracklet: Tracklet) -> Track:
    seen = sorted(tracklet.boxes)
    place = np.arange(seen[0], seen[-1] + 1)
    boxes = np.stack([tracklet.boxes[number] for number in seen])
    xyxy = np.stack([np.interp(place, seen, boxes[:, side]) for side in range(4)], axis=1)
    scores = np.array([tracklet.scores.get(int(number), 0.0) for number in place])
    return Track(start=seen[0], xyxy=xyxy, scores=scores)


def _without_doubles(tracks: list[Track]) -> list[Track]:
    """Drop the less sure of two tracks that mean one person."""
    kept: list[Track] = []
    for track in sorted(tracks, key=lambda t: -float(t.scores.sum())):
        if not any(_is_double(track, other) for other in kept):
            kept.append(track)
    return sorted(kept, key=lambda t: (t.start, float(t.xyxy[0, 0])))


def _is_double(track: Track, other: Track) -> bool:
    first, last = max(track.start, other.start), min(track.end, other.end)
    # What stays of a track whose person has another for most of the time is a rest of a swap.
    if last - first + 1 < 0.6 * len(track.scores):
        return False
    a = track.xyxy[first - track.start : last - track.start + 1]
    b = other.xyxy[first - other.start : last - other.start + 1]
    iou = np.diagonal(overlaps(a, b))
    smaller = np.minimum(areas(a), areas(b))
    inside = iou / (1 + iou) * (areas(a) + areas(b)) / np.maximum(smaller, 1e-9)
    over = float(iou.mean())
    return over > _DOUBLE or (float(inside.mean()) > _INSIDE and over > _INSIDE_DOUBLE)


def _smoothed(track: Track, every_s: float, window_s: float) -> Track:
    window = round(window_s / every_s)
    window += 1 - window % 2
    window = min(window, len(track.scores) - 1 + len(track.scores) % 2)
    if window <= _ORDER:
        return track
    xyxy = needed("scipy.signal").savgol_filter(track.xyxy, window, _ORDER, axis=0, mode="interp")
    return Track(start=track.start, xyxy=np.asarray(xyxy, np.float64), scores=track.scores)
