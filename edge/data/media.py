"""Frames of one video, be it a file or a folder of numbered pictures.

A `Media` is a small plain value: data sets hold thousands, send them to other processes, and open
a file only while a clip of it is read.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from edge.data.clips import (
    VIDEO_SUFFIXES,
    Frame,
    VideoInfo,
    probe_video,
    read_clip,
    read_numbered,
    sample_times,
)
from edge.data.problems import DataReport, several
from runtime.errors import CaptureError
from runtime.sources.images import read_image
from runtime.sources.uri import IMAGE_SUFFIXES, image_files
from runtime.types import ClipSpec

logger = logging.getLogger(__name__)

T = TypeVar("T")

DEFAULT_FPS = 30.0
_NUMBERED = re.compile(r"(.*?)(\d+)(\.[A-Za-z]+)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """Names of a folder's pictures: `prefix`, a number of `digits` figures, `suffix`."""

    prefix: str
    digits: int
    suffix: str
    first: int
    step: int

    def name(self, index: int) -> str:
        """Return the name of picture `index`, counted from 0."""
        return f"{self.prefix}{self.first + index * self.step:0{self.digits}d}{self.suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """One video.

    Attributes:
        path: A video file, or a folder of pictures.
        fps: Frames per second.
        num_frames: How many there are; of a file, as it says itself.
        size_wh: Width and height, px.
        numbering: How a folder's pictures are called; None for a file.
        start_s: What annotations call the time of the first frame, seconds.
    """

    path: Path
    fps: float
    num_frames: int
    size_wh: tuple[int, int]
    numbering: Numbering | None = None
    start_s: float = 0.0

    @property
    def end_s(self) -> float:
        """Return what annotations call the end of the last frame, seconds."""
        return self.start_s + self.num_frames / self.fps

    def frame_at(self, timestamp: float) -> int:
        """Return the number of the frame nearest to a time of the annotations."""
        number = round((timestamp - self.start_s) * self.fps)
        return max(0, min(number, self.num_frames - 1))

    def read_at_time(self, timestamp: float, shape: ClipSpec) -> list[Frame]:
        """Read the clip around a time of the annotations; the video's ends are repeated.

        Raises:
            CaptureError: The frames cannot be decoded.
        """
        centre_s = timestamp - self.start_s
        if self.numbering is None:
            return read_clip(
                self.path, centre_s, num_frames=shape.num_frames, period_s=shape.period_s,
                clamp=True,
            )  # fmt: skip
        return self._pictures(self._numbers(centre_s, shape))

    def read_at_frame(self, frame: int, shape: ClipSpec) -> list[Frame]:
        """Read the clip around frame `frame`, from 0; the video's ends are repeated.

        Raises:
            CaptureError: The frames cannot be decoded.
        """
        numbers = self._numbers(frame / self.fps, shape)
        if self.numbering is None:
            return read_numbered(self.path, numbers, keyframe=shape.keyframe_index)
        return self._pictures(numbers)

    def _numbers(self, centre_s: float, shape: ClipSpec) -> list[int]:
        """Return the number nearest to each sample's time, the earlier of two as near."""
        times = sample_times(centre_s, num_frames=shape.num_frames, period_s=shape.period_s)
        return [nearest_number(t * self.fps, self.num_frames) for t in times]

    def _pictures(self, numbers: Sequence[int]) -> list[Frame]:
        assert self.numbering is not None
        done: dict[int, Frame] = {}
        for number in numbers:
            if number not in done:
                done[number] = _picture(self.path / self.numbering.name(number))
        return [done[number] for number in numbers]


