"""AVA v2.2 (and its older versions): keyframes at whole seconds of movies, 60 classes that count.

Laid out as it is downloaded, everything below one folder or its `annotations`:

    ava_train_v2.2.csv, ava_val_v2.2.csv
    ava_action_list_v2.2_for_activitynet_2019.pbtxt    the 60 classes that are evaluated
    ava_{train,val}_excluded_timestamps_v2.2.csv       keyframes that do not count
    ava_included_timestamps_v2.2.txt                   the seconds that were looked at
    videos/ID.mp4        the whole movie, or what is cut from its second 900 on
    frames/ID/ID_000001.jpg ...    pictures from second 900 on, 30 a second
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge.data.ava_files import read_excluded, read_label_map
from edge.data.folder import read_fps, rows_in_reach
from edge.data.media import Media, MediaFolder, open_media, open_named
from edge.data.problems import DataReport
from edge.data.table import Table, TableRules, read_table
from edge.data.video_clips import VideoClips, clips_of_table
from runtime.errors import CaptureError, ConfigError
from runtime.types import ClipSpec

PARTS = ("train", "val", "test")
MEDIA_FOLDERS = ("frames", "rawframes", "videos_15min", "videos", "trainval", "test")
NUM_LABELS = 80
# The first second that is labelled is 902; cut videos and folders of pictures begin at 900.
CUT_START_S = 900.0
FIRST_LABELLED_S = 902
_VERSION = re.compile(r"_v(\d+)\.(\d+)")


def open_ava(
    root: Path, shape: ClipSpec, report: DataReport, *, part: str, strict: bool
) -> VideoClips:
    """Read one part of AVA.

    Args:
        root: Folder of the data set.
        shape: What a model asks for.
        report: Takes what is wrong.
        part: `train`, `val` or `test`.
        strict: Refuse a table with a wrong row; else go on without it.

    Raises:
        ConfigError: Files are missing, a row is wrong, or no clip is left.
    """
    folders = [folder for folder in (root, root / "annotations") if folder.is_dir()]
    path = find_file(folders, f"ava_{part}_v*", (".csv", ".csv.gz", ".tsv", ".tsv.gz"))
    classes = read_classes(folders)
    rules = TableRules(num_labels=NUM_LABELS, whole_seconds=True, inactive_persons=False)
    table = read_table(path, rules, report.problems)
    if strict:
        report.refuse_wrong_rows(f"edge data check ava:{root}:{part}")
    excluded = _excluded(folders, part, report)
    media = _open_videos(root, table, report)
    if part != "train":
        table = _with_empty_keyframes(folders, table, report)
    keep, keep_empty = rows_in_reach(path, table, media, report, excluded)
    class_of = np.full(NUM_LABELS, -1, np.int64)
    class_of[np.array(list(classes)) - 1] = np.arange(len(classes))
    clips = clips_of_table(table, media, keep, keep_empty, class_of.tolist())
    return VideoClips(
        report, shape, clips, media, class_names=tuple(classes.values()),
        label_ids=tuple(classes), by_frame=False,
    )  # fmt: skip


def find_file(folders: list[Path], pattern: str, suffixes: tuple[str, ...]) -> Path:
    """Return the file of the newest version whose name begins so.

    Raises:
        ConfigError: There is none.
    """
    found = [
        path
        for folder in folders
        for path in sorted(folder.glob(pattern))
        if path.is_file() and any(path.name.endswith(suffix) for suffix in suffixes)
    ]
    if not found:
        raise ConfigError(
            f"{folders[0] if folders else 'the data set'} has no {pattern}{suffixes[0]}, neither "
            "itself nor in annotations/; expected AVA's files as they are downloaded"
        )
    return max(found, key=lambda path: _version(path.name))


def _version(name: str) -> tuple[int, int]:
    match = _VERSION.search(name)
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


def read_classes(folders: list[Path]) -> dict[int, str]:
    """Return the classes that are evaluated, by their label.

    Raises:
        ConfigError: The list is missing, or has a label that AVA has not.
    """
    path = find_file(folders, "ava_action_list_v*_for_activitynet_*", (".pbtxt",))
    classes = dict(sorted(read_label_map(path).items()))
    wrong = [label for label in classes if not 1 <= label <= NUM_LABELS]
    if wrong:
        raise ConfigError(f"{path}: the id {wrong[0]}; expected ids from 1 to {NUM_LABELS}")
    return classes


def _excluded(
    folders: list[Path], part: str, report: DataReport
) -> frozenset[tuple[str, float]]:  # fmt: skip
    try:
        path = find_file(folders, f"ava_{part}_excluded_timestamps_v*", (".csv", ".csv.gz"))
    except ConfigError:
        report.notes.append(f"no list of excluded time stamps of {part}: all keyframes count")
        return frozenset()
    found = frozenset((video, float(second)) for video, second in read_excluded(path))
    report.notes.append(f"{len(found)} time stamps are excluded ({path.name})")
    return found


def _with_empty_keyframes(folders: list[Path], table: Table, report: DataReport) -> Table:
    """Add the seconds that were looked at and have no row: whoever is found there is no one.

    The challenge's own tool counts detections there as wrong, so a model must see them.
    """
    try:
        path = find_file(folders, "ava_included_timestamps_v*", (".txt",))
        seconds = np.unique(np.array(path.read_text("utf-8").split(), np.int64))
    except ConfigError:
        report.notes.append("no list of included time stamps: keyframes without a row are left out")
        return table
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read, expected a second a line: {error}") from error
    count = len(table.videos)
    everywhere = np.repeat(np.arange(count), len(seconds)), np.tile(seconds, count)
    span = int(max(seconds.max(initial=0), table.timestamp.max(initial=0))) + 1
    labelled = table.video * span + table.timestamp.astype(np.int64)
    fresh = ~np.isin(everywhere[0] * span + everywhere[1], labelled)
    return Table(
        videos=table.videos, video=table.video, timestamp=table.timestamp, boxes=table.boxes,
        label=table.label, person=table.person, row=table.row,
        empty_video=np.concatenate([table.empty_video, everywhere[0][fresh]]),
        empty_timestamp=np.concatenate([table.empty_timestamp, everywhere[1][fresh]]),
    )  # fmt: skip


def _open_videos(root: Path, table: Table, report: DataReport) -> dict[str, Media]:
    """Open the movies that the table names; say which are missing or damaged."""
    folders = [MediaFolder(root / name) for name in MEDIA_FOLDERS if (root / name).is_dir()]
    if not folders:
        raise ConfigError(f"{root} has none of the folders {', '.join(MEDIA_FOLDERS)}")
    fps = read_fps(root, 30.0)

    def opened(name: str) -> Media:
        for folder in folders:
            file = folder.find(name)
            if file is None:
                continue
            if file.is_dir():
                return open_media(file, fps=fps, start_s=CUT_START_S)
            whole = open_media(file)
            # A movie that ends before the first label can only be the part that was cut out.
            cut = whole.end_s < FIRST_LABELLED_S
            return replace(whole, start_s=CUT_START_S) if cut else whole
        raise CaptureError(f"it is in none of {', '.join(f.root.name for f in folders)}")

    media = open_named(table.videos, opened, report, where=lambda name: f"video {name[:80]}")
    return dict(sorted(media.items()))
