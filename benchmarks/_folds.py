"""Cut a labelled folder into folds by recording: no recording lies on both sides of one."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.data.video_labels import GROUPS_FILE, LABELS_FILE, NO_ROW, VideoLabels
from runtime.errors import ConfigError

TABLE, CLASSES, VIDEOS = "annotations.csv", "classes.txt", "videos"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folds:
    """Videos of each fold.

    Attributes:
        test: Those that each fold is judged by, in the order of their names.
        source: Recording of each of them.
        unknown: Videos whose recording is not known. They are in no fold, on neither side: any of
            them may be of a recording that some fold is judged by.
    """

    test: tuple[tuple[str, ...], ...]
    source: Mapping[str, str]
    unknown: tuple[str, ...]

    def train(self, fold: int) -> list[str]:
        """Return the videos that a fold learns from."""
        return [v for other, names in enumerate(self.test) if other != fold for v in names]


def split_by_source(labels: VideoLabels, label: int, count: int) -> Folds:
    """Deal recordings out, the largest first, each where it makes folds most alike.

    Args:
        labels: What is said of the videos, and which recording each is from.
        label: Index of the action that is said of whole videos.
        count: Folds.

    Raises:
        ConfigError: There are fewer recordings than folds.
    """
    present = {
        name: bool(state[label] == 1)
        for name, state in labels.states.items()
        if state[label] != NO_ROW
    }
    videos: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(present):
        videos[labels.sources.get(name, "")].append(name)
    unknown = videos.pop("", [])
    if len(videos) < count:
        raise ConfigError(f"{len(videos)} recordings for {count} folds; expected as many or more")
    everyone = [name for names in videos.values() for name in names]
    total = np.maximum(_kinds(everyone, present), 1)
    tests: list[list[str]] = [[] for _ in range(count)]
    held = np.zeros((count, 3))
    for one in sorted(videos, key=lambda name: (-len(videos[name]), name)):
        added = _kinds(videos[one], present)
        # Squares of shares are least where folds are alike: in each kind of video, and in all.
        cost = (((held + added) / total) ** 2 - (held / total) ** 2).sum(axis=1)
        best = int(np.argmin(cost))
        tests[best] += videos[one]
        held[best] += added
    return Folds(
        test=tuple(tuple(sorted(names)) for names in tests),
        source={name: labels.sources[name] for name in everyone},
        unknown=tuple(unknown),
    )


def _kinds(names: Sequence[str], present: Mapping[str, bool]) -> npt.NDArray[np.float64]:
    """Return how many videos there are: with the action, without it, and in all."""
    having = sum(present[name] for name in names)
    return np.array([having, len(names) - having, len(names)], np.float64)


def write_fold(data: Path, out: Path, folds: Folds, fold: int) -> None:
    """Write a data set of one fold: the same videos, two tables, the recordings."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / VIDEOS).exists():
        (out / VIDEOS).symlink_to((data / VIDEOS).resolve(), target_is_directory=True)
    for name in (CLASSES, LABELS_FILE, GROUPS_FILE):
        (out / name).write_bytes((data / name).read_bytes())
    rows = _read(data / TABLE)
    for part, names in (("train", set(folds.train(fold))), ("val", set(folds.test[fold]))):
        _write(out / f"annotations_{part}.csv", [row for row in rows if row[0] in names])


def _read(path: Path) -> list[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [row for row in csv.reader(file) if row]
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def _write(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