def nearest_number(position: float, count: int) -> int:
    """Return the frame nearest to a place between frames, the earlier of two that are as near."""
    below = int(position // 1)
    # As near as stamps in float64 can tell: half a frame is half a frame at 29.97 fps, too.
    number = below if position - below <= 0.5 + 1e-9 else below + 1
    return max(0, min(number, count - 1))


def _picture(path: Path) -> Frame:
    if not path.is_file():
        raise CaptureError(f"{path} is missing; replace it, or remove the video's rows")
    return read_image(path)


def open_media(path: Path, *, fps: float | None = None, start_s: float = 0.0) -> Media:
    """Look at a video file or a folder of pictures, and decode its first frame.

    Args:
        path: The file or folder.
        fps: Rate of a folder's pictures, 30 by default; a file says its own.
        start_s: What annotations call the time of its first frame, seconds.

    Raises:
        CaptureError: It is missing or damaged, or pictures of the folder are.
    """
    if not path.is_dir():
        info: VideoInfo = probe_video(path)
        count = max(1, round(info.duration_s * info.fps))
        return Media(
            path=path, fps=info.fps, num_frames=count, size_wh=info.size_wh, start_s=start_s
        )
    files = [file.name for file in image_files(path)]
    if not files:
        raise CaptureError(f"{path} holds no picture ({' '.join(sorted(IMAGE_SUFFIXES))})")
    numbering = numbering_of(path, files)
    height, width = _picture(path / files[0]).shape[:2]
    return Media(
        path=path, fps=fps or DEFAULT_FPS, num_frames=len(files), size_wh=(width, height),
        numbering=numbering, start_s=start_s,
    )  # fmt: skip


def numbering_of(folder: Path, files: Sequence[str]) -> Numbering:
    """Understand how the pictures of a folder are called.

    Raises:
        CaptureError: They are not numbered, or one is missing between two others.
    """
    first = _NUMBERED.fullmatch(files[0])
    if first is None:
        raise CaptureError(
            f"{folder}: {files[0]} has no number before its suffix, expected such as 00001.jpg"
        )
    prefix, figures, suffix = first.groups()
    second = _NUMBERED.fullmatch(files[1]) if len(files) > 1 else None
    step = int(second.group(2)) - int(figures) if second is not None else 1
    numbering = Numbering(
        prefix=prefix, digits=len(figures), suffix=suffix, first=int(figures), step=max(1, step)
    )
    for index, name in enumerate(files):
        if name != numbering.name(index):
            raise CaptureError(
                f"{folder}: after {files[max(0, index - 1)]} comes {name}, expected "
                f"{numbering.name(index)}: pictures are counted, so none may be missing"
            )
    return numbering


class MediaFolder:
    """The videos below a folder, by the name that annotations give them.

    A name is the path below the folder with `/`, with or without the suffix.
    """

    def __init__(self, root: Path) -> None:
        """List files; no folder of pictures is looked into."""
        self.root = root
        self._paths: dict[str, Path | None] = {}
        self.names: list[str] = []
        for path in _listed(root):
            name = path.relative_to(root).as_posix()
            self._paths[name] = path
            self.names.append(name)
            short = name.removesuffix(path.suffix)
            if path.is_file():
                # Two files that differ in the suffix only: the name alone is not enough.
                self._paths[short] = None if short in self._paths else path

    @property
    def known(self) -> list[str]:
        """Return all names that find something."""
        return [name for name, path in self._paths.items() if path is not None]

    def find(self, name: str) -> Path | None:
        """Return the file or folder of that name, None where there is none.

        Raises:
            CaptureError: Two files have that name.
        """
        if name in self._paths and self._paths[name] is None:
            raise CaptureError(f"there is more than one {self.root / name}.*; give the suffix, too")
        return self._paths.get(name)


def _listed(root: Path) -> list[Path]:
    """Return video files and folders with pictures below a folder, by name."""
    found: list[Path] = []
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        here, real = Path(folder), os.path.realpath(folder)
        if real in seen:  # a link to a folder above it
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        if here != root and any(Path(file).suffix.lower() in IMAGE_SUFFIXES for file in files):
            found.append(here)
            folders.clear()
            continue
        videos = (file for file in files if Path(file).suffix.lower() in VIDEO_SUFFIXES)
        found += [here / file for file in sorted(videos)]
    return sorted(found)


def what_is_there(root: Path) -> str:
    """Return a clause that says why a folder has no video: its pictures, or names of its files."""
    files = sorted(path for path in root.iterdir() if path.is_file())
    if any(path.suffix.lower() in IMAGE_SUFFIXES for path in files):
        return "; the pictures in it may be one video: name the folder above it"
    if not files:
        return ""
    return f"; {several([path.name for path in files], 3)}: no suffix of a video, such as .mp4"


def first_folder(root: Path, names: Iterable[str]) -> Path | None:
    """Return the first of these folders that is there."""
    return next((root / name for name in names if (root / name).is_dir()), None)


def open_all(
    wanted: Sequence[T], opener: Callable[[T], Media], *, threads: int = 4
) -> list[Media | CaptureError]:
    """Open many videos; what cannot be opened comes back as the reason.

    Decoders work outside of Python's lock, so a few threads open thousands in reasonable time.
    """
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(partial(_opened, opener), wanted))


def open_named(
    names: Sequence[str], opener: Callable[[str], Media], report: DataReport, *,
    where: Callable[[str], str] = lambda name: f"video {name[:80]!r}",
    expected: str = "a video that can be decoded",
) -> dict[str, Media]:  # fmt: skip
    """Open the videos of an annotation; those that cannot be used go to the report.

    Args:
        names: As the annotation calls them.
        opener: Opens one, or raises CaptureError.
        report: Takes what is left out.
        where: What the report calls a video.
        expected: What should have been there.

    Returns:
        The others, by name, in their order.
    """
    media: dict[str, Media] = {}
    for name, one in zip(names, open_all(names, opener), strict=True):
        if isinstance(one, Media):
            media[name] = one
        else:
            report.skip(where(name), str(one), expected)
    return media


def _opened(opener: Callable[[T], Media], what: T) -> Media | CaptureError:
    try:
        return opener(what)
    except CaptureError as error:
        return error
    except OSError as error:  # a permission, a name that is too long
        return CaptureError(f"{error.filename}: {error.strerror}")
