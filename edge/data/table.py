"""Read a table of labelled people in AVA's style, and name every row that is wrong.

A row is `video,timestamp,x1,y1,x2,y2,label` with, if known, the person's number behind it. Boxes
are shares of the frame. A row that is blank behind the time stamp is a keyframe with nobody in it;
one with a box and no label, where that is allowed, is a person who does none of the actions. Tabs
in place of commas and `.gz` are read, too.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt

from edge.data.problems import Problem, ProblemList
from runtime.errors import ConfigError

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

NO_LABEL = -1
MAX_ROWS = 50_000_000
MAX_TIME_S = 4.0e6
COLUMNS = "video,timestamp,x1,y1,x2,y2,label[,person]"
_BOX = ("x1", "y1", "x2", "y2")
# Files are rounded to a few digits: so much beyond the frame is the frame's edge.
EDGE = 2e-3
_ROWS_AT_A_TIME = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRules:
    """What a table may hold.

    Attributes:
        num_labels: Labels run from 1 to this.
        whole_seconds: Whether time stamps are whole, as AVA's are.
        inactive_persons: Whether a row may have a box without a label.
    """

    num_labels: int
    whole_seconds: bool = False
    inactive_persons: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The good rows of a table, column by column.

    Attributes:
        videos: Names, in the order in which they first occur.
        video: (R,) index into `videos`.
        timestamp: (R,) seconds.
        boxes: (R, 4) xyxy, shares of the frame in [0, 1].
        label: (R,) from 1; `NO_LABEL` where the person does none of the actions.
        person: (R,) number of each text in the eighth column; -1 where there is none.
        row: (R,) line of the file, from 1.
        empty_video: (E,) index into `videos`, of rows with nobody in them.
        empty_timestamp: (E,) seconds.
    """

    videos: tuple[str, ...]
    video: I64
    timestamp: F64
    boxes: F64
    label: I64
    person: I64
    row: I64
    empty_video: I64
    empty_timestamp: F64

    def __len__(self) -> int:
        """Return the number of rows with a person."""
        return len(self.row)


def read_table(path: Path, rules: TableRules, problems: ProblemList) -> Table:
    """Read a table; rows that are wrong are named in `problems` and left out.

    Raises:
        ConfigError: The file cannot be read at all.
    """
    columns = _Columns(path, rules, problems)
    rows = _rows(path, problems)
    while chunk := list(itertools.islice(rows, _ROWS_AT_A_TIME)):
        columns.add(chunk)
    return columns.table()


class _Columns:
    """Gathers chunks of rows."""

    def __init__(self, path: Path, rules: TableRules, problems: ProblemList) -> None:
        self.path, self.rules, self.problems = path, rules, problems
        self.videos: dict[str, int] = {}
        self.persons: dict[str, int] = {"": -1}
        self.chunks: list[tuple[I64, F64, I64, I64]] = []
        self.empty: list[tuple[int, float]] = []
        self.count = 0

    def add(self, chunk: list[tuple[int, list[str]]]) -> None:
        """Add rows: all at once where all are good, else one by one."""
        self.count += len(chunk)
        if self.count > MAX_ROWS:
            raise ConfigError(f"{self.path} has more than {MAX_ROWS} rows; cut it into several")
        numbers = self._fast(chunk)
        if numbers is None:
            good = [entry for entry in chunk if self._check(*entry)]
            if not good:
                return
            numbers = np.array([_numbers_of(row) for _, row in good], np.float64)
            chunk = good
        names, cells = self.videos, [row for _, row in chunk]
        video = [names.setdefault(row[0].strip(), len(names)) for row in cells]
        known = self.persons
        person = [
            known.setdefault(row[7].strip(), len(known) - 1) if len(row) > 7 else -1
            for row in cells
        ]
        self.chunks.append(
            (
                np.array(video, np.int64),
                numbers,
                np.array(person, np.int64),
                np.array([number for number, _ in chunk], np.int64),
            )
        )

    def _fast(self, chunk: list[tuple[int, list[str]]]) -> F64 | None:
        """Return timestamp, box and label of each row; None where any row needs a closer look."""
        try:
            columns = list(zip(*(row for _, row in chunk), strict=True))
            if len(columns) not in (7, 8) or not all(map(str.strip, columns[0])):
                return None
            if "_" in "".join(map("".join, columns[1:7])) or "\ufffd" in "".join(columns[0]):
                return None
            values = np.array([list(map(float, column)) for column in columns[1:7]]).T
        except ValueError:
            return None
        return np.ascontiguousarray(values) if self._all_good(values) else None

    def _all_good(self, values: F64) -> bool:
        time, boxes, label = values[:, 0], values[:, 1:5], values[:, 5]
        if not np.isfinite(values).all():
            return False
        return bool(
            ((time >= 0) & (time <= MAX_TIME_S)).all()
            and (not self.rules.whole_seconds or (time == np.floor(time)).all())
            and ((boxes >= -EDGE) & (boxes <= 1 + EDGE)).all()
            and (np.clip(boxes[:, 2:], 0, 1) > np.clip(boxes[:, :2], 0, 1)).all()
            and ((label >= 1) & (label <= self.rules.num_labels)).all()
            and (label == np.floor(label)).all()
        )

    def _check(self, number: int, row: list[str]) -> bool:
        """Name what is wrong with a row; return whether it holds a person and is good."""
        wrong = row_fault(row, self.rules)
        if wrong is not None:
            self.problems.add(
                Problem(where=str(self.path), row=number, came=wrong[0], expected=wrong[1])
            )
            return False
        if any(cell.strip() for cell in row[2:]):
            return True
        index = self.videos.setdefault(row[0].strip(), len(self.videos))
        self.empty.append((index, float(row[1])))
        return False

    def table(self) -> Table:
        """Return all rows."""
        nothing = (np.empty(0, np.int64), np.empty((0, 6)), np.empty(0, np.int64),
                   np.empty(0, np.int64))  # fmt: skip
        parts = [np.concatenate(column) for column in zip(nothing, *self.chunks, strict=True)]
        numbers = parts[1]
        empty = np.array(self.empty, np.float64).reshape(-1, 2)
        return Table(
            videos=tuple(self.videos),
            video=parts[0],
            timestamp=numbers[:, 0],
            boxes=np.clip(numbers[:, 1:5], 0.0, 1.0),
            label=numbers[:, 5].astype(np.int64),
            person=parts[2],
            row=parts[3],
            empty_video=empty[:, 0].astype(np.int64),
            empty_timestamp=empty[:, 1],
        )


