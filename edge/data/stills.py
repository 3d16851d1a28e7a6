"""Photographs as clips: people who keep still, seen by a camera that moves (`still_motion.py`).

    FOLDER/
      NAME.jpg             or .png, also in folders below
      boxes.csv            image,x1,y1,x2,y2[,score]: the people, in shares of the picture;
                           image,,,, where a person has seen that nobody is there

The table may lie elsewhere (`stills:FOLDER:BOXES.csv`). A score is a detector's; a picture with
somebody of whom it is not sure gives no clip, since who is not labelled is taught as nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from edge.data.dataset import ClipDataset
from edge.data.problems import DataReport, several
from edge.data.samples import F32, U8, ClipSample
from edge.data.still_motion import F64, CameraMotion, draw_windows, seen_shares, show, through
from edge.data.table import box_fault, csv_rows
from runtime.errors import CaptureError, ConfigError
from runtime.sources.images import read_image
from runtime.sources.uri import IMAGE_SUFFIXES
from runtime.types import ClipSpec

PERSON = "person"
BOXES_FILE = "boxes.csv"
HEADER = "image,x1,y1,x2,y2,score"
SURE = 0.4
"""Score from which on a box is a person."""
NOTHING = 0.15
"""Score below which it is none. Between the two it is not known."""
# A box that covers a sure one by so much is that person again.
_SAME = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """One picture.

    Attributes:
        name: Its path below the folder.
        boxes: (M, 4) the people in it, xyxy in shares.
    """

    name: str
    boxes: F32


class StillClips(ClipDataset):
    """Clips of photographs by index; each pass over them moves the camera anew."""

    class_names = (PERSON,)
    changes_by_epoch = True

    def __init__(
        self, root: Path, stills: list[Still], shape: ClipSpec, report: DataReport, *,
        motion: CameraMotion | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        """Hold what `open_stills` found.

        Raises:
            ConfigError: There is no picture.
        """
        if not stills:
            why = f"; the first fault: {report.skipped[0]}" if len(report.skipped) else ""
            raise ConfigError(f"{report.name} has no picture that can be used{why}")
        self.root, self.shape, self.report, self.seed = root, shape, report, seed
        self.motion = motion or CameraMotion()
        self._names = tuple(still.name for still in stills)
        self._starts = np.cumsum([0, *(len(still.boxes) for still in stills)])
        self._boxes = np.concatenate([still.boxes for still in stills])
        steps = np.arange(shape.num_frames, dtype=np.float64) - shape.keyframe_index
        self._times_s = steps * shape.period_s
        report.videos = report.keyframes = len(stills)
        report.actors = len(self._boxes)
        report.per_class = {PERSON: report.actors}

    @property
    def class_counts(self) -> Mapping[str, float]:
        """How many people there are."""
        return dict(self.report.per_class)

    @property
    def actor_count(self) -> float:
        """How many people act: all of them."""
        return float(self.report.actors)

    @property
    def files(self) -> list[Path]:
        """Return the pictures."""
        return [self.root / name for name in self._names]

    def __len__(self) -> int:
        """Return the number of clips of a pass."""
        return len(self._names)

    def clip(self, index: int, epoch: int = 0) -> ClipSample:
        """Return picture `index` as a pass shows it.

        Raises:
            IndexError: There is no such picture.
            CaptureError: It cannot be decoded.
        """
        still = self.checked(index)
        boxes = self._boxes[self._starts[still] : self._starts[still + 1]]
        picture = read_picture(self.root / self._names[still])
        random = np.random.default_rng([self.seed, epoch, still])
        windows = draw_windows(boxes, self._times_s, self.shape.keyframe_index, self.motion, random)
        frames = show(picture, windows, boxes, self.shape.height, self.shape.width)
        window = windows[self.shape.keyframe_index]
        seen = seen_shares(boxes, window) >= self.motion.keep
        people = int(seen.sum())
        width, height = (max(1, round(float(s))) for s in window[2:] * picture.shape[1::-1])
        return ClipSample(
            frames_rgb=frames,
            boxes=through(boxes[seen], window),
            labels=np.ones((people, 1), np.float32),
            inactive_persons=np.zeros((0, 4), np.float32),
            clip_id=self._names[still] + (f"@{epoch}" if epoch else ""),
            size_wh=(width, height),
        )


def read_picture(path: Path) -> U8:
    """Read a picture as RGB.

    Raises:
        CaptureError: It is missing or cannot be decoded.
    """
    if not path.is_file():
        raise CaptureError(f"{path} is missing; replace it, or remove its rows")
    picture: U8 = cv2.cvtColor(read_image(path), cv2.COLOR_BGR2RGB)
    return picture


def open_stills(
    root: Path, shape: ClipSpec, report: DataReport, *, table: Path | None = None, strict: bool,
    seed: int = 0,
) -> StillClips:  # fmt: skip
    """Read a folder of photographs.

    Args:
        root: The folder.
        shape: What a model asks for.
        report: Takes what is wrong.
        table: The boxes; `boxes.csv` in the folder by default.
        strict: Refuse a table with a wrong row; else go on without it.
        seed: Of the camera's motion.

    Raises:
        ConfigError: There is no table, a row is wrong, or no picture is left.
    """
    table = root / BOXES_FILE if table is None else table
    if not table.is_file():
        raise ConfigError(
            f"{table} is no file, expected a table of {HEADER}; edge label --pictures writes one, "
            f"to be named by stills:{root}:BOXES.csv"
        )
    there = {path.relative_to(root).as_posix() for path in sorted(root.rglob("*"))
             if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()}  # fmt: skip
    found = _read(table, there, report)
    if strict:
        beside = "" if table == root / BOXES_FILE else f":{table}"
        report.refuse_wrong_rows(f"edge data check stills:{root}{beside}")
    stills, unsure, nobody = [], 0, 0
    for name in sorted(found):
        rows = np.array(found[name], np.float64).reshape(-1, 5)
        boxes = _people(rows[:, :4], rows[:, 4])
        if boxes is None:
            unsure += 1
        elif not len(boxes) and len(rows):
            nobody += 1
        else:
            stills.append(Still(name=name, boxes=boxes))
    for count, why in (
        (unsure, f"with somebody of a score from {NOTHING:g} to {SURE:g}, who may be a person"),
        (nobody, f"with nobody of a score of {SURE:g} or more"),
        (len(there - set(found)), f"without a row in {table.name}"),
    ):
        if count:
            report.notes.append(f"left out: {count} pictures {why}")
    return StillClips(root, stills, shape, report, seed=seed)


def _people(boxes: F64, scores: F64) -> F32 | None:
    """Return who is surely in a picture, (M, 4); None where somebody else may be."""
    sure = boxes[scores >= SURE]
    if len(sure):
        doubtful = boxes[(scores < SURE) & (scores >= NOTHING)]
        if any(_overlaps(box, sure).max() < _SAME for box in doubtful):
            return None
    return np.ascontiguousarray(sure, np.float32).reshape(-1, 4)


def _overlaps(box: F64, others: F64) -> F64:
    """Return the overlap of a box with others, intersection over the smaller area."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    overlap: F64 = shared / np.minimum(areas, np.prod(box[2:] - box[:2]))
    return overlap


