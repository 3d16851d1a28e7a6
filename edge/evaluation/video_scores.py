"""ROC-AUC, average precision and alarms per hour of labels of whole videos.

Such a label names no box, so the video is scored: by the highest p(action) of all tokens with
p(actor) of `SOMEBODY` or more, at any keyframe. p(actor) does not weigh the score
(docs/adr/0023-score-of-a-video.md). Videos that were cut from one recording are alike, so the
intervals are bootstrapped over recordings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.data.annotations import ClipPlace
from edge.data.dataset import ClipDataset
from edge.data.video_labels import NO_ROW, VideoLabels
from edge.evaluation.boxes import F64, I64, Bools
from runtime.decode import Detections

SOMEBODY = 0.1  # p(actor) from which a token counts as somebody
PLAIN = 0.5  # the threshold that needs no data
_DRAWN, _SEED = 2000, 0  # sets of recordings, for the intervals
_LOW, _HIGH = 2.5, 97.5  # per cent: 95 of a hundred lie between
_RANKING = ("roc_auc", "average_precision")
_AT = ("accuracy", "sensitivity", "specificity", "false_alarms_per_hour")


@dataclass(frozen=True, slots=True, kw_only=True)
class Videos:
    """The videos that have a label.

    Attributes:
        names: (V,) of each.
        score: (V,) of each.
        present: (V,) whether somebody does it.
        source: (V,) number of the recording, from 0.
        hours: (V,) length.
        course: Scores of the keyframes of each, in the order of time.
    """

    names: tuple[str, ...]
    score: F64
    present: Bools
    source: I64
    hours: F64
    course: tuple[F64, ...]

    def alarms(self, threshold: float) -> F64:
        """Return how often each video rises above a threshold: runs of keyframes, (V,)."""
        above = [np.concatenate([[False], scores > threshold]) for scores in self.course]
        return np.array([(~row[:-1] & row[1:]).sum() for row in above], np.float64)


class VideoScores:
    """Collects the keyframes of a data set that has labels of whole videos, then counts."""

    def __init__(self, labels: VideoLabels, class_names: Sequence[str],
                 seconds: Mapping[str, float]) -> None:  # fmt: skip
        """Prepare.

        Args:
            labels: What is said of the videos.
            class_names: Names of the C actions.
            seconds: Length of each video.
        """
        self.labels, self.class_names, self.seconds = labels, tuple(class_names), seconds
        self._seen: dict[str, list[tuple[float, F64]]] = {}

    @staticmethod
    def of(dataset: ClipDataset) -> VideoScores | None:
        """Prepare for a data set; None where nothing is said of whole videos."""
        labels = dataset.video_labels
        if labels is None or not labels.video_level.any():
            return None
        media = dataset.media
        seconds = {name: float(one.end_s - one.start_s) for name, one in media.items()}
        return VideoScores(labels, dataset.class_names, seconds)

    @property
    def video_level(self) -> list[int]:
        """Return the classes that are said of whole videos."""
        return [int(label) for label in np.flatnonzero(self.labels.video_level)]

    def add(self, place: ClipPlace, found: Detections) -> None:
        """Add a keyframe with what was found there; no token where it could not be decoded."""
        somebody = found.actor >= np.float32(SOMEBODY)
        best = found.actions[somebody].astype(np.float64).max(axis=0, initial=0.0)
        self._seen.setdefault(place.video, []).append((place.timestamp, best))

    def result(self) -> dict[str, dict[str, Any]]:
        """Return all figures with their intervals, by class, as plain values."""
        return {self.class_names[label]: _figures(self.videos(label)) for label in self.video_level}

    def auc(self) -> dict[str, float | None]:
        """Return the area under the ROC curve alone, by class."""
        found = {}
        for label in self.video_level:
            videos = self.videos(label)
            value = _ranked(videos, np.ones(len(videos.score)))["roc_auc"]
            found[self.class_names[label]] = None if np.isnan(value) else value
        return found

    def videos(self, label: int) -> Videos:
        """Return the videos that have a label, by their names."""
        names = [n for n in sorted(self._seen) if self.labels.state(n)[label] != NO_ROW]
        courses = []
        for name in names:
            row = sorted(self._seen[name], key=lambda one: one[0])
            courses.append(np.array([best[label] for _, best in row], np.float64))
        sources = [self.labels.source(name) for name in names]
        _, source = np.unique(np.array(sources, str), return_inverse=True)
        return Videos(
            names=tuple(names),
            score=np.array([course.max() for course in courses], np.float64),
            present=np.array([self.labels.state(name)[label] == 1 for name in names], bool),
            source=source.reshape(-1).astype(np.int64),
            hours=np.array([self.seconds.get(n, 0.0) / 3600 for n in names], np.float64),
            course=tuple(courses),
        )


def _figures(videos: Videos) -> dict[str, Any]:
    best = best_threshold(videos.score, videos.present)
    chosen = {"at_0.5": PLAIN, **({} if best is None else {"at_best": best})}
    alarms = {name: videos.alarms(threshold) for name, threshold in chosen.items()}

    def every(weight: F64) -> dict[str, float]:
        flat = _ranked(videos, weight)
        for name, threshold in chosen.items():
            at = _at(videos, weight, threshold, alarms[name])
            flat |= {f"{name}.{key}": value for key, value in at.items()}
        return flat

    values = every(np.ones(len(videos.score)))
    spans = intervals(videos.source, every)
    result: dict[str, Any] = {
        "videos_with": int(videos.present.sum()),
        "videos_without": int((~videos.present).sum()),
        "sources": len(np.unique(videos.source)),
        "hours_without": float(videos.hours[~videos.present].sum()),
    }
    result |= {name: _plain(values[name], spans.get(name)) for name in _RANKING}
    for name, threshold in chosen.items():
        keys = {key: f"{name}.{key}" for key in _AT}
        result[name] = {
            "threshold": threshold,
            **{key: _plain(values[flat], spans.get(flat)) for key, flat in keys.items()},
        }
    return result


def best_threshold(score: F64, present: Bools) -> float | None:
    """Return the threshold of the highest accuracy on these very videos, of equals the lowest.

    It lies half way between two scores; None where all videos are of one kind.
    """
    if not present.any() or present.all():
        return None
    levels = np.unique(score)
    between = np.concatenate([levels[:1] / 2, (levels[1:] + levels[:-1]) / 2])
    right = [float(((score > threshold) == present).mean()) for threshold in between]
    return float(between[int(np.argmax(right))])


def _ranked(videos: Videos, weight: F64) -> dict[str, float]:
    """Return the areas under the ROC curve and the precision-recall curve; equals are one step."""
    levels, level = np.unique(videos.score, return_inverse=True)
    level = level.reshape(-1)
    have = np.bincount(level, weight * videos.present, len(levels))
    lack = np.bincount(level, weight * ~videos.present, len(levels))
    below = np.cumsum(lack) - lack
    hits, all_of = np.cumsum(have[::-1]), np.cumsum((have + lack)[::-1])
    precision = np.divide(hits, all_of, out=np.zeros_like(hits), where=all_of > 0)
    return {
        "roc_auc": _share(float((have * (below + lack / 2)).sum()), have.sum() * lack.sum()),
        "average_precision": _share(float((have[::-1] * precision).sum()), have.sum()),
    }


def _at(videos: Videos, weight: F64, threshold: float, alarms: F64) -> dict[str, float]:
    said, present = videos.score > threshold, videos.present
    absent = weight * ~present
    return {
        "accuracy": _share((weight * (said == present)).sum(), weight.sum()),
        "sensitivity": _share((weight * (said & present)).sum(), (weight * present).sum()),
        "specificity": _share((absent * ~said).sum(), absent.sum()),
        "false_alarms_per_hour": _share((absent * alarms).sum(), (absent * videos.hours).sum()),
    }


def intervals(
    source: I64, every: Callable[[F64], dict[str, float]]
) -> dict[str, tuple[float, float]]:
    """Return where 95 of a hundred values lie if the recordings are drawn anew.

    Args:
        source: (V,) number of each video's recording, from 0.
        every: Gives the figures by name for the weight (V,) of each video.
    """
    count = int(source.max(initial=-1)) + 1
    if count < 2:
        return {}
    random = np.random.default_rng(_SEED)
    drawn: dict[str, list[float]] = {}
    for times in random.multinomial(count, np.full(count, 1 / count), size=_DRAWN):
        for name, value in every(times[source].astype(np.float64)).items():
            drawn.setdefault(name, []).append(value)
    spans = {}
    for name, values in drawn.items():
        there = np.array(values)[np.isfinite(values)]
        if len(there) > _DRAWN // 2:
            low, high = np.percentile(there, [_LOW, _HIGH])
            spans[name] = (float(low), float(high))
    return spans


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")


def _plain(value: float, span: tuple[float, float] | None) -> dict[str, float | None]:
    low, high = (None, None) if span is None else span
    return {"value": None if np.isnan(value) else value, "low": low, "high": high}


def table_of(content: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Return the figures of all classes as rows, the header first."""
    rows = [["class", "with", "without", "sources", "ROC-AUC", "AP", "threshold", "accuracy",
             "sensitivity", "specificity", "false alarms / h"]]  # fmt: skip
    for name, one in content.items():
        for key, words in (("at_0.5", "0.5"), ("at_best", "{:.4g} (best on these)")):
            if key not in one:
                continue
            first = key == "at_0.5"
            counts = [str(one[k]) for k in ("videos_with", "videos_without", "sources")]
            ranks = [_cell(one[k]) for k in _RANKING]
            rows.append([
                *([name, *counts, *ranks] if first else [""] * 6),
                words.format(one[key]["threshold"]),
                *(_cell(one[key][k]) for k in _AT[:3]),
                _cell(one[key]["false_alarms_per_hour"], 1),
            ])  # fmt: skip
    return rows


def _cell(figure: Mapping[str, float | None], digits: int = 3) -> str:
    value, low, high = figure["value"], figure["low"], figure["high"]
    if value is None:
        return "-"
    span = "" if low is None or high is None else f" ({low:.{digits}f} - {high:.{digits}f})"
    return f"{value:.{digits}f}{span}"


def lines_of_videos(content: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say in words what the table of videos is."""
    names = ", ".join(content)
    return [
        f"said of whole videos, and so not in the frame-mAP: {names}. A video's score is its "
        f"highest p(action) of all tokens with a p(actor) of {SOMEBODY} or more; in brackets 95 % "
        "intervals over recordings drawn anew",
    ]
