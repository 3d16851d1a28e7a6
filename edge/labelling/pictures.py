"""People of single photographs: a table of boxes, as `stills:FOLDER:boxes.csv` reads it.

Without time there are no tracks, so every box comes with its score, and the reader says which
scores are people.
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edge.data.stills import BOXES_FILE, HEADER
from edge.labelling.boxes import Boxes
from edge.labelling.detectors import Detector, Image
from edge.labelling.plan import LabelJob
from edge.labelling.store import FORMAT, SUMMARY, read_summary, refuse_other_flags
from edge.labelling.tables import as_csv
from edge.labelling.tta import find_people
from edge.labelling.videos import MOST_LOST, refuse_nested
from runtime.errors import ArtifactError, CaptureError, ConfigError
from runtime.outputs import write_atomically
from runtime.sources.images import read_image
from runtime.sources.uri import IMAGE_SUFFIXES

logger = logging.getLogger(__name__)

Rows = dict[str, list[list[str]]]
# What a run that is stopped loses at most.
_BETWEEN_WRITES = 200
_DEPENDS_ON = ("detector", "person_class", "scales", "flip")


def label_pictures(
    job: LabelJob, progress: Callable[[str, int, int], None] | None = None
) -> list[str]:
    """Find people in all pictures of a folder; return the lines to print.

    Pictures that are finished in `job.out` are not looked at again.

    Raises:
        ConfigError: There is no picture, or the folder was begun with other flags.
        ArtifactError: The detector cannot be used, or a finished file is damaged.
        CaptureError: More than a tenth of the pictures cannot be read.
    """
    names = _pictures(job.source)
    refuse_nested(job.source, job.out)
    detector = Detector(job.detector, person_class=job.person_class, threads=job.threads)
    every = job.detection_flags(detector.sha256)
    flags = {"pictures": True, **{name: every[name] for name in _DEPENDS_ON}}
    if job.overwrite and (job.out / SUMMARY).is_file():
        for name in (SUMMARY, BOXES_FILE):
            (job.out / name).unlink(missing_ok=True)
    before = read_summary(job.out)
    if before is not None:
        advice = "give the same, name another --out, or add --overwrite to begin again"
        refuse_other_flags(job.out, before.get("detection", {}), flags, advice)
    rows = _finished(job.out, before)
    if before is None:
        _write(job.out, flags, {}, [])
    broken: list[str] = []
    for number, name in enumerate(names, 1):
        if name not in rows:
            try:
                found = read_image(job.source / name)
            except CaptureError:
                broken.append(name)
                if len(broken) > MOST_LOST * len(names):
                    raise CaptureError(
                        f"{len(broken)} of {len(names)} pictures cannot be read, more than a "
                        f"tenth; the last is {name}"
                    ) from None
                continue
            rows[name] = _rows(name, found, find_people(detector, found, job.views))
        if number % _BETWEEN_WRITES == 0:
            _write(job.out, flags, rows, broken)
        if progress is not None:
            progress("label", number, len(names))
    rows = {name: rows[name] for name in names if name in rows}
    _write(job.out, flags, rows, broken)
    people = sum(float(row[5]) >= job.tracks.conf for found in rows.values() for row in found)
    return [
        *(f"left out: {name}: it cannot be read as a picture" for name in broken),
        f"{BOXES_FILE}: {len(rows)} pictures, {people} boxes of a score from {job.tracks.conf:g}, "
        f"{sum(not found for found in rows.values())} pictures with no box at all",
        f"Train: edge train --data stills:{job.source}:{job.out / BOXES_FILE}",
    ]


def _pictures(source: Path) -> list[str]:
    """List the pictures of a folder and of the folders in it.

    Raises:
        ConfigError: There is none.
    """
    paths = sorted(source.rglob("*")) if source.is_dir() else []
    names = [p.relative_to(source).as_posix() for p in paths
             if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]  # fmt: skip
    if not names:
        raise ConfigError(f"--pictures: --source {source} is no folder with pictures "
                          f"({' '.join(sorted(IMAGE_SUFFIXES))})")  # fmt: skip
    return names


def _rows(name: str, image: Image, boxes: Boxes) -> list[list[str]]:
    shares = boxes.xyxy / np.tile(image.shape[1::-1], 2)
    return [
        [name, *(f"{value:.4f}" for value in box), f"{score:.3f}"]
        for box, score in zip(shares, boxes.scores, strict=True)
        # What is no wider than the last figure is no box.
        if (np.round(box[2:], 4) > np.round(box[:2], 4)).all()
    ]


def _finished(out: Path, before: dict[str, Any] | None) -> Rows:
    """Return the rows of pictures that a run before this one looked at."""
    if before is None:
        return {}
    rows: Rows = {str(name): [] for name in before.get("nobody", [])}
    path = out / BOXES_FILE
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            for row in list(csv.reader(file))[1:]:
                if len(row) != len(HEADER.split(",")):
                    raise ArtifactError(f"{path} is damaged; add --overwrite to begin again")
                rows.setdefault(row[0], []).append(row)
    return rows


def _write(out: Path, flags: dict[str, Any], rows: Rows, broken: list[str]) -> None:
    """Write what the table is, then the table; what a kill leaves of the two is looked at again."""
    content = {
        "format": FORMAT, "detection": flags, "tracking": None,
        "nobody": [name for name, found in rows.items() if not found], "broken": broken,
    }  # fmt: skip
    write_atomically(out / SUMMARY, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    table = [row for found in rows.values() for row in found]
    write_atomically(out / BOXES_FILE, as_csv([HEADER.split(","), *table]))
