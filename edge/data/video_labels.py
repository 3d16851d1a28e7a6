"""Labels of whole videos: somebody does it in this one, or nobody; who is not said.

    video_labels.csv         video,label,present: 1 somebody in this video does it, 0 nobody does
    groups.csv               optional: video,source of videos that were cut from one recording

Neither has a header. A class with a row here is one of whole videos: in a video without a row for
it, nothing is known of those who do not carry it as a label of their own.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.data.media import MediaFolder
from edge.data.problems import DataReport
from edge.data.samples import F32, I64, Bools
from edge.data.table import Table
from runtime.errors import CaptureError, ConfigError
from runtime.options import did_you_mean

LABELS_FILE, GROUPS_FILE = "video_labels.csv", "groups.csv"
NO_ROW = -1

I8 = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoLabels:
    """What is said of whole videos.

    Attributes:
        video_level: (C,) bool, the classes that have a row for any video.
        states: For each video that has a row, int8 (C,): 1, 0, or `NO_ROW`.
        sources: Which recording a video is from, where that is known.
    """

    video_level: Bools
    states: Mapping[str, I8]
    sources: Mapping[str, str] = field(default_factory=dict)

    def state(self, video: str) -> I8:
        """Return 1, 0 or `NO_ROW` for each class of a video."""
        return self.states.get(video, np.full(len(self.video_level), NO_ROW, np.int8))

    def source(self, video: str) -> str:
        """Return the recording that a video is from; where that is not known, the video itself."""
        return self.sources.get(video, f"video {video}")

    def mapped(self, columns: Mapping[int, Sequence[int]], count: int) -> VideoLabels:
        """Return what is said of other classes.

        Args:
            columns: For each new class that is known, the classes here which make it.
            count: Number of new classes.
        """
        video_level = np.zeros(count, bool)
        states = {video: np.full(count, NO_ROW, np.int8) for video in self.states}
        for column, own in columns.items():
            video_level[column] = self.video_level[own].any()
            for video, state in self.states.items():
                # Somebody does one of them; nobody does any; else it is not known.
                codes = state[own]
                states[video][column] = 1 if (codes == 1).any() else codes.min()
        return VideoLabels(video_level=video_level, states=states, sources=self.sources)

    def somebody_acts(self, video: str) -> bool:
        """Tell whether somebody in a video does something, nobody knows who."""
        return bool((self.state(video) == 1).any())

    def masks(self, video: str, labels: F32) -> tuple[Bools, I64]:
        """Return `label_mask` and `bag_id` of the people (M, C) at a keyframe of a video.

        Who carries a label does it. Where somebody carries it, the video's row is answered, and
        says nothing of the others; else all of them are a bag.
        """
        state, own = self.state(video), labels > 0.5
        label_mask = own | ((state == 0) | ~self.video_level)[None]
        bag = (state == 1) & ~own.any(axis=0)
        return label_mask, np.where(bag[None] & ~own, 0, -1).astype(np.int64)


def read_video_labels(
    root: Path, folder: MediaFolder, table: Table, class_of: npt.NDArray[np.int64],
    report: DataReport,
) -> VideoLabels | None:  # fmt: skip
    """Read `video_labels.csv` and `groups.csv`; None where there are no labels of videos.

    Args:
        root: The data set's folder.
        folder: Its videos.
        table: The people; its names of the videos are those of the result.
        class_of: Index of the action for each label, from label 1; -1 for none.
        report: Takes what is wrong.

    Raises:
        ConfigError: A file cannot be read at all.
    """
    path = root / LABELS_FILE
    if not path.is_file():
        return None
    names = _Names(folder, table)
    classes = int(class_of.max()) + 1
    states: dict[str, I8] = {}
    rows: dict[tuple[str, int], int] = {}
    for number, cells in _rows(path, 3, report):
        name = names.of(cells[0], path, number, report)
        label = _whole(cells[1], 1, len(class_of))
        present = _whole(cells[2], 0, 1)
        if label is None or class_of[label - 1] < 0:
            report.wrong(path, number, f"label {cells[1][:40]!r}",
                   f"the number of a class, 1 to {len(class_of)}")  # fmt: skip
        elif present is None:
            report.wrong(path, number, f"{cells[2][:40]!r}",
                   "1 where somebody in the video does it, 0 where nobody does")  # fmt: skip
        elif name is not None and (name, label) in rows:
            report.wrong(path, number, f"video and label of row {rows[name, label]} again",
                   "one row for a video and a label")  # fmt: skip
        elif name is not None:
            rows[name, label] = number
            states.setdefault(name, np.full(classes, NO_ROW, np.int8))
            states[name][class_of[label - 1]] = present
    _check_nobody(path, table, states, rows, class_of, report)
    video_level = np.zeros(classes, bool)
    video_level[[class_of[label - 1] for _, label in rows]] = True
    return VideoLabels(
        video_level=video_level, states=states, sources=_sources(root, names, report)
    )


def _sources(root: Path, names: _Names, report: DataReport) -> dict[str, str]:
    path, sources = root / GROUPS_FILE, {}
    if not path.is_file():
        return {}
    for number, cells in _rows(path, 2, report):
        name = names.of(cells[0], path, number, report)
        # A blank source is one that nobody knows.
        if name is not None and cells[1]:
            sources[name] = cells[1]
    return sources


class _Names:
    """Names of videos as the table writes them."""

    def __init__(self, folder: MediaFolder, table: Table) -> None:
        self.folder = folder
        self.known: dict[Path, str] = {}
        for index in dict.fromkeys([*table.video.tolist(), *table.empty_video.tolist()]):
            path = self._find(table.videos[index])
            if path is not None:
                self.known.setdefault(path, table.videos[index])

    def _find(self, name: str) -> Path | None:
        try:
            return self.folder.find(name)
        except CaptureError:
            return None

    def of(self, name: str, path: Path, number: int, report: DataReport) -> str | None:
        """Return the table's name of a video, or its own; None, and a fault, where it is not."""
        found = self._find(name)
        if found is None:
            hint = did_you_mean(name, self.folder.known)
            report.wrong(path, number, f"video {name[:80]!r}", f"a video of the folder.{hint}")
            return None
        return self.known.get(found, name)


