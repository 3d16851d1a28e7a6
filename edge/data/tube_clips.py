"""UCF101-24 and JHMDB-21: every frame of a labelled video is a keyframe.

Laid out as they are downloaded, the annotation at the top or in `annotations` or `splitfiles`:

    UCF101-24: pyannot.pkl (any pickle of that form; lists trainlist01.txt and testlist01.txt are
               used where they are there) or UCF101v2-GT.pkl
    JHMDB-21:  JHMDB-GT.pkl
    videos:    rgb-images, Frames, frames, Rename_Images: CLASS/VIDEO/00001.jpg (or .png), or
               videos, UCF-101, UCF101, ReCompress_Videos: CLASS/VIDEO.avi
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge.data.annotations import Tube
from edge.data.clips import VIDEO_SUFFIXES
from edge.data.folder import read_fps
from edge.data.media import Media, open_media, open_named
from edge.data.problems import DataReport, several
from edge.data.tube_files import TubeFile, VideoTruth, read_tube_file
from edge.data.video_clips import ClipTable, VideoClips, build_table
from runtime.errors import CaptureError, ConfigError
from runtime.types import ClipSpec

Array: TypeAlias = npt.NDArray[Any]

PARTS = ("train", "fit", "held-out", "test", "test-annotated")
# `held-out` is at least this share of each class's training videos, whole source films at once.
_HELD_OUT_SHARE = 0.1
# What follows the source film in a name: UCF101's clip number; HMDB51's properties and number.
_CLIP_OF_FILM = re.compile(r"(_c\d+|_[a-z]+_[a-z]{2}_np\d_[a-z]{2}_[a-z]{3}_\d+)$")
SPLITS = {"ucf101-24": 1, "jhmdb": 3}
# Pictures have no rate: UCF101 is 25 a second, HMDB51, of which JHMDB is a part, 30.
PICTURE_FPS = {"ucf101-24": 25.0, "jhmdb": 30.0}
MEDIA_FOLDERS = ("rgb-images", "Frames", "frames", "Rename_Images", "videos", "UCF-101", "UCF101",
                 "ReCompress_Videos", ".")  # fmt: skip
# Encoders and decoders disagree about a frame or two at the end.
_FRAMES_OFF = 2


def open_tubes(
    kind: str, root: Path, shape: ClipSpec, report: DataReport, *, split: int, part: str,
    strict: bool,
) -> VideoClips:  # fmt: skip
    """Read one part of UCF101-24 or JHMDB-21.

    Args:
        kind: `ucf101-24` or `jhmdb`.
        root: Folder of the data set.
        shape: What a model asks for.
        report: Takes what is wrong.
        split: From 1.
        part: `train`: the frames with someone in them, of the videos to learn from; `held-out`: of
            a tenth of those videos, to fit thresholds and choose a checkpoint on; `fit`: of the
            rest of them; `test`: every frame of the others; `test-annotated`: those of them with
            someone in them.
        strict: Refuse an annotation with a fault; else go on without it.

    Raises:
        ConfigError: Files are missing, an annotation is wrong, or no clip is left.
    """
    folders = [f for f in (root, root / "annotations", root / "splitfiles") if f.is_dir()]
    annotation = read_tube_file(_annotation(kind, root, folders), report.problems)
    if strict:
        report.refuse_wrong_rows(f"edge data check {kind}:{root}")
    names = _names(kind, folders, annotation, split, train=not part.startswith("test"))
    if part in ("fit", "held-out"):
        held = held_out(names)
        names = [name for name in names if (name in held) == (part == "held-out")]
    names = [name for name in names if name in annotation.videos]
    media = _open_videos(kind, root, names, annotation, report)
    truths = [annotation.videos[name] for name in media]
    clips = _clips(truths, list(media.values()), report, every_frame=part == "test")
    return VideoClips(
        report, shape, clips, media, class_names=annotation.class_names,
        label_ids=range(1, len(annotation.class_names) + 1), by_frame=True,
        sizes_wh={name: annotation.videos[name].size_wh for name in media},
        tubes=[tube for truth in truths for tube in truth.tubes],
    )  # fmt: skip


def _annotation(kind: str, root: Path, folders: Sequence[Path]) -> Path:
    """Return the one pickle of a data set.

    Raises:
        ConfigError: There is none, or several.
    """
    patterns = {"jhmdb": ("JHMDB-GT.pkl",), "ucf101-24": ("UCF101v2-GT.pkl", "pyannot*.pkl")}
    for pattern in (*patterns[kind], "*-GT.pkl"):
        found = sorted(p for folder in folders for p in folder.glob(pattern) if p.is_file())
        if len(found) > 1:
            raise ConfigError(f"{root} has {several(p.name for p in found)}; keep one of them")
        if found:
            return found[0]
    raise ConfigError(
        f"{root} has no {' or '.join(patterns[kind])}, neither itself nor in annotations/"
    )


def _names(
    kind: str, folders: Sequence[Path], annotation: TubeFile, split: int, *, train: bool
) -> list[str]:
    """Return the videos of a part.

    Raises:
        ConfigError: There is no such split.
    """
    if annotation.splits:
        if not 1 <= split <= len(annotation.splits):
            raise ConfigError(f"split {split}; the annotation has 1 to {len(annotation.splits)}")
        return list(annotation.splits[split - 1][0 if train else 1])
    lists = [folder / f"{part}list01.txt" for folder in folders for part in ("train", "test")]
    listed = [path for path in lists if path.is_file()]
    if len(listed) == 2:
        return _read_list(listed[0 if train else 1])
    # UCF101's first split: the first seven of 25 groups are for the test.
    return [name for name in annotation.videos if (_group(name) > 7) == train]


def held_out(names: Sequence[str]) -> set[str]:
    """Return the training videos that the part `held-out` consists of.

    Clips cut from one film are on one side. The choice depends on the names alone: the same list
    gives the same videos everywhere. Of a class with a single film nothing is held out.

    Args:
        names: Training videos, CLASS/VIDEO each.
    """
    films: dict[str, dict[str, list[str]]] = {}
    for name in names:
        group = films.setdefault(Path(name).parent.as_posix(), {})
        group.setdefault(_CLIP_OF_FILM.sub("", name), []).append(name)
    held: set[str] = set()
    for group in films.values():
        wanted = math.ceil(sum(map(len, group.values())) * _HELD_OUT_SHARE)
        taken = 0
        for film in sorted(group, key=lambda name: hashlib.sha256(name.encode()).digest())[1:]:
            if taken + len(group[film]) <= 1.5 * wanted:
                held.update(group[film])
                taken += len(group[film])
            if taken >= wanted:
                break
    return held


def _group(name: str) -> int:
    match = re.search(r"_g(\d{1,4})_c\d+$", name)
    if match is None:
        raise ConfigError(
            f"video {name}: no group in its name (v_CLASS_g01_c01), and no trainlist01.txt and "
            "testlist01.txt to say which part it belongs to"
        )
    return int(match.group(1))


def _read_list(path: Path) -> list[str]:
    lines = path.read_text("utf-8", "replace").splitlines()
    words = [line.split()[0] for line in lines if line.strip()]
    return [word.removesuffix(Path(word).suffix) for word in words]


def _open_videos(
    kind: str, root: Path, names: Sequence[str], annotation: TubeFile, report: DataReport
) -> dict[str, Media]:
    """Open the videos; say which are missing, damaged, or not those that were annotated."""
    bases = [root / name for name in MEDIA_FOLDERS if (root / name).is_dir()]
    fps = read_fps(root, PICTURE_FPS[kind])

    def opened(name: str) -> Media:
        media = open_media(_find(bases, name), fps=fps)
        wanted = annotation.videos[name].num_frames
        if media.num_frames < wanted - max(_FRAMES_OFF, wanted // 50):
            raise CaptureError(
                f"{media.path} has {media.num_frames} frames, its annotation {wanted}"
            )
        return media

    media = open_named(names, opened, report, where=lambda name: f"video {name[:80]}",
                       expected="the annotated video")  # fmt: skip
    report.lost_keyframes += sum(
        annotation.videos[name].num_frames for name in names if name not in media
    )
    return dict(sorted(media.items()))


def _find(bases: Sequence[Path], name: str) -> Path:
    for base in bases:
        path = base / name
        if path.is_dir():
            return path
        for suffix in (".avi", *sorted(VIDEO_SUFFIXES)):
            file = path.with_name(path.name + suffix)
            if file.is_file():
                return file
    raise CaptureError(f"it is in none of {', '.join(base.name for base in bases) or 'the folder'}")


def _clips(
    truths: Sequence[VideoTruth], media: Sequence[Media], report: DataReport, *, every_frame: bool
) -> ClipTable:
    """Return the keyframes of all videos, their boxes as shares of the frame."""
    columns: list[list[Array]] = [[], [], [], []]
    keyframes: list[tuple[int, int]] = []
    count = 0
    for video, (truth, file) in enumerate(zip(truths, media, strict=True)):
        frame, boxes, labels = _people(truth.tubes)
        shares = np.clip(boxes / np.array(truth.size_wh * 2), 0.0, 1.0)
        inside = (shares[:, 2:] > shares[:, :2]).all(axis=1)
        report.lost_boxes += int((~inside).sum())
        # A frame that the file lacks at its end cannot be looked at.
        inside &= frame < file.num_frames
        last = min(truth.num_frames, file.num_frames)
        numbers = np.arange(last) if every_frame else np.unique(frame[inside])
        columns[0].append(numbers)
        place = np.searchsorted(numbers, frame[inside]) + count
        order = np.argsort(place, kind="stable")
        columns[1].append(place[order])
        columns[2].append(shares[inside][order])
        columns[3].append(labels[inside][order])
        keyframes.append((video, len(numbers)))
        count += len(numbers)
    if not truths:
        return build_table(
            video=np.empty(0, np.int64), frame=np.empty(0, np.int64), timestamp=np.empty(0),
            actor_keyframe=np.empty(0, np.int64), boxes=np.empty((0, 4)),
            label_actor=np.empty(0, np.int64), labels=np.empty(0, np.int64),
        )  # fmt: skip
    frames, actors, boxes, labels = (np.concatenate(column) for column in columns)
    which = np.repeat([v for v, _ in keyframes], [n for _, n in keyframes])
    rate = np.array([file.fps for file in media])
    return build_table(
        video=which, frame=frames, timestamp=frames / rate[which],
        actor_keyframe=actors, boxes=boxes, label_actor=np.arange(len(labels)), labels=labels,
    )  # fmt: skip


def _people(tubes: Sequence[Tube]) -> tuple[Array, Array, Array]:
    """Return frame, box and label of each person of a video's tubes."""
    if not tubes:
        return np.empty(0, np.int64), np.empty((0, 4)), np.empty(0, np.int64)
    return (
        np.concatenate([tube.frames for tube in tubes]),
        np.concatenate([tube.boxes for tube in tubes]).astype(np.float64),
        np.repeat([tube.label for tube in tubes], [len(tube) for tube in tubes]),
    )
