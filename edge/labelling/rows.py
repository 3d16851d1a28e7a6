"""The tables of a data set of one's own: people at keyframes, and labels of whole videos."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edge.labelling.clip_labels import ClipLabels
from edge.labelling.store import LabelledVideo

PERSON_LABEL = 1
# Narrower than this share of the frame is no person, and the reader wants an area above 0.
_LEAST_SIDE = 1e-3


@dataclass(slots=True)
class Counts:
    """What was written.

    Attributes:
        videos: Videos with a row.
        keyframes: Moments with a row.
        empty: Those with nobody in them.
        tracks: People followed.
        rows: People at keyframes.
    """

    videos: int = 0
    keyframes: int = 0
    empty: int = 0
    tracks: int = 0
    rows: int = 0


def keyframe_rows(
    labels: LabelledVideo, keyframe_every_s: float, rejected: frozenset[int], counts: Counts
) -> Iterator[list[str]]:
    """Yield the rows of one video: everyone who is followed at each keyframe, or that nobody is.

    Args:
        labels: The video.
        keyframe_every_s: Seconds from one keyframe to the next.
        rejected: Numbers of the tracks that a person has rejected.
        counts: Takes what was written.
    """
    tracks = [(n, track) for n, track in enumerate(labels.tracks) if n not in rejected]
    counts.videos += 1
    counts.tracks += len(tracks)
    width, height = labels.size_wh
    frame = np.array([width, height, width, height], np.float64)
    last_s = (len(labels.samples) - 1) * labels.every_s
    for number in range(int(last_s / keyframe_every_s + 1e-6) + 1):
        t = number * keyframe_every_s
        stamp = f"{t:.3f}".rstrip("0").rstrip(".")
        there = 0
        for person, track in tracks:
            box = track.at(t / labels.every_s)
            if box is None:
                continue
            x1, y1, x2, y2 = np.clip(box / frame, 0.0, 1.0).tolist()
            if x2 - x1 < _LEAST_SIDE or y2 - y1 < _LEAST_SIDE:
                continue  # smoothed or continued beyond the frame's edge
            corners = [f"{value:.5f}" for value in (x1, y1, x2, y2)]
            yield [labels.video, stamp, *corners, str(PERSON_LABEL), str(person)]
            there += 1
        if not there:
            yield [labels.video, stamp, "", "", "", "", ""]
        counts.keyframes += 1
        counts.empty += not there
        counts.rows += there


def video_label_rows(
    videos: Iterable[str], labels: ClipLabels, class_names: Sequence[str]
) -> Iterator[list[str]]:
    """Yield `video,label,present` for all that is known of whole videos."""
    number = {name: index for index, name in enumerate(class_names, 1)}
    for video in videos:
        for name, present in sorted(labels.get(video, {}).items(), key=lambda p: number[p[0]]):
            yield [video, str(number[name]), str(int(present))]


def as_csv(rows: Iterable[Sequence[str]]) -> str:
    """Write rows as a table without a header."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