def _check_nobody(
    path: Path, table: Table, states: Mapping[str, I8], rows: Mapping[tuple[str, int], int],
    class_of: npt.NDArray[np.int64], report: DataReport,
) -> None:  # fmt: skip
    """Name rows by which nobody does what a row of the table says of somebody."""
    pairs, first = np.unique(np.column_stack([table.video, table.label]), axis=0, return_index=True)
    said = {
        (table.videos[video], label): int(table.row[at])
        for (video, label), at in zip(pairs.tolist(), first.tolist(), strict=True)
    }
    for (name, label), number in rows.items():
        if states[name][class_of[label - 1]] == 0 and (name, label) in said:
            report.wrong(path, number, "0, nobody does it",
                   f"1, since row {said[name, label]} of the table names who does")  # fmt: skip


def _rows(path: Path, columns: int, report: DataReport) -> Iterator[tuple[int, list[str]]]:
    """Yield the good rows with their line numbers; name those of another width."""
    try:
        lines = path.read_text("utf-8-sig", "replace").splitlines()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    expected = "video,label,present" if columns == 3 else "video,source"
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in next(csv.reader([line]))]
        if len(cells) != columns or not cells[0]:
            report.wrong(path, number, f"{line[:60]!r}", expected)
        else:
            yield number, cells


def _whole(cell: str, low: int, high: int) -> int | None:
    if not (cell.isascii() and cell.isdigit()) or len(cell) > 9:
        return None
    return int(cell) if low <= int(cell) <= high else None
