"""Videos of DAVIS with a box per frame: people in motion before a camera that moves.

    FOLDER/
      NAME.mp4
      boxes.csv            video,frame,x1,y1,x2,y2,label,box_covers

Frames count from 0, boxes are shares of the frame. Where `box_covers` is `person`, it is somebody.
A box of a person and their bike or horse is no box of a person: whoever is found in it is neither
right nor wrong (`ignored`). Nothing is said of what they do but that they are people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge.data.media import Media, MediaFolder, open_media, open_named
from edge.data.problems import DataReport
from edge.data.samples import F32, ClipSample
from edge.data.table import box_fault, csv_rows
from edge.data.video_clips import ClipTable, VideoClips, build_table
from runtime.errors import CaptureError, ConfigError
from runtime.options import did_you_mean
from runtime.types import ClipSpec

PERSON = "person"
BOXES_FILE = "boxes.csv"
HEADER = "video,frame,x1,y1,x2,y2,label,box_covers"
CROWDED = ("breakdance", "dance-twirl", "motocross-jump")
"""Videos with spectators whom nobody boxed (seen by eye): all beside the box is ignored there."""
_EVERYWHERE = np.array([[0.0, 0.0, 1.0, 1.0]], np.float32)
_MAX_FRAMES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxRow:
    """One row of the table: a box in a frame, and whether it is of a person alone."""

    frame: int
    box: tuple[float, float, float, float]
    person: bool


class DavisClips(VideoClips):
    """Clips with places where people may be of whom nothing is known."""

    def __init__(
        self, report: DataReport, shape: ClipSpec, clips: ClipTable, media: Mapping[str, Media],
        ignored: Sequence[F32],
    ) -> None:  # fmt: skip
        """Hold what `open_davis` found; `ignored` has boxes (I, 4) for each clip.

        Raises:
            ConfigError: There is no clip.
        """
        super().__init__(report, shape, clips, media, class_names=(PERSON,), label_ids=(1,),
                         by_frame=True)  # fmt: skip
        self._ignored = tuple(ignored)

    def without_frames(self, index: int) -> ClipSample:
        """Return clip `index` with black frames: its truth is known without decoding."""
        sample = super().without_frames(index)
        return replace(sample, ignored=self._ignored[self.checked(index)])


def open_davis(root: Path, shape: ClipSpec, report: DataReport, *, strict: bool) -> DavisClips:
    """Read videos with a box per frame.

    Args:
        root: Folder of the videos and of `boxes.csv`.
        shape: What a model asks for.
        report: Takes what is wrong.
        strict: Refuse a table with a wrong row; else go on without it.

    Raises:
        ConfigError: There is no table, a row is wrong, or no clip is left.
    """
    path = root / BOXES_FILE
    if not path.is_file():
        raise ConfigError(f"{root} has no {BOXES_FILE}, expected rows of {HEADER}")
    rows = _read(path, report)
    if strict:
        report.refuse_wrong_rows(f"edge data check davis:{root}")
    useless = [name for name in rows if name in CROWDED and not any(r.person for r in rows[name])]
    for name in useless:
        report.notes.append(f"{name} is left out: it has no box of a person, and others in view")
        del rows[name]
    media = _open_videos(root, sorted(rows), report)
    return _clips(report, shape, rows, media)


def _open_videos(root: Path, names: Sequence[str], report: DataReport) -> dict[str, Media]:
    """Open each video of the table; say which cannot be used."""
    folder = MediaFolder(root)

    def opened(name: str) -> Media:
        file = folder.find(name)
        if file is None:
            raise CaptureError(f"it is not in {root}.{did_you_mean(name, folder.known)}")
        return open_media(file)

    return open_named(names, opened, report)


def _clips(
    report: DataReport, shape: ClipSpec, rows: Mapping[str, Sequence[BoxRow]],
    media: Mapping[str, Media],
) -> DavisClips:  # fmt: skip
    """Put keyframes, people and ignored places together."""
    video: list[int] = []
    frames: list[int] = []
    owners: list[int] = []
    boxes: list[tuple[float, float, float, float]] = []
    ignored: list[F32] = []
    for number, (name, one) in enumerate(media.items()):
        by_frame: dict[int, list[BoxRow]] = {}
        for row in rows[name]:
            by_frame.setdefault(row.frame, []).append(row)
        report.lost_keyframes += sum(frame >= one.num_frames for frame in by_frame)
        for frame in sorted(frame for frame in by_frame if frame < one.num_frames):
            people = [row.box for row in by_frame[frame] if row.person]
            others = [row.box for row in by_frame[frame] if not row.person]
            boxes += people
            owners += [len(frames)] * len(people)
            places = np.array(others, np.float32).reshape(-1, 4)
            ignored.append(_EVERYWHERE if name in CROWDED else places)
            video.append(number)
            frames.append(frame)
    rate = np.array([one.fps for one in media.values()])
    where = np.array(video, np.int64)
    clips = build_table(
        video=where, frame=np.array(frames, np.int64),
        timestamp=np.array(frames, np.float64) / rate[where] if frames else np.zeros(0),
        actor_keyframe=np.array(owners, np.int64), boxes=np.array(boxes).reshape(-1, 4),
        label_actor=np.arange(len(owners)), labels=np.zeros(len(owners), np.int64),
    )  # fmt: skip
    return DavisClips(report, shape, clips, media, ignored)


def _read(path: Path, report: DataReport) -> dict[str, list[BoxRow]]:
    """Return the good rows by video; name the others."""
    found: dict[str, list[BoxRow]] = {}
    for number, cells in csv_rows(path, header="video"):
        wrong = _row_fault(cells)
        if wrong is not None:
            came, expected = wrong
            report.wrong(path, number, came, expected)
            continue
        x1, y1, x2, y2 = (min(max(float(cell), 0.0), 1.0) for cell in cells[2:6])
        row = BoxRow(frame=int(cells[1]), box=(x1, y1, x2, y2), person=cells[7] == PERSON)
        found.setdefault(cells[0], []).append(row)
    return found


def _row_fault(cells: Sequence[str]) -> tuple[str, str] | None:
    if len(cells) != 8:
        return f"{len(cells)} column{'s' * (len(cells) != 1)}", HEADER
    if not cells[0]:
        return "no video", "the name of a video in the first column"
    number = cells[1]
    if not (number.isascii() and number.isdigit() and int(number) < _MAX_FRAMES):
        return f"frame {number[:40]!r}", "the number of a frame, from 0"
    return box_fault(cells[2:6])
