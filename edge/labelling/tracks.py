"""Whole tracks out of paths: gaps filled, jitter smoothed, short and doubtful ones dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.labelling.fuse import Boxes, areas, overlaps
from edge.labelling.packages import scipy_signal
from edge.labelling.track import F64, Path, TrackRules, follow

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
    tracks = [_filled(path) for path in follow(samples, rules)]
    tracks = [t for t in tracks if len(t.scores) >= least - 1e-6 and t.score >= plan.keep_conf]
    tracks = _without_doubles(tracks)
    return [_smoothed(track, every_s, plan.smooth_s) for track in tracks]


def _filled(path: Path) -> Track:
    seen = sorted(path.boxes)
    place = np.arange(seen[0], seen[-1] + 1)
    boxes = np.stack([path.boxes[number] for number in seen])
    xyxy = np.stack([np.interp(place, seen, boxes[:, side]) for side in range(4)], axis=1)
    scores = np.array([path.scores.get(int(number), 0.0) for number in place])
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
    xyxy = scipy_signal().savgol_filter(track.xyxy, window, _ORDER, axis=0, mode="interp")
    return Track(start=track.start, xyxy=np.asarray(xyxy, np.float64), scores=track.scores)