def _read(table: Path, there: set[str], report: DataReport) -> dict[str, list[list[float]]]:
    """Return box and score of each good row by picture; name the others."""
    found: dict[str, list[list[float]]] = {}
    missing: dict[str, int] = {}
    for number, cells in csv_rows(table, header="image"):
        name = cells[0]
        came, expected = "", ""
        if len(cells) not in (5, 6):
            came, expected = f"{len(cells)} column{'s' * (len(cells) != 1)}", HEADER
        elif not name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            came, expected = f"image {name[:60]!r}", "the name of a picture below the folder"
        elif not any(cells[1:]):
            if found.setdefault(name, []):
                came, expected = "nobody, and people in other rows", "one of the two"
        elif name in found and not found[name]:
            came, expected = "a person, and nobody in another row", "one of the two"
        else:
            came, expected = box_fault(cells[1:5]) or _score_fault(cells[5:]) or ("", "")
        if came:
            report.wrong(table, number, came, expected)
        elif name not in there:
            found.pop(name, None)
            missing.setdefault(name, number)
        elif any(cells[1:]):
            box = np.clip(list(map(float, cells[1:5])), 0.0, 1.0).tolist()
            score = float(cells[5]) if len(cells) > 5 and cells[5] else 1.0
            found.setdefault(name, []).append([*box, score])
    for name, number in missing.items():
        report.lost_keyframes += 1
        report.skip(table, f"image {name[:80]!r}", "a picture of the folder", number)
    if len(missing) > 3:
        report.notes.append(f"rows of pictures that are not there: {several(missing)}")
    return found


def _score_fault(cells: list[str]) -> tuple[str, str] | None:
    if not cells or not cells[0]:
        return None  # labelled by a person
    try:
        good = 0.0 <= float(cells[0]) <= 1.0
    except ValueError:
        good = False
    return None if good else (f"score {cells[0][:40]!r}", "a number from 0 to 1, or nothing")
