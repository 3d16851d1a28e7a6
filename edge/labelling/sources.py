"""The videos to label: their names in the table, and the data set's links to them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edge.data.clips import VIDEO_SUFFIXES
from edge.data.media import Media, MediaFolder, open_all, open_media
from runtime.errors import CaptureError, ConfigError

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
        return [Video(name=source.stem, file=source.name, path=source)]
    if not source.is_dir():
        raise ConfigError(f"--source {source} is not there, expected a folder of videos or one")
    folder = MediaFolder(source)
    if not folder.names:
        raise ConfigError(f"--source {source} holds no video ({' '.join(sorted(VIDEO_SUFFIXES))}) "
                          "and no folder of numbered pictures")  # fmt: skip
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
