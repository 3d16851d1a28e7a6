"""Data sets by name: one word on a command line gives clips with their truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

from edge.data.dataset import ClipDataset
from edge.data.specs import (
    SPECS,
    SYNTHETIC,
    RealSpec,
    is_drawn,
    names_data_set,
    parse_real,
    part_of,
    split_mix,
    unknown,
)
from runtime.errors import ConfigError
from runtime.types import ClipSpec

if TYPE_CHECKING:
    from edge.data.problems import DataReport
    from edge.data.stills import StillClips
    from edge.data.video_clips import VideoClips

    ReadClips: TypeAlias = VideoClips | StillClips

__all__ = [
    "DEFAULT_LENGTH", "SPECS", "Part", "RealSpec", "is_drawn", "names_data_set", "open_dataset",
    "parse_real", "part_of", "read_real", "split_mix",
]  # fmt: skip

Part = Literal["train", "val"]

DEFAULT_LENGTH = 2000


def open_dataset(
    spec: str, shape: ClipSpec, *, seed: int = 0, limit: int | None = None, part: Part = "val"
) -> ClipDataset:
    """Return the data set that a word names.

    Args:
        spec: `synthetic-train` or `synthetic-val`, with `:LENGTH` for another number of clips
            than 2000, and with `:ACTION,ACTION` for people who do these alone; `ava:FOLDER`,
            `ucf101-24:FOLDER` or `jhmdb:FOLDER`, with `:split1` to `:split3` and a part behind
            it; another kind of `SPECS`; or a folder of people's own data.
        shape: What the model asks for.
        seed: Which synthetic world of that split; 0 is the one that figures are given for. Of
            pictures, how the camera moves over them.
        limit: Use so many clips only: the first of a synthetic world, evenly spread ones of real
            videos.
        part: Which part of real videos, where the word does not say: `train` to learn from, and
            then a clip that cannot be decoded is skipped, with a warning; `val` to judge by.

    Raises:
        ConfigError: The word names nothing that is known, a number is out of range, or the data
            is not as it should be.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"a limit of {limit} clips; expected 1 or more")
    name, *behind = spec.split(":", 2)
    if not is_drawn(spec):
        return _open_real(spec, shape, limit, part, seed)
    from edge.data.drawn import SyntheticClips

    actions: list[str] = []
    if len(behind) == 2 or (behind and behind[0].lstrip()[:1].isalpha()):
        actions = [action.strip() for action in behind.pop().split(",")]
    count = _count(spec, behind[0]) if behind else DEFAULT_LENGTH
    if limit is not None:
        count = min(count, limit)
    return SyntheticClips(SYNTHETIC[name], shape, length=count, seed=seed, actions=actions)


def _open_real(spec: str, shape: ClipSpec, limit: int | None, part: Part, seed: int) -> ClipDataset:
    real = parse_real(spec)
    if real is None:
        raise ConfigError(unknown(spec))
    from edge.data.problems import DataReport
    from edge.data.subset import EvenSubset, SkipUndecodable

    chosen = part_of(real, part)
    report = DataReport(name=real.name(chosen))
    dataset: ClipDataset = read_real(real, chosen, shape, report, strict=True, seed=seed)
    report.log()
    if limit is not None:
        dataset = EvenSubset(dataset, limit)
    return SkipUndecodable(dataset) if part == "train" else dataset


def read_real(
    real: RealSpec, part: str, shape: ClipSpec, report: DataReport, *, strict: bool, seed: int = 0
) -> ReadClips:
    """Read real videos or pictures.

    Args:
        real: What a word named.
        part: From `part_of`.
        shape: What the model asks for.
        report: Takes what is wrong.
        strict: Refuse an annotation with a wrong row; else go on without it.
        seed: Of a camera that moves over pictures.

    Raises:
        ConfigError: The data is not as it should be.
    """
    open_part: Callable[..., VideoClips]
    if real.kind == "stills":
        from edge.data.stills import open_stills

        return open_stills(real.root, shape, report, table=real.beside, strict=strict, seed=seed)
    if real.kind == "gmdcsa24":
        from edge.data.gmdcsa import open_gmdcsa24

        return open_gmdcsa24(real.root, shape, report, labelled=real.beside,
                             subjects=real.chosen, strict=strict)  # fmt: skip
    if real.kind == "davis":
        from edge.data.davis import open_davis

        return open_davis(real.root, shape, report, strict=strict)
    if real.kind == "ava":
        from edge.data.ava import open_ava as open_part

        return open_part(real.root, shape, report, part=part, strict=strict)
    if real.kind == "folder":
        from edge.data.folder import open_folder as open_part

        named = real.part is not None
        return open_part(real.root, shape, report, part=part, named=named, strict=strict)
    from edge.data.tube_clips import open_tubes as open_part

    return open_part(
        real.kind, real.root, shape, report, split=real.split, part=part, strict=strict
    )


def _count(spec: str, length: str) -> int:
    if not (length.isascii() and length.isdigit()):
        raise ConfigError(f"data set {spec!r}: expected a number of clips behind the colon")
    return int(length)