def _numbers_of(row: Sequence[str]) -> list[float]:
    label = row[6].strip()
    return [*map(float, row[1:6]), float(label) if label else NO_LABEL]


def row_fault(row: Sequence[str], rules: TableRules) -> tuple[str, str] | None:
    """Return what came and what was expected; None where the row is good."""
    if len(row) not in (7, 8) and not (len(row) == 2 and row[1].strip()):
        return f"{len(row)} column{'s' * (len(row) != 1)}", COLUMNS
    if "\ufffd" in "".join(row):
        return "bytes that are not UTF-8", "a file saved as UTF-8"
    if not row[0].strip():
        return "no video", "the name of a video in the first column"
    time = _number(row[1])
    whole = "whole " if rules.whole_seconds else ""
    if (
        time is None
        or not 0 <= time <= MAX_TIME_S
        or (rules.whole_seconds and time != math.floor(time))
    ):
        hint = " (the table has no header)" if row[1].strip().lower().startswith("time") else ""
        return f"timestamp {_cell(row[1])}", f"{whole}seconds of 0 or more{hint}"
    if not any(cell.strip() for cell in row[2:]):
        return None
    return box_fault(row[2:6]) or _label_fault(row[6], rules)


def box_fault(cells: Sequence[str]) -> tuple[str, str] | None:
    """Return what came and what was expected of a box's four cells; None where they are good."""
    values = []
    for name, cell in zip(_BOX, cells, strict=True):
        value = _number(cell)
        if value is None:
            return f"{name} {_cell(cell)}", "a number"
        values.append(value)
    for name, value in zip(_BOX, values, strict=True):
        if not -EDGE <= value <= 1 + EDGE:
            pixels = ": pixels are to be divided by the frame's width and height"
            return (
                f"{name} {value:g}",
                f"a share of the frame from 0 to 1{pixels * (max(values) > 2)}",
            )
    x1, y1, x2, y2 = (min(max(value, 0.0), 1.0) for value in values)
    if x2 <= x1:
        return f"x1 {values[0]:g} and x2 {values[2]:g}", "x1 below x2"
    if y2 <= y1:
        return f"y1 {values[1]:g} and y2 {values[3]:g}", "y1 below y2"
    return None


def _label_fault(cell: str, rules: TableRules) -> tuple[str, str] | None:
    span = f"a whole number from 1 to {rules.num_labels}"
    if not cell.strip():
        return None if rules.inactive_persons else ("no label", span)
    value = _number(cell)
    if value is None or value != math.floor(value) or not 1 <= value <= rules.num_labels:
        return f"label {_cell(cell)}", span
    return None


def _number(cell: str) -> float | None:
    """Return a finite number; None for anything else, `1_0` among it."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in cell else None


def _cell(cell: str) -> str:
    return repr(cell[:40]) if cell.strip() else "is blank"


def _rows(path: Path, problems: ProblemList) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, with their line numbers."""
    line = 0
    try:
        with _open(path) as stream:
            reader = csv.reader(stream, delimiter=_delimiter(path), strict=True)
            for row in reader:
                line = reader.line_num
                if row and any(cell.strip() for cell in row):
                    yield line, row
    except csv.Error as error:
        problems.add(
            Problem(
                where=str(path), row=line + 1, came=f"no row of a table ({error})",
                expected=f"{COLUMNS}; the rows behind it were not read",
            )
        )  # fmt: skip
    except (OSError, EOFError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def _delimiter(path: Path) -> str:
    with _open(path) as stream:
        head = stream.readline(4096)
    return "\t" if "\t" in head and "," not in head else ","


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def csv_rows(path: Path, *, header: str = "") -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a small table that are not blank, stripped, with their line numbers.

    Args:
        path: The file.
        header: How the first cell of a first line begins that is none of the rows.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            reader = csv.reader(stream)
            for row in reader:
                cells = [cell.strip() for cell in row]
                first = reader.line_num == 1 and bool(header) and cells[:1] != []
                if any(cells) and not (first and cells[0].lower() == header):
                    yield reader.line_num, cells
    except (OSError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def repeated_rows(table: Table) -> list[tuple[int, int]]:
    """Return the lines of rows that say what an earlier line says, and that line."""
    keys = np.column_stack(
        [table.video, table.timestamp, table.boxes, table.label, table.person]
    ).astype(np.float64)
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    earlier = first[group.reshape(-1)]
    again = np.flatnonzero(earlier != np.arange(len(keys)))
    return [(int(table.row[i]), int(table.row[earlier[i]])) for i in again]
