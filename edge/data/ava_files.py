"""AVA's files: detections, ground truth, excluded time stamps, label maps; read and written.

A row of detections is `video,timestamp,x1,y1,x2,y2,label,score`. Ground truth has the same first
seven columns and may have the person's number as the eighth; its rows may also be blank behind the
time stamp: a keyframe with nobody in it. Files may be compressed (`.gz`). Our own readers, because
a wrong row must be named, not guessed at.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from edge.data.annotations import F64, BoxTable
from runtime.errors import ConfigError
from runtime.outputs import atomic_file, write_atomically

Keyframe = tuple[str, int]


"""Name of a video and time stamp in whole seconds."""


MAX_LABEL = 100_000


# Few enough to die young: with 65536 the garbage collector takes two thirds of the time.
_ROWS_AT_A_TIME = 512


_NAMES = ("video", "timestamp", "x1", "y1", "x2", "y2", "label", "score")


@dataclass(frozen=True, slots=True, kw_only=True)
class AvaRows:
    """The content of one file.

    Attributes:
        keyframes: The keyframes in it, sorted.
        boxes: Its boxes; `boxes.frame` counts in `keyframes`.
    """

    keyframes: tuple[Keyframe, ...]
    boxes: BoxTable


def read_detections(path: str | Path) -> AvaRows:
    """Read detections.

    Raises:
        ConfigError: The file cannot be read, or a row of it, which is named.
    """
    return _read(Path(path), scores=True)


def read_ground_truth(path: str | Path) -> AvaRows:
    """Read the truth; raises as `read_detections` does."""
    return _read(Path(path), scores=False)


def read_excluded(path: str | Path) -> frozenset[Keyframe]:
    """Read the keyframes that do not count, rows of `video,timestamp`.

    Raises:
        ConfigError: The file cannot be read, or a row of it, which is named.
    """
    path = Path(path)
    found = set()
    for number, row in _rows(path):
        if len(row) != 2:
            raise _wrong(path, number, f"{len(row)} columns, expected 2: video,timestamp")
        found.add(_keyframe(path, number, row))
    return frozenset(found)


def read_label_map(path: str | Path) -> dict[int, str]:
    """Read the classes that count from a `.pbtxt`: number and name of each.

    Raises:
        ConfigError: The file cannot be read, or holds no classes, or one twice.
    """
    path = Path(path)
    text = "\n".join(line.split("#")[0] for line in _text(path).splitlines())
    found: dict[int, str] = {}
    for block in re.findall(r"\b(?:item|label)\s*\{([^{}]*)\}", text):
        name = re.search(r"""\bname:\s*(?:"([^"]*)"|'([^']*)')""", block)
        label = re.search(r"\b(?:label_)?id:\s*(\d{1,9})\b", block)
        if name is None or label is None:
            raise ConfigError(f"{path} has an entry without name and id: {block.strip()[:60]!r}")
        number = int(label.group(1))
        if number in found or number > MAX_LABEL:
            why = "is there twice" if number in found else f"is above {MAX_LABEL}"
            raise ConfigError(f"{path}: the id {number} {why}")
        found[number] = name.group(1) or name.group(2) or ""
    if not found:
        raise ConfigError(f'{path} holds no classes, expected entries item {{ name: "..." id: 1 }}')
    return found


def write_rows(path: Path, keyframes: Sequence[Keyframe], boxes: BoxTable) -> None:
    """Write detections, or the truth where `boxes` has no scores, whole or not at all.

    Numbers have as many digits as it takes to read the same float32 back.
    """
    columns = [boxes.frame.tolist(), boxes.xyxy.tolist(), boxes.label.tolist()]
    columns.append(itertools.repeat(None) if boxes.score is None else boxes.score.tolist())
    with atomic_file(path) as part, part.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        for frame, xyxy, label, score in zip(*columns, strict=False):
            video, timestamp = keyframes[frame]
            row = [video, f"{timestamp:04d}", *(f"{value:.9g}" for value in xyxy), label]
            writer.writerow(row if score is None else [*row, f"{score:.9g}"])


def write_label_map(path: Path, names: Sequence[str], labels: Sequence[int] | None = None) -> None:
    """Write the classes 1, 2, ..., or those labels, as a `.pbtxt`."""
    plain = [name.replace('"', "'") for name in names]
    ids = range(1, len(names) + 1) if labels is None else labels
    items = [
        f'item {{\n  name: "{name}"\n  id: {i}\n}}\n' for i, name in zip(ids, plain, strict=True)
    ]
    write_atomically(path, "".join(items))


