"""The videos to label: their names in the table, the data set's links to them, their frames."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from edge.data.clips import VIDEO_SUFFIXES
from edge.data.media import (
    Media,
    MediaFolder,
    nearest_number,
    open_all,
    open_media,
    what_is_there,
)
from edge.labelling.detectors import Image
from runtime.errors import CaptureError, ConfigError
from runtime.sources.images import read_image
from runtime.sources.opencv import open_file


def sampled_frames(media: Media, every_s: float) -> Iterator[Image]:
    """Decode a video once and give the frame nearest to 0, `every_s`, 2 `every_s`, ... seconds.

    The same array comes again where one frame is nearest to several times.

    Raises:
        CaptureError: It cannot be opened, or no frame can be decoded.
    """
    if media.numbering is not None:
        yield from _pictures(media, every_s)
        return
    capture = open_file(media.path)
    try:
        yield from _from_file(media, capture, every_s)
    finally:
        capture.release()


def frame_times(media: Media) -> list[float]:
    """Return when each frame of a video is shown, seconds, by the file's own stamps.

    The mean rate does not say it: encoders leave frames out where little moves.
    """
    if media.numbering is not None:
        return [number / media.fps for number in range(media.num_frames)]
    capture = open_file(media.path)
    times: list[float] = []
    try:
        while capture.grab():
            times.append(float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000.0)
    finally:
        capture.release()
    return times


def _from_file(media: Media, capture: Any, every_s: float) -> Iterator[Image]:
    count = 0
    interval = 1.0 / media.fps
    before: tuple[float, Image] | None = None
    while capture.grab():
        t = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000.0
        if before is not None and t <= before[0]:
            continue  # a stamp that does not rise says nothing
        good, frame = capture.retrieve()
        if not good or frame is None:
            continue
        while count * every_s <= t:
            wanted = count * every_s
            nearer = before is not None and wanted - before[0] <= t - wanted
            yield before[1] if before is not None and nearer else frame
            count += 1
        before = (t, frame)
    if before is None:
        raise CaptureError(f"{media.path} has no frame that can be decoded")
    if count * every_s <= before[0] + interval / 2:
        yield before[1]


def _pictures(media: Media, every_s: float) -> Iterator[Image]:
    assert media.numbering is not None
    count, last = 0, -1
    frame: Image | None = None
    while count * every_s <= (media.num_frames - 0.5) / media.fps:
        number = nearest_number(count * every_s * media.fps, media.num_frames)
        if number != last:
            path = media.path / media.numbering.name(number)
            frame = read_image(path)
            last = number
        assert frame is not None
        yield frame
        count += 1


# More videos than this that cannot be used are no accident of one file.
MOST_LOST = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """One video to label.

    Attributes:
        name: What the table calls it: its path below the source, with the suffix only where
            the name without it could be two.
        file: Its path below the source.
        path: Where it lies.
    """

    name: str
    file: str
    path: Path

    @property
    def bytes(self) -> int:
        """Return the size of the file; 0 of a folder of pictures."""
        return self.path.stat().st_size if self.path.is_file() else 0


def find_sources(source: Path) -> list[Video]:
    """List the videos of a folder, or the one file.

    Raises:
        ConfigError: There is none.
    """
    if source.is_file():
        if source.suffix.lower() not in VIDEO_SUFFIXES:
            raise ConfigError(
                f"--source {source} is named {source.suffix or 'without a suffix'}, and a data set "
                f"knows its videos by {' '.join(sorted(VIDEO_SUFFIXES))}; rename or convert it"
            )
        return [Video(name=source.stem, file=source.name, path=source)]
    if not source.is_dir():
        raise ConfigError(f"--source {source} is not there, expected a folder of videos or one")
    folder = MediaFolder(source)
    if not folder.names:
        why = what_is_there(source)
        raise ConfigError(f"--source {source} holds no video and no folder of pictures{why}")
    known = set(folder.known)
    videos = []
    for file in folder.names:
        path = source / file
        short = file.removesuffix(path.suffix) if path.is_file() else file
        videos.append(Video(name=short if short in known else file, file=file, path=path))
    return videos


def refuse_nested(source: Path, out: Path) -> None:
    """Keep source and result apart: the next run would label its own copies, or write over them.

    Raises:
        ConfigError: One lies in the other.
    """
    real = out.resolve()
    folder = source.resolve() if source.is_dir() else None
    if folder is not None and (real == folder or folder in real.parents):
        raise ConfigError(f"--out {out} lies in --source {source}; name a folder outside of it")
    if real in source.resolve().parents:
        raise ConfigError(f"--source {source} lies in --out {out}; name another folder")


def open_sources(
    videos: Sequence[Video], fps: float
) -> tuple[list[tuple[Video, Media]], list[tuple[Video, str]]]:
    """Open all videos; return those that can be used, and the others with the reason.

    Raises:
        CaptureError: More than a tenth cannot be used.
    """
    opened = open_all([video.path for video in videos], partial(_opened, fps))
    good: list[tuple[Video, Media]] = []
    lost: list[tuple[Video, str]] = []
    for video, media in zip(videos, opened, strict=True):
        if isinstance(media, Media):
            good.append((video, media))
        else:
            lost.append((video, str(media)))
    refuse_many_lost(lost, len(videos))
    return good, lost


def _opened(fps: float, path: Path) -> Media:
    return open_media(path, fps=fps)


def refuse_many_lost(lost: Sequence[tuple[Video, str]], total: int) -> None:
    """Raise when more than a tenth of the videos cannot be used.

    Raises:
        CaptureError: So it is; the sentence names the first.
    """
    if len(lost) > MOST_LOST * total:
        video, reason = lost[0]
        raise CaptureError(f"{len(lost)} of {total} videos cannot be used, more than a tenth; the "
                           f"first is {video.file}: {reason}")  # fmt: skip


def place_videos(out: Path, videos: Sequence[Video], *, copy: bool) -> None:
    """Put links to the videos, or copies of them, below `out/videos`.

    Links to other videos go. Files that are no links stay: nobody knows whose they are.

    Raises:
        ConfigError: Another file has the name of one.
    """
    base = out / "videos"
    _remove_links(base, {base / video.file for video in videos})
    for video in videos:
        target = base / video.file
        target.parent.mkdir(parents=True, exist_ok=True)
        origin = Path(os.path.abspath(video.path))  # noqa: PTH100  (links of the source stay)
        if target.exists() and not target.is_symlink():
            if target.is_file() and target.stat().st_size != video.bytes:
                raise ConfigError(f"{target} is no copy of {origin}; remove one of them")
            continue
        if copy:
            _copied(origin, target)
        elif not (target.is_symlink() and target.readlink() == origin):
            target.unlink(missing_ok=True)
            target.symlink_to(origin)


def _copied(origin: Path, target: Path) -> None:
    part = target.with_name(f".{target.name}.part")
    if part.is_dir():
        shutil.rmtree(part)
    copy: Callable[..., object] = shutil.copytree if origin.is_dir() else shutil.copy2
    copy(origin, part)
    target.unlink(missing_ok=True)  # a link of an earlier run
    part.replace(target)


def _remove_links(base: Path, wanted: set[Path]) -> None:
    """Remove links to videos that are no longer among the labelled ones."""
    for folder, folders, files in os.walk(base):
        for name in [*files, *folders]:
            path = Path(folder) / name
            if path.is_symlink() and path not in wanted:
                path.unlink()
