"""Tubes as a file: JSON that any language writes, and no pickle.

{
 "class_names": ["run", "sit"],
 "tubes": [
  {"video": "a", "label": "run", "score": 0.9, "first": 0,
   "boxes": [[10, 20, 50, 90], [11, 20, 51, 90]]},
  {"video": "a", "label": "sit", "score": 0.4, "frames": [7, 8, 9], "scores": [0.3, 0.4, 0.5],
   "boxes": [[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]]}
 ]
}

Boxes are x1, y1, x2, y2 in px of the original frame, frames count from 0. `label` is a name or its
place in `class_names`, from 0. `first` stands for frames that follow one another; with `frames` a
tube may have gaps. `score` is for tubes that a model says: without it they are the truth. `scores`,
one for each box, may stand beside it, for frame-mAP. A name that ends in `.gz` is compressed.
"""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

import numpy as np
import numpy.typing as npt

from edge.data.annotations import Tube
from edge.evaluation.video import FoundTube
from runtime.errors import ConfigError
from runtime.outputs import write_atomically

F32 = npt.NDArray[np.float32]

MAX_FRAME = 100_000_000
MAX_NUMBER = 1e30  # a float32 holds it
_FIELDS = ("video", "label", "score", "first", "frames", "boxes", "scores")


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthFile:
    """The true tubes of a file."""

    class_names: tuple[str, ...]
    tubes: tuple[Tube, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """The tubes of a model.

    Attributes:
        class_names: Names of the actions.
        tubes: The tubes.
        scores: For each tube the score of each box; that of the tube where the file has none.
    """

    class_names: tuple[str, ...]
    tubes: tuple[FoundTube, ...]
    scores: tuple[F32, ...]


def is_tube_file(path: Path) -> bool:
    """Tell by its name whether a file holds tubes."""
    return path.name.lower().removesuffix(".gz").endswith(".json")


def read_true_tubes(path: str | Path) -> TruthFile:
    """Read the truth.

    Raises:
        ConfigError: The file cannot be read, or a tube of it, which is named.
    """
    path = Path(path)
    names, rows = _content(path)
    tubes = tuple(Tube(**_tube(path, number, row, names)) for number, row in enumerate(rows))
    return TruthFile(class_names=names, tubes=tubes)


def read_found_tubes(path: str | Path) -> FoundFile:
    """Read the tubes of a model; raises as `read_true_tubes` does."""
    path = Path(path)
    names, rows = _content(path)
    tubes, scores = [], []
    for number, row in enumerate(rows):
        values = _tube(path, number, row, names)
        score = row.get("score")
        if not _is_number(score):
            _wrong(path, number, f"score is {_short(score)}, expected a number")
        tubes.append(FoundTube(**values, score=float(score)))
        each = row.get("scores")
        count = len(values["frames"])
        if each is None:
            each = [score] * count
        if not isinstance(each, list) or len(each) != count or not all(map(_is_number, each)):
            _wrong(path, number, f"scores is {_short(each)}, expected {count} numbers")
        scores.append(np.array(each, dtype=np.float32))
    return FoundFile(class_names=names, tubes=tuple(tubes), scores=tuple(scores))


def write_tubes(path: str | Path, class_names: Sequence[str], tubes: Sequence[Tube]) -> None:
    """Write tubes, whole or not at all; `FoundTube`s with their scores."""
    path = Path(path)
    content = {"class_names": list(class_names), "tubes": [_plain(t, class_names) for t in tubes]}
    text = json.dumps(content, ensure_ascii=False).replace('{"video"', '\n{"video"') + "\n"
    data = text.encode("utf-8")
    write_atomically(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def _plain(tube: Tube, class_names: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"video": tube.video, "label": class_names[tube.label]}
    if isinstance(tube, FoundTube):
        row["score"] = tube.score
    if tube.frames[-1] - tube.frames[0] + 1 == len(tube):
        row["first"] = int(tube.frames[0])
    else:
        row["frames"] = tube.frames.tolist()
    # As many digits as it takes to read the same float32 back, and no more.
    row["boxes"] = [[float(f"{v:.9g}") for v in box] for box in tube.boxes.tolist()]
    return row


def _content(path: Path) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
        content = json.loads(text, parse_constant=_no_constant)
    except (OSError, EOFError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    except (ValueError, RecursionError, zlib.error) as error:
        raise ConfigError(f"{path} is no JSON file: {str(error)[:120]}") from error
    names = content.get("class_names") if isinstance(content, dict) else None
    rows = content.get("tubes") if isinstance(content, dict) else None
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names) or not names:
        raise ConfigError(f'{path} has no "class_names", expected a list of names')
    if len(set(names)) != len(names):
        raise ConfigError(f"{path} has a class name twice")
    if not isinstance(rows, list):
        raise ConfigError(f'{path} has no "tubes", expected a list of tubes')
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            _wrong(path, number, f"{_short(row)}, expected an object with {', '.join(_FIELDS)}")
    return tuple(names), rows


def _tube(path: Path, number: int, row: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return what a tube is made of."""
    unknown = sorted(set(row) - set(_FIELDS))
    if unknown:
        _wrong(path, number, f"unknown key {unknown[0]!r}, expected {', '.join(_FIELDS)}")
    video, label, boxes = row.get("video"), row.get("label"), row.get("boxes")
    if not isinstance(video, str) or not video:
        _wrong(path, number, f"video is {_short(video)}, expected a name")
    if isinstance(label, str) and label in names:
        label = names.index(label)
    if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < len(names):
        _wrong(path, number, f"label is {_short(label)}, expected a class name or its number")
    good = isinstance(boxes, list) and all(
        isinstance(box, list) and len(box) == 4 and all(map(_is_number, box)) for box in boxes
    )
    if not good or not boxes:
        _wrong(path, number, f"boxes is {_short(boxes)}, expected a list of [x1, y1, x2, y2]")
    xyxy = np.array(boxes, dtype=np.float32)
    bad = np.flatnonzero((xyxy[:, 2:] < xyxy[:, :2]).any(axis=1) | ~np.isfinite(xyxy).all(axis=1))
    if len(bad):
        _wrong(path, number, f"box {bad[0]} is {boxes[bad[0]]}, expected x1 <= x2 and y1 <= y2")
    frames = _frames(path, number, row, len(boxes))
    return {"video": video, "label": label, "frames": frames, "boxes": xyxy}


def _frames(path: Path, number: int, row: dict[str, Any], count: int) -> npt.NDArray[np.int64]:
    if ("first" in row) == ("frames" in row):
        _wrong(path, number, 'expected either "first" or "frames"')
    frames = row.get("frames", [row.get("first")])
    whole = isinstance(frames, list) and all(
        isinstance(f, int) and not isinstance(f, bool) and 0 <= f <= MAX_FRAME for f in frames
    )
    if not whole:
        _wrong(path, number, f"its frames are {_short(frames)}, expected whole numbers from 0")
    if "first" in row:
        return np.arange(frames[0], frames[0] + count, dtype=np.int64)
    if len(frames) != count or any(b <= a for a, b in itertools.pairwise(frames)):
        _wrong(path, number, f"{len(frames)} frames for {count} boxes, expected as many, rising")
    return np.array(frames, dtype=np.int64)


def _is_number(value: object) -> TypeGuard[float]:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return real and -MAX_NUMBER <= value <= MAX_NUMBER  # type: ignore[operator]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _wrong(path: Path, number: int, what: str) -> NoReturn:
    raise ConfigError(f"{path}, tube {number}: {what}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:38] + ".."
