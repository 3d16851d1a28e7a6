"""People's own data: a folder of videos, an AVA-style table, and a list of classes.

    DATA/
      videos/NAME.mp4          or videos/NAME/000001.jpg ..., or frames/NAME/...
      annotations.csv          video,timestamp,x1,y1,x2,y2,label[,person]
      classes.txt              one action a line; the first one is label 1
      excluded.csv             optional: video,timestamp of keyframes that do not count
      video_labels.csv         optional: what somebody does in a video, or nobody
      groups.csv               optional: which recording a video is from
      fps.txt                  optional: frames a second of the folders of pictures (else 30)

`annotations_train.csv` and `annotations_val.csv` in place of the one table make two parts.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from edge.data.media import (
    DEFAULT_FPS,
    Media,
    MediaFolder,
    first_folder,
    open_media,
    open_named,
    what_is_there,
)
from edge.data.problems import DataReport, several
from edge.data.table import I64, Table, TableRules, read_table, repeated_rows
from edge.data.video_clips import VideoClips, clips_of_table
from edge.data.video_labels import read_video_labels
from runtime.errors import CaptureError, ConfigError
from runtime.options import did_you_mean
from runtime.types import ClipSpec

PARTS = ("train", "val", "test")
MEDIA_FOLDERS = ("videos", "frames")
MAX_CLASSES = 10_000


def open_folder(
    root: Path, shape: ClipSpec, report: DataReport, *, part: str | None, named: bool, strict: bool
) -> VideoClips:
    """Read people's own data.

    Args:
        root: The folder.
        shape: What a model asks for.
        report: Takes what is wrong.
        part: Which table, where there are several.
        named: Whether that part was asked for by name: then there must be a table of its own.
        strict: Refuse a table with a wrong row; else go on without it.

    Raises:
        ConfigError: The folder is not laid out so, a row is wrong, or no clip is left.
    """
    names, ids = read_classes(root, report)
    path = table_path(root, part, named=named)
    rules = TableRules(num_labels=max(ids), whole_seconds=False, inactive_persons=True)
    table = read_table(path, rules, report.problems)
    base = first_folder(root, MEDIA_FOLDERS)
    if base is None:
        raise ConfigError(f"{root} has no folder videos (or frames), expected the videos in it")
    folder = MediaFolder(base)
    if not folder.names:
        raise ConfigError(f"{base} holds no video and no folder of pictures{what_is_there(base)}")
    table = _one_name_each(folder, table, path.name, report)
    class_of = np.full(max(ids), -1, np.int64)
    class_of[np.array(ids) - 1] = np.arange(len(ids))
    _check_rows(path, table, class_of, report)
    video_labels = read_video_labels(root, folder, table, class_of, report)
    if strict:
        report.refuse_wrong_rows(f"edge data check {root}")
    media = open_videos(base, folder, read_fps(root, DEFAULT_FPS), table, report)
    keep, keep_empty = rows_in_reach(path, table, media, report, _excluded(root))
    clips = clips_of_table(table, media, keep, keep_empty, class_of.tolist())
    return VideoClips(
        report, shape, clips, media, class_names=names, label_ids=ids, by_frame=False,
        video_labels=video_labels,
    )  # fmt: skip


def read_classes(root: Path, report: DataReport) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the names of the actions and their numbers in the table.

    Raises:
        ConfigError: There is no list of classes, or nothing in it.
    """
    plain, label_map = root / "classes.txt", root / "classes.pbtxt"
    if not plain.is_file() and label_map.is_file():
        from edge.data.ava_files import read_label_map

        known = sorted(read_label_map(label_map).items())
        if known[0][0] < 1:
            raise ConfigError(f"{label_map}: the id {known[0][0]}; expected ids from 1")
        return tuple(name for _, name in known), tuple(label for label, _ in known)
    if not plain.is_file():
        raise ConfigError(
            f"{root} has no classes.txt, expected one action a line; the first one is label 1"
        )
    try:
        lines = plain.read_text(encoding="utf-8-sig").rstrip().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{plain} cannot be read: {error}") from error
    names = [line.strip() for line in lines]
    if not any(names) or len(names) > MAX_CLASSES:
        raise ConfigError(f"{plain} names {sum(map(bool, names))} actions, expected 1 to "
                          f"{MAX_CLASSES}, one a line")  # fmt: skip
    seen: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if not name or name in seen:
            came = f"{name!r} again, as in row {seen[name]}" if name else "a blank line"
            report.wrong(plain, number, came, "another action: the number of the line is its label")
        seen.setdefault(name, number)
    unique = [name if seen[name] == i else f"{name or 'blank'} ({i})"
              for i, name in enumerate(names, 1)]  # fmt: skip
    return tuple(unique), tuple(range(1, len(names) + 1))


def table_path(root: Path, part: str | None, *, named: bool) -> Path:
    """Return the table of a part.

    Raises:
        ConfigError: There is none.
    """
    if part is not None:
        for name in (f"annotations_{part}.csv", f"annotations_{part}.csv.gz"):
            if (root / name).is_file():
                return root / name
    parts = sorted(path.name for path in root.glob("annotations_*.csv*"))
    whole = next((p for p in (root / "annotations.csv", root / "annotations.csv.gz")
                  if p.is_file()), None)  # fmt: skip
    if whole is not None and not named:
        return whole
    wanted = f"annotations_{part}.csv" if named else "annotations.csv"
    there = several(parts + ([whole.name] if whole is not None else []))
    raise ConfigError(
        f"{root} has no {wanted}{f' (it has {there})' if there else ''}; expected rows of "
        "video,timestamp,x1,y1,x2,y2,label"
    )


