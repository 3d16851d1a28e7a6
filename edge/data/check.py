"""Find what is wrong with a data set before a model is taught by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeAlias

from edge.data.media import Media
from edge.data.problems import DataReport
from edge.data.registry import SPECS, RealSpec, parse_real, part_of, read_real
from edge.data.specs import PARTS
from edge.data.stills import StillClips, read_picture
from edge.data.table import TableRules, read_table, repeated_rows
from edge.data.video_clips import VideoClips
from runtime.errors import CaptureError, ConfigError
from runtime.sources.images import read_image
from runtime.sources.opencv import count_frames
from runtime.types import ClipSpec, Progress

FileCheck: TypeAlias = tuple[Path, Callable[[], str | None]]

TABLE_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
# Containers and decoders disagree about a frame or two at the end.
_FRAMES_OFF = 2
# Rows alone are looked at: where boxes lie in time does not depend on what a model asks for.
_ANY_SHAPE = ClipSpec(num_frames=1, height=32, width=32, sampling_rate=1, fps=30.0)


def check_data(
    spec: str, *, decode: bool = False, progress: Progress | None = None
) -> list[DataReport]:
    """Look at every row of a data set, and at every video that it names.

    Args:
        spec: As `open_dataset` takes it, or one table of rows.
        decode: Decode each frame of each video, too.
        progress: Told of the videos that are decoded.

    Returns:
        One report for each part.

    Raises:
        ConfigError: There is no such data set.
    """
    if spec.lower().endswith(TABLE_SUFFIXES) and Path(spec).is_file():
        return [_check_table(Path(spec))]
    real = parse_real(spec)
    if real is None:
        raise ConfigError(f"{spec[:120]!r} is no data of your own. Choose from: {SPECS}")
    return [_check_part(real, part, decode, progress) for part in _parts(real)]


def _parts(real: RealSpec) -> Iterator[str]:
    """Yield the parts that there are, or the one that is asked for."""
    if real.part is not None:
        yield part_of(real, "val")
    elif not PARTS[real.kind]:
        yield ""
    elif real.kind == "folder":
        there = [part for part in ("train", "val", "test")
                 if any(real.root.glob(f"annotations_{part}.csv*"))]  # fmt: skip
        yield from there or ["val"]
    elif real.kind == "ava":
        there = [part for part in ("train", "val", "test") if any(
            any(folder.glob(f"ava_{part}_v*")) for folder in (real.root, real.root / "annotations")
        )]  # fmt: skip
        yield from there or ["val"]
    else:
        yield from ("train", "test")


def _check_part(real: RealSpec, part: str, decode: bool, progress: Progress | None) -> DataReport:
    report = DataReport(name=real.name(part))
    try:
        dataset = read_real(real, part, _ANY_SHAPE, report, strict=False)
    except ConfigError as error:
        report.wrong(real.root, None, str(error), "a data set that can be read")
        return report
    if decode:
        what, checks = _file_checks(dataset)
        for done, (path, check_file) in enumerate(checks, 1):
            why = check_file()
            if why is not None:
                report.skip(path, why, "frames that can be decoded")
            if progress is not None:
                progress(what, done, len(checks))
    return report


def _file_checks(dataset: VideoClips | StillClips) -> tuple[str, list[FileCheck]]:
    """Return what the files are, and each with what decodes it and says what is wrong."""
    if isinstance(dataset, StillClips):
        return "pictures", [(path, partial(picture_fault, path)) for path in dataset.files]
    every = dataset.media.values()
    return "videos", [(media.path, partial(decoding_fault, media)) for media in every]


def picture_fault(path: Path) -> str | None:
    """Decode a picture; return what is wrong with it, if anything."""
    try:
        read_picture(path)
    except CaptureError as error:
        return str(error)
    return None


def decoding_fault(media: Media) -> str | None:
    """Decode every frame of a video; return what is wrong with it, if anything."""
    if media.numbering is not None:
        for index in range(media.num_frames):
            name = media.numbering.name(index)
            try:
                read_image(media.path / name)
            except CaptureError as error:
                return str(error)
        return None
    try:
        count = count_frames(media.path)
    except CaptureError as error:
        return str(error)
    if count < media.num_frames - max(_FRAMES_OFF, media.num_frames // 50):
        return f"{count} of {media.num_frames} frames can be decoded"
    return None


def _check_table(path: Path) -> DataReport:
    """Look at the rows of one table, whose classes and videos nobody names."""
    report = DataReport(name=str(path))
    table = read_table(path, TableRules(num_labels=10_000), report.problems)
    for row, earlier in repeated_rows(table):
        report.wrong(path, row, f"the same as row {earlier}", "each action of a person once")
    report.videos, report.actors = len(table.videos), len(table)
    report.notes.append("a table alone: whether its videos and labels exist is not looked at")
    return report
