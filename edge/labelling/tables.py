"""The data set's tables, split by source, and what is said of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from edge.labelling.clip_labels import ClipLabels, choose_val
from edge.labelling.detectors import Detector
from edge.labelling.plan import LabelJob
from edge.labelling.review import Rejected
from edge.labelling.store import LabelledVideo
from edge.labelling.videos import Video
from runtime.outputs import write_atomically

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


ANNOTATIONS = ("annotations.csv", "annotations_train.csv", "annotations_val.csv")
_PACKAGES = ("bmvit-edge", "numpy", "opencv-python", "onnxruntime", "scipy")


def split_videos(
    job: LabelJob,
    names: Sequence[str],
    groups: Mapping[str, str] | None,
    labels: Mapping[str, Mapping[str, bool]],
) -> tuple[list[str], dict[str, list[str]]]:
    """Return lines to print, and which videos go to which table.

    Raises:
        ConfigError: There is only one source.
    """
    if not job.val_share:
        return [], {"annotations.csv": list(names)}
    lines = []
    if groups is None:
        lines.append("no --groups: each video counts as a source of its own; two cuts of one "
                     "recording may come to both parts")  # fmt: skip
        groups = {name: name for name in names}
    unknown = [name for name in names if name not in groups]
    if unknown:
        lines.append(f"{len(unknown)} videos of unknown source are for train only")
    val = choose_val(names, groups, labels, job.val_share, job.seed)
    return lines, {
        "annotations_train.csv": [name for name in names if name not in val],
        "annotations_val.csv": [name for name in names if name in val],
    }


def write_tables(
    job: LabelJob,
    parts: Mapping[str, Sequence[str]],
    done: Mapping[str, LabelledVideo],
    rejected: Rejected,
) -> dict[str, Counts]:
    """Write the tables of the parts, remove those of another split, and count."""
    counts = {}
    for table in ANNOTATIONS:
        if table not in parts:
            (job.out / table).unlink(missing_ok=True)
            continue
        tally = counts[table] = Counts()
        rows = [row for name in parts[table]
                for row in keyframe_rows(done[name], job.keyframe_every_s, rejected.of(name),
                                         tally)]  # fmt: skip
        write_atomically(job.out / table, as_csv(rows))
    return counts


def write_or_remove(path: Path, rows: Iterable[Sequence[str]]) -> None:
    """Write a table that the data set may do without; remove an older one where it is empty."""
    text = as_csv(rows)
    if text:
        write_atomically(path, text)
    else:
        path.unlink(missing_ok=True)


def summary(
    job: LabelJob, flags: Mapping[str, Any], detector: Detector,
    parts: Mapping[str, Sequence[str]], counts: Mapping[str, Counts],
    lost: Sequence[tuple[Video, str]], rejected: Rejected,
) -> dict[str, Any]:  # fmt: skip
    """Return what `labelling.json` says of the run."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "detection": flags,
        "tracking": job.track_flags(),
        "rows": {
            "keyframe_every_s": job.keyframe_every_s, "present": list(job.present),
            "absent": list(job.absent), "val_share": job.val_share, "seed": job.seed,
            "groups": None if job.groups is None else job.groups.name,
            "review": None if job.review is None else job.review.name,
        },
        "detector": {"file": detector.path.name, "sha256": detector.sha256,
                     "layout": detector.layout.name, "input_wh": list(detector.layout.size_wh)},
        "versions": versions,
        "counts": {table: asdict(tally) for table, tally in counts.items()},
        "rejected": {
            "videos": len(rejected.videos), "tracks": len(rejected.tracks),
            "of_videos": {video: sorted(rejected.of(video))
                          for video in sorted({name for name, _ in rejected.tracks})},
        },
        "parts": {table: list(names) for table, names in parts.items()},
        "left_out": [{"video": video.file, "why": why} for video, why in lost],
    }  # fmt: skip


def summary_lines(
    job: LabelJob, counts: Mapping[str, Counts], lost: Sequence[tuple[Video, str]],
    rejected: Rejected, before: Mapping[str, Any] | None,
) -> list[str]:  # fmt: skip
    """Return lines that say what was written and what was left out."""
    lines = [f"left out: {video.file}: {why}" for video, why in lost]
    for table, tally in counts.items():
        lines.append(
            f"{table}: {tally.videos} videos, {tally.keyframes} keyframes ({tally.empty} with "
            f"nobody), {tally.tracks} tracks, {tally.rows} rows"
        )
    if job.review is not None:
        lines.append(f"rejected: {len(rejected.tracks)} tracks, {len(rejected.videos)} videos")
    elif before is not None and (before.get("rows") or {}).get("review"):
        lines.append("the review of an earlier run is not in these rows; add --review to use it")
    return lines


def next_commands(job: LabelJob, parts: Mapping[str, Sequence[str]]) -> list[str]:
    """Return lines with what to do next."""
    val = f" --val-data {job.out}:val" if len(parts) > 1 else ""
    data = f"{job.out}:train" if len(parts) > 1 else str(job.out)
    return [f"written to {job.out}", f"Check: edge data check {job.out}",
            f"Train: edge train --data {data}{val}"]  # fmt: skip