def _read(path: Path, *, scores: bool) -> AvaRows:
    number: dict[Keyframe, int] = {}
    frames, labels, boxes, score = [], [], [], []
    rows = _rows(path)
    while chunk := list(itertools.islice(rows, _ROWS_AT_A_TIME)):
        full = [row for row in chunk if scores or any(cell.strip() for cell in row[1][2:])]
        if len(full) < len(chunk):  # keyframes with nobody in them
            for where, row in chunk:
                number.setdefault(_keyframe(path, where, row), len(number))
        table = _numbers(path, full, scores=scores)
        frames.append(
            np.array([number.setdefault(key, len(number)) for key in table.keys], np.int64)
        )
        labels.append(table.values[:, 4].astype(np.int64))
        boxes.append(table.values[:, :4])
        score.append(table.values[:, 5:6])
    keyframes = sorted(number)
    place = np.empty(len(number), dtype=np.int64)
    place[[number[key] for key in keyframes]] = np.arange(len(number))
    frame = np.concatenate([np.empty(0, np.int64), *frames])
    return AvaRows(
        keyframes=tuple(keyframes),
        boxes=BoxTable(
            frame=place[frame],
            label=np.concatenate([np.empty(0, np.int64), *labels]),
            xyxy=np.concatenate([np.empty((0, 4)), *boxes]),
            score=np.concatenate([np.empty((0, 1)), *score])[:, 0] if scores else None,
        ),
    )


@dataclass(frozen=True, slots=True)
class _Chunk:
    keys: list[Keyframe]
    values: F64  # (R, 5 or 6): the box, the label, the score


def _numbers(path: Path, rows: list[tuple[int, list[str]]], *, scores: bool) -> _Chunk:
    """Turn rows into numbers all at once; only where that fails, look for the row at fault."""
    width = 8 if scores else 7
    values = np.empty((len(rows), width - 2))
    if not rows:
        return _Chunk([], values)
    try:
        # Strict: rows of several lengths (truth with and without a person's number) fail here.
        columns = list(zip(*(row for _, row in rows), strict=True))
    except ValueError:
        columns = list(zip(*(row[:width] for _, row in rows), strict=False))
    try:
        for i, column in enumerate(columns[2:width]):
            values[:, i] = np.fromiter(map(float, column), np.float64, len(rows))
        keys = list(zip(columns[0], map(int, columns[1]), strict=True))
        label = values[:, 4]
        good = (
            width <= min(len(row) for _, row in rows)
            and max(len(row) for _, row in rows) <= 8
            and bool(np.isfinite(values).all())
            and bool((values[:, 2:4] >= values[:, :2]).all())
            and bool(((label == np.floor(label)) & (label >= 0) & (label <= MAX_LABEL)).all())
        )
    except (ValueError, IndexError):
        good = False
    if not good:
        for number, row in rows:
            _check_row(path, number, row, scores=scores)
    return _Chunk(keys, values)


def _check_row(path: Path, number: int, row: list[str], *, scores: bool) -> None:
    """Raise what is wrong with a row, if anything is."""
    if len(row) not in ((8,) if scores else (7, 8)):
        expected = ",".join(_NAMES if scores else _NAMES[:7])
        raise _wrong(path, number, f"{len(row)} columns, expected {expected}")
    _keyframe(path, number, row)
    values = []
    for name, cell in zip(_NAMES[2 : 8 if scores else 7], row[2:], strict=False):
        try:
            values.append(float(cell))
        except ValueError:
            values.append(math.nan)
        if not math.isfinite(values[-1]):
            raise _wrong(path, number, f"{name} is {cell[:40]!r}, expected a number")
    x1, y1, x2, y2, label = values[:5]
    if x2 < x1 or y2 < y1:
        raise _wrong(path, number, f"the box {x1:g},{y1:g},{x2:g},{y2:g} ends before it begins")
    if label != int(label) or not 0 <= label <= MAX_LABEL:
        raise _wrong(path, number, f"label is {row[6]}, expected a whole number to {MAX_LABEL}")


def _keyframe(path: Path, number: int, row: list[str]) -> Keyframe:
    try:
        return row[0], int(row[1])
    except (IndexError, ValueError):
        cell = row[1][:40] if len(row) > 1 else ""
        hint = " (AVA's files have no header)" if number == 1 else ""
        raise _wrong(path, number, f"timestamp is {cell!r}, expected whole seconds{hint}") from None


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, with their line numbers."""
    try:
        with _open(path) as stream:
            reader = csv.reader(stream)
            for row in reader:
                if row:
                    yield reader.line_num, row
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def _text(path: Path) -> str:
    try:
        with _open(path) as stream:
            return stream.read()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _wrong(path: Path, number: int, what: str) -> ConfigError:
    return ConfigError(f"{path}, line {number}: {what}")
