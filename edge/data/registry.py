"""Data sets by name: one word on a command line gives clips with their truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edge.data.samples import ClipDataset, ClipShape
from runtime.errors import ConfigError
from runtime.options import did_you_mean

if TYPE_CHECKING:
    from edge.data.problems import DataReport
    from edge.data.video_clips import VideoClips

Part = Literal["train", "val"]

DEFAULT_LENGTH = 2000
_MOST_DIGITS = 6  # of how often a part of several occurs
_SYNTHETIC = {"synthetic-train": "train", "synthetic-val": "val"}
_REAL = ("ava", "ucf101-24", "jhmdb")
# What a spec may have behind the folder; the first one of a column is what a caller's part means.
_PARTS = {
    "ava": ("train", "val", "test"),
    "ucf101-24": ("train", "test", "test-annotated", "val"),
    "jhmdb": ("train", "test", "test-annotated", "val"),
    "folder": ("train", "val", "test"),
}
_BEHIND = {part for parts in _PARTS.values() for part in parts} | {"split1", "split2", "split3"}
SPECS = (
    "synthetic-train, synthetic-val (with :LENGTH for another number of clips and :ACTION,ACTION "
    "for people who do these alone), ava:FOLDER[:PART], "
    "ucf101-24:FOLDER[:PART], jhmdb:FOLDER[:split1][:PART], or a folder with videos, "
    "annotations.csv and classes.txt"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RealSpec:
    """Real videos that a word names.

    Attributes:
        kind: `ava`, `ucf101-24`, `jhmdb` or `folder`.
        root: Where they lie.
        part: Which part; None where the word does not say.
        split: Which split, from 1.
    """

    kind: str
    root: Path
    part: str | None
    split: int = 1

    def name(self, part: str) -> str:
        """Return what messages call it."""
        if self.kind == "folder":
            parted = any(self.root.glob(f"annotations_{part}.csv*"))
            return f"{self.root} {part}" if parted else str(self.root)
        split = f" split {self.split}" if self.kind == "jhmdb" else ""
        return f"{self.kind} {self.root}{split} {part}"


def split_mix(text: str) -> list[tuple[str, int]]:
    """Take apart several data sets in one text: `A+B*8` is A once and B eight times.

    What exists as it is written wins: a folder may have `+` and `*` in its name.

    Raises:
        ConfigError: A part is empty, or occurs less than once.
    """
    words, parts, start = text.split("+"), [], 0
    while start < len(words):
        stop = next(
            (end for end in range(len(words), start + 1, -1)
             if _is_there(_times("+".join(words[start:end]))[0])),
            start + 1,
        )  # fmt: skip
        word, times = _times("+".join(words[start:stop]))
        if not word or times < 1:
            raise ConfigError(
                f"data {text[:120]!r}: {'a part is empty' if not word else 'a part occurs 0 times'}"
                ", expected data sets with + between them, each with *NUMBER where it is to occur "
                "several times"
            )
        parts.append((word, times))
        start = stop
    return parts


def _times(word: str) -> tuple[str, int]:
    """Take `*NUMBER` off the end of a part, unless a folder is called so."""
    head, star, number = word.rpartition("*")
    digits = number.isascii() and number.isdigit() and len(number) <= _MOST_DIGITS
    if star and digits and not _is_there(word):
        return head, int(number)
    return word, 1


def _is_there(word: str) -> bool:
    """Tell whether a part is a folder, perhaps with its kind before and its part behind."""
    kind, colon, rest = word.partition(":")
    rest = rest if colon and kind in _REAL else word
    while not _is_folder(rest) and rest.rpartition(":")[2] in _BEHIND:
        rest = rest.rpartition(":")[0]
    return _is_folder(rest)


def names_data_set(word: str) -> bool:
    """Tell whether a word names a data set by its kind or its part, and is not merely a path."""
    head, colon, _ = word.partition(":")
    folder, _, part = word.rpartition(":")
    of_folder = part in _PARTS["folder"] and _is_folder(folder)
    return head in _SYNTHETIC or (bool(colon) and (head in _REAL or of_folder))


def is_drawn(spec: str) -> bool:
    """Tell whether a word names the benchmark world, and not real videos."""
    return spec.partition(":")[0] in _SYNTHETIC


def open_dataset(
    spec: str, shape: ClipShape, *, seed: int = 0, limit: int | None = None, part: Part = "val"
) -> ClipDataset:
    """Return the data set that a word names.

    Args:
        spec: `synthetic-train` or `synthetic-val`, with `:LENGTH` for another number of clips
            than 2000, and with `:ACTION,ACTION` for people who do these alone; `ava:FOLDER`,
            `ucf101-24:FOLDER` or `jhmdb:FOLDER`, with `:split1` to `:split3` and a part behind
            it; or a folder of people's own data.
        shape: What the model asks for.
        seed: Which synthetic world of that split; 0 is the one that figures are given for.
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
        return _open_real(spec, shape, limit, part)
    from edge.data.synthetic import SyntheticClips

    actions: list[str] = []
    if len(behind) == 2 or (behind and behind[0].lstrip()[:1].isalpha()):
        actions = [action.strip() for action in behind.pop().split(",")]
    count = _count(spec, behind[0]) if behind else DEFAULT_LENGTH
    if limit is not None:
        count = min(count, limit)
    return SyntheticClips(_SYNTHETIC[name], shape, length=count, seed=seed, actions=actions)