def read_fps(root: Path, default: float) -> float:
    """Return the rate of folders of pictures: `fps.txt`, or the default.

    Raises:
        ConfigError: `fps.txt` holds no rate.
    """
    path = root / "fps.txt"
    if not path.exists():
        return default
    if not path.is_file():
        raise ConfigError(f"{path} is no file, expected frames a second, as 25")
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
        fps = float(text)
    except (OSError, ValueError):
        raise ConfigError(f"{path} holds no number, expected frames a second, as 25") from None
    if not 0.01 <= fps <= 1000:
        raise ConfigError(f"{path} holds {text[:40]}, expected frames a second from 0.01 to 1000")
    return fps


def _excluded(root: Path) -> frozenset[tuple[str, float]]:
    path = root / "excluded.csv"
    if not path.is_file():
        return frozenset()
    found = set()
    for number, line in enumerate(path.read_text("utf-8-sig", "replace").splitlines(), 1):
        if not line.strip():
            continue
        video, _, timestamp = line.rpartition(",")
        try:
            found.add((video.strip(), float(timestamp)))
        except ValueError:
            raise ConfigError(
                f"{path}, row {number}: {line[:60]!r}; expected video,timestamp"
            ) from None
    return frozenset(found)


def _check_rows(path: Path, table: Table, class_of: I64, report: DataReport) -> None:
    """Name rows that are each good and contradict each other."""
    for row, earlier in repeated_rows(table):
        report.wrong(path, row, f"the same as row {earlier}", "each action of a person once")
    known = np.flatnonzero(table.person >= 0)
    key = np.column_stack([table.video, table.timestamp, table.person])[known]
    _, first, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
    other = known[first[group.reshape(-1)]]
    moved = (table.boxes[known] != table.boxes[other]).any(axis=1)
    for i, j in zip(known[moved].tolist(), other[moved].tolist(), strict=True):
        report.wrong(
            path,
            int(table.row[i]),
            f"another box for the person of row {table.row[j]}",
            "one box for a person at a time",
        )
    labelled = np.flatnonzero(table.label > 0)
    for i in labelled[class_of[table.label[labelled] - 1] < 0].tolist():
        report.wrong(path, int(table.row[i]), f"label {table.label[i]}", "a label of classes.pbtxt")


def open_videos(
    base: Path, folder: MediaFolder, fps: float, table: Table, report: DataReport
) -> dict[str, Media]:
    """Open each video that the table names; say which cannot be used."""

    def opened(name: str) -> Media:
        file = folder.find(name)
        if file is None:
            raise CaptureError(f"it is not in {base}.{did_you_mean(name, folder.known)}")
        return open_media(file, fps=fps)

    def where(name: str) -> str:
        rows = table.row[table.video == table.videos.index(name)].tolist()
        rest = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        return f"video {name[:80]!r}" + (f" (row {rows[0]}{rest})" if rows else "")

    used = np.zeros(len(table.videos), bool)
    used[table.video] = used[table.empty_video] = True
    names = [name for index, name in enumerate(table.videos) if used[index]]
    return dict(sorted(open_named(names, opened, report, where=where).items()))


def _one_name_each(folder: MediaFolder, table: Table, file_name: str, report: DataReport) -> Table:
    """Let all names of one file (with its suffix and without) mean the same video."""
    first: dict[Path, int] = {}
    number = np.arange(len(table.videos))
    for index, name in enumerate(table.videos):
        try:
            path = folder.find(name)
        except CaptureError:
            continue
        if path is not None:
            number[index] = first.setdefault(path, index)
    idle = [name for name in folder.names if folder.find(name) not in first]
    if idle:
        report.notes.append(f"videos without a row in {file_name}: {several(idle)}")
    if (number == np.arange(len(number))).all():
        return table
    return replace(table, video=number[table.video], empty_video=number[table.empty_video])


def rows_in_reach(
    path: Path,
    table: Table,
    media: dict[str, Media],
    report: DataReport,
    excluded: frozenset[tuple[str, float]],
) -> tuple[I64, I64]:
    """Return the rows, with people and without, whose keyframe lies in a video that opened."""
    starts, ends = np.full((2, len(table.videos)), np.nan)
    for index, name in enumerate(table.videos):
        if name in media:
            starts[index], ends[index] = media[name].start_s, media[name].end_s
    kept = []
    lost: set[tuple[int, float]] = set()
    for video, time in ((table.video, table.timestamp), (table.empty_video, table.empty_timestamp)):
        there = np.isfinite(starts)[video]
        inside = there & (time >= starts[video]) & (time <= ends[video])
        lost.update(zip(video[~inside].tolist(), time[~inside].tolist(), strict=True))
        if excluded:
            pairs = zip(video.tolist(), time.tolist(), strict=True)
            inside &= np.array([(table.videos[v], t) not in excluded for v, t in pairs], bool)
        kept.append(np.flatnonzero(inside))
    report.lost_keyframes += len(lost)
    beyond = np.isfinite(starts)[table.video] & (
        (table.timestamp < starts[table.video]) | (table.timestamp > ends[table.video])
    )
    for index in np.unique(table.video[beyond]).tolist():
        rows = table.row[beyond & (table.video == index)]
        times = table.timestamp[beyond & (table.video == index)]
        report.skip(
            path,
            f"time {times[0]:g} s of {table.videos[index][:80]} ({len(rows)} such rows)",
            f"{starts[index]:g} to {ends[index]:.2f} s, which the video covers",
            int(rows[0]),
        )
    return kept[0], kept[1]
