"""The data set's tables, split by source, and what is said of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edge.labelling.clip_labels import choose_val
from edge.labelling.detectors import Detector
from edge.labelling.plan import LabelJob
from edge.labelling.review import Rejected
from edge.labelling.rows import Counts, as_csv, keyframe_rows
from edge.labelling.sources import Video
from edge.labelling.store import LabelledVideo
from runtime.outputs import write_atomically

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


def told(
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