def _open_real(spec: str, shape: ClipShape, limit: int | None, part: Part) -> ClipDataset:
    real = parse_real(spec)
    if real is None:
        raise ConfigError(_unknown(spec, spec.partition(":")[0]))
    from edge.data.chosen import NextWhereBroken, Spread
    from edge.data.problems import DataReport

    chosen = part_of(real, part)
    report = DataReport(name=real.name(chosen))
    dataset: ClipDataset = read_real(real, chosen, shape, report, strict=True)
    report.say()
    if limit is not None:
        dataset = Spread(dataset, limit)
    return NextWhereBroken(dataset) if part == "train" else dataset


def part_of(real: RealSpec, part: Part) -> str:
    """Return which part is meant: the one that the word names, or the caller's."""
    chosen = real.part or part
    return "test" if chosen == "val" and real.kind in ("ucf101-24", "jhmdb") else chosen


def read_real(
    real: RealSpec, part: str, shape: ClipShape, report: DataReport, *, strict: bool
) -> VideoClips:
    """Read real videos.

    Args:
        real: What a word named.
        part: From `part_of`.
        shape: What the model asks for.
        report: Takes what is wrong.
        strict: Refuse an annotation with a wrong row; else go on without it.

    Raises:
        ConfigError: The data is not as it should be.
    """
    open_part: Callable[..., VideoClips]
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


def parse_real(spec: str) -> RealSpec | None:
    """Understand a word that names real videos; None where it names none.

    Raises:
        ConfigError: The folder is not there, or what stands behind it is not known.
    """
    name, colon, rest = spec.partition(":")
    if colon and name in _REAL:
        return _with_parts(spec, name, rest)
    if not spec or (not _is_folder(spec.rpartition(":")[0] or spec) and not _is_folder(spec)):
        return None
    return _with_parts(spec, "folder", spec)


def _with_parts(spec: str, kind: str, rest: str) -> RealSpec:
    """Take parts off the end until what is left is a folder: its name may hold colons itself."""
    words: list[str] = []
    while not _is_folder(rest) and ":" in rest:
        rest, _, word = rest.rpartition(":")
        words.append(word)
    if not rest or not _is_folder(rest):
        raise ConfigError(f"data set {spec[:120]!r}: there is no folder {(rest or '.')[:120]!r}")
    part, split = None, None
    for word in words:
        if kind == "jhmdb" and word in ("split1", "split2", "split3") and split is None:
            split = int(word[-1])
        elif word in _PARTS[kind] and part is None:
            part = word
        else:
            known = [*_PARTS[kind], *(f"split{i}" for i in (1, 2, 3) if kind == "jhmdb")]
            raise ConfigError(
                f"data set {spec[:120]!r}: {word[:40]!r} is no part of it."
                f"{did_you_mean(word, known)} Choose from: {', '.join(known)}"
            )
    return RealSpec(kind=kind, root=Path(rest), part=part, split=split or 1)


def _is_folder(text: str) -> bool:
    try:
        return bool(text) and Path(text).is_dir()
    except (OSError, ValueError):
        return False


def _count(spec: str, length: str) -> int:
    if not (length.isascii() and length.isdigit()):
        raise ConfigError(f"data set {spec!r}: expected a number of clips behind the colon")
    return int(length)


def _unknown(spec: str, name: str) -> str:
    try:
        is_file = bool(spec) and Path(spec).is_file()
    except (OSError, ValueError):
        is_file = False
    if is_file:
        return f"data set {spec[:120]!r} is a file, expected a folder. Choose from: {SPECS}"
    if "/" in spec and name not in _REAL:
        return f"data set {spec[:120]!r}: there is no such folder. Choose from: {SPECS}"
    hint = did_you_mean(name, (*_SYNTHETIC, *_REAL))
    return f"data set {spec[:120]!r} is not known.{hint} Choose from: {SPECS}"
