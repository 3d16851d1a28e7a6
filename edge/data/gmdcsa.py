"""GMDCSA24: one person at home, the times of what they do, and boxes that a detector found.

    FOLDER/
      Subject_1_ADL.csv, Subject_1_Fall.csv, ...    times of the actions (`timed_actions.py`)
      Subject_1_ADL_01.mp4, ...                     the videos that rows of these name
    LABELLED/
      annotations.csv                               written by `edge label --source FOLDER`

There is one person in each video. Of the tracks that a detector followed the longest is that
person, with others that go on where it is lost; boxes beside it are the detector's errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge.data.folder import open_videos, read_fps, table_path
from edge.data.media import DEFAULT_FPS, Media, MediaFolder
from edge.data.problems import DataReport
from edge.data.samples import Bools, ClipSample
from edge.data.table import I64, Table, TableRules, read_table
from edge.data.timed_actions import CLASSES, TimedActions, read_actions
from edge.data.video_clips import ClipTable, VideoClips, build_table
from runtime.errors import ConfigError
from runtime.types import ClipSpec

SUBJECTS = ("subject1", "subject2", "subject3", "subject4")
_NAME = re.compile(r"Subject_(\d+)_")
_MOST_LABELS = 10_000
# Two tracks of one person are there together for no longer than a detector takes to change over.
_TOGETHER = 0.2


class TimedClips(VideoClips):
    """Clips of videos of which it is said when something is done, and when nobody knows."""

    def __init__(
        self, report: DataReport, shape: ClipSpec, clips: ClipTable, media: Mapping[str, Media],
        label_mask: Bools,
    ) -> None:  # fmt: skip
        """Hold what `open_gmdcsa24` found; `label_mask` (K, C) is that of each clip's person.

        Raises:
            ConfigError: There is no clip.
        """
        super().__init__(report, shape, clips, media, class_names=CLASSES,
                         label_ids=range(1, len(CLASSES) + 1), by_frame=False)  # fmt: skip
        self._label_mask = label_mask

    def without_frames(self, index: int) -> ClipSample:
        """Return clip `index` with black frames: its truth is known without decoding."""
        sample = super().without_frames(index)
        label_mask = self._label_mask[self.checked(index)]
        return replace(sample, label_mask=np.tile(label_mask, (len(sample.boxes), 1)))


def open_gmdcsa24(
    root: Path, shape: ClipSpec, report: DataReport, *, labelled: Path | None,
    subjects: Sequence[str] = (), strict: bool,
) -> TimedClips:  # fmt: skip
    """Read GMDCSA24.

    Args:
        root: Folder of the videos and of the times.
        shape: What a model asks for.
        report: Takes what is wrong.
        labelled: Folder that `edge label` wrote, or its table; by default `root` itself.
        subjects: Only these of `SUBJECTS`; all by default.
        strict: Refuse a table with a wrong row; else go on without it.

    Raises:
        ConfigError: Files are missing, a row is wrong, or no clip is left.
    """
    actions = read_actions(root)
    table = read_table(_boxes(root, labelled), TableRules(num_labels=_MOST_LABELS), report.problems)
    if strict:
        behind = "" if labelled is None else f":{labelled}"
        report.refuse_wrong_rows(f"edge data check gmdcsa24:{root}{behind}")
    wanted = [name for name in table.videos if name in actions and _is_of(name, subjects)]
    rows = np.flatnonzero(np.isin(table.video, [table.videos.index(name) for name in wanted]))
    media = open_videos(root, MediaFolder(root), read_fps(root, DEFAULT_FPS),
                        _only(table, rows), report)  # fmt: skip
    strangers = [name for name in table.videos if name not in actions]
    if strangers:
        report.notes.append(f"videos of which no times are known: {len(strangers)}")
    chosen: list[I64] = []
    beside = 0
    for name, one in media.items():
        there = rows[table.video[rows] == table.videos.index(name)]
        kept = one_person(table, there)
        late = table.timestamp[kept] > one.end_s
        report.lost_keyframes += int(late.sum())
        beside += len(there) - len(kept)
        chosen.append(kept[~late])
        report.notes += [f"{name}: {what}; when is not known" for what in actions[name].odd]
    if beside:
        report.notes.append(f"{beside} boxes beside the one person are left out")
    return _clips(report, shape, table, media, chosen, [actions[name] for name in media])


def _boxes(root: Path, labelled: Path | None) -> Path:
    """Return the table of boxes.

    Raises:
        ConfigError: There is none.
    """
    folder = root if labelled is None else labelled
    if folder.is_file():
        return folder
    try:
        return table_path(folder, None, named=False)
    except ConfigError as error:
        raise ConfigError(
            f"{error}. Boxes come from a detector: edge label --source {root} --detector ONNX "
            f"--out DIR, then gmdcsa24:{root}:DIR"
        ) from None


def _is_of(name: str, subjects: Sequence[str]) -> bool:
    match = _NAME.match(name)
    return not subjects or (match is not None and f"subject{match.group(1)}" in subjects)


def _only(table: Table, rows: I64) -> Table:
    """Return some rows of a table."""
    none = np.zeros(0)
    return replace(
        table, video=table.video[rows], timestamp=table.timestamp[rows], boxes=table.boxes[rows],
        label=table.label[rows], person=table.person[rows], row=table.row[rows],
        empty_video=none.astype(np.int64), empty_timestamp=none,
    )  # fmt: skip


def one_person(table: Table, rows: I64) -> I64:
    """Return the rows of the one person of a video, one a time, in the order of time."""
    tracks = [rows[table.person[rows] == person] for person in np.unique(table.person[rows])]
    # Of tracks as long as each other the first one is the surest.
    tracks.sort(key=lambda track: (-len(track), track[0]))
    kept: dict[float, int] = {}
    for track in tracks:
        times = table.timestamp[track].tolist()
        if sum(time in kept for time in times) <= _TOGETHER * len(times):
            for time, row in zip(times, track.tolist(), strict=True):
                kept.setdefault(time, row)
    return np.array([kept[time] for time in sorted(kept)], np.int64)


def _clips(
    report: DataReport, shape: ClipSpec, table: Table, media: Mapping[str, Media],
    chosen: Sequence[I64], actions: Sequence[TimedActions],
) -> TimedClips:  # fmt: skip
    """Put keyframes, people, labels and what is known of them together."""
    labels: list[int] = []
    owners: list[int] = []
    known: list[Bools] = []
    for rows, said in zip(chosen, actions, strict=True):
        for time in table.timestamp[rows].tolist():
            done, label_mask = said.at(time)
            numbers = sorted(CLASSES.index(name) for name in done)
            owners += [len(known)] * len(numbers)
            labels += numbers
            known.append(label_mask)
    rows = np.concatenate([*chosen, np.zeros(0, np.int64)])
    video = np.repeat(np.arange(len(chosen)), [len(part) for part in chosen])
    opened = list(media.values())
    times = table.timestamp[rows]
    frame = [opened[v].frame_at(t) for v, t in zip(video.tolist(), times.tolist(), strict=True)]
    clips = build_table(
        video=video,
        frame=np.array(frame, np.int64),
        timestamp=times,
        actor_keyframe=np.arange(len(rows)),
        boxes=table.boxes[rows],
        label_actor=np.array(owners, np.int64),
        labels=np.array(labels, np.int64),
    )
    label_mask = np.stack(known) if known else np.zeros((0, len(CLASSES)), bool)
    return TimedClips(report, shape, clips, media, label_mask)
