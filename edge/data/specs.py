"""Words that name data sets, taken apart; nothing of the data is read here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import ConfigError
from runtime.options import did_you_mean

_MOST_DIGITS = 6  # of how often a part of several occurs
SYNTHETIC = {"synthetic-train": "train", "synthetic-val": "val"}
REAL = ("ava", "ucf101-24", "jhmdb", "stills", "gmdcsa24", "davis")
# What a spec may have behind the folder; the first one of a column is what a caller's part means.
PARTS: dict[str, tuple[str, ...]] = {
    "ava": ("train", "val", "test"),
    "ucf101-24": ("train", "fit", "held-out", "test", "test-annotated", "val"),
    "jhmdb": ("train", "fit", "held-out", "test", "test-annotated", "val"),
    "folder": ("train", "val", "test"),
    "stills": (),
    "gmdcsa24": (),
    "davis": (),
}
# Further words behind the folder, of which several may stand there: which of the data is taken.
CHOICES: dict[str, tuple[str, ...]] = {
    "jhmdb": ("split1", "split2", "split3"),
    "gmdcsa24": ("subject1", "subject2", "subject3", "subject4"),
}
# Kinds whose boxes may lie elsewhere, and what their path behind the folder is.
BESIDE = {
    "stills": "a table of boxes",
    "gmdcsa24": "a folder that edge label wrote",
}
_BEHIND = {word for known in (PARTS, CHOICES) for words in known.values() for word in words}
SPECS = (
    "synthetic-train, synthetic-val (with :LENGTH for another number of clips and :ACTION,ACTION "
    "for people who do these alone), ava:FOLDER[:PART], "
    "ucf101-24:FOLDER[:PART], jhmdb:FOLDER[:split1][:PART], stills:FOLDER[:BOXES.csv], "
    "gmdcsa24:FOLDER[:LABELLED][:subject1], davis:FOLDER, or a folder with videos, "
    "annotations.csv and classes.txt"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RealSpec:
    """Real videos, or pictures, that a word names.

    Attributes:
        kind: One of `REAL`, or `folder`.
        root: Where they lie.
        part: Which part; None where the word does not say.
        chosen: Words of `CHOICES`, in the order of that table.
        beside: Where their boxes lie; None where the word does not say.
    """

    kind: str
    root: Path
    part: str | None = None
    chosen: tuple[str, ...] = ()
    beside: Path | None = None

    @property
    def split(self) -> int:
        """Return which split, from 1."""
        return int(self.chosen[0][-1]) if self.kind == "jhmdb" and self.chosen else 1

    def name(self, part: str) -> str:
        """Return what messages call it."""
        if self.kind == "folder":
            parted = any(self.root.glob(f"annotations_{part}.csv*"))
            return f"{self.root} {part}" if parted else str(self.root)
        if self.kind == "jhmdb":
            return f"{self.kind} {self.root} split {self.split} {part}"
        return " ".join([self.kind, str(self.root), *(self.chosen or ([part] if part else []))])


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
    rest = rest if colon and kind in REAL else word
    while not _is_folder(rest) and rest.rpartition(":")[2] in _BEHIND:
        rest = rest.rpartition(":")[0]
    if colon and kind in BESIDE:
        return any(_is_folder(root) and (not path or _exists(path)) for root, path in _cuts(rest))
    return _is_folder(rest)


def _cuts(text: str) -> Iterator[tuple[str, str]]:
    """Yield a text cut at each of its colons into what is before and behind; whole at first."""
    yield text, ""
    words = text.split(":")
    for stop in range(len(words) - 1, 0, -1):
        yield ":".join(words[:stop]), ":".join(words[stop:])


def names_data_set(word: str) -> bool:
    """Tell whether a word names a data set by its kind or its part, and is not merely a path."""
    parts = split_mix(word) if "+" in word else []
    if len(parts) > 1:
        return all(names_data_set(part) or _is_folder(part) for part, _ in parts)
    head, colon, _ = word.partition(":")
    folder, _, part = word.rpartition(":")
    of_folder = part in PARTS["folder"] and _is_folder(folder)
    return head in SYNTHETIC or (bool(colon) and (head in REAL or of_folder))


def is_drawn(spec: str) -> bool:
    """Tell whether a word names the benchmark world, and not real videos."""
    return spec.partition(":")[0] in SYNTHETIC


def kind_of(spec: str) -> str:
    """Return what kind of data a word names: `drawn`, one of `REAL`, or `folder`."""
    if is_drawn(spec):
        return "drawn"
    name, colon, _ = spec.partition(":")
    return name if colon and name in REAL else "folder"


def part_of(real: RealSpec, part: str) -> str:
    """Return which part is meant: the one that the word names, or the caller's; "" is the whole."""
    if not PARTS[real.kind]:
        return ""
    chosen = real.part or part
    return "test" if chosen == "val" and real.kind in ("ucf101-24", "jhmdb") else chosen


def parse_real(spec: str) -> RealSpec | None:
    """Understand a word that names real videos; None where it names none.

    Raises:
        ConfigError: The folder is not there, or what stands behind it is not known.
    """
    name, colon, rest = spec.partition(":")
    if colon and name in REAL:
        return _with_parts(spec, name, rest)
    if not spec or (not _is_folder(spec.rpartition(":")[0] or spec) and not _is_folder(spec)):
        return None
    return _with_parts(spec, "folder", spec)


def _with_parts(spec: str, kind: str, rest: str) -> RealSpec:
    """Take parts off the end until what is left is a folder: its name may hold colons itself."""
    root, behind = next(((r, b) for r, b in _cuts(rest) if _is_folder(r)), (rest, ""))
    if not _is_folder(root):
        root = rest.partition(":")[0]
        raise ConfigError(f"data set {spec[:120]!r}: there is no folder {(root or '.')[:120]!r}")
    words = behind.split(":") if behind else []
    beside, words = _beside(spec, kind, words)
    part: str | None = None
    chosen: list[str] = []
    choices = CHOICES.get(kind, ())
    for word in words:
        # Of splits there is one; subjects may be several.
        if word in choices and word not in chosen and not (chosen and kind == "jhmdb"):
            chosen.append(word)
        elif word in PARTS[kind] and part is None:
            part = word
        else:
            known = [*PARTS[kind], *choices]
            raise ConfigError(
                f"data set {spec[:120]!r}: {word[:40]!r} is no part of it."
                f"{did_you_mean(word, known)} Choose from: {', '.join(known) or 'nothing'}"
            )
    return RealSpec(kind=kind, root=Path(root), part=part, beside=beside,
                    chosen=tuple(word for word in choices if word in chosen))  # fmt: skip


def _beside(spec: str, kind: str, words: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Take the path of what lies beside the folder off the front; its name may hold colons."""
    if kind not in BESIDE:
        return None, list(words)
    count = next((i for i, word in enumerate(words) if word in _BEHIND), len(words))
    path = ":".join(words[:count])
    if path and not _exists(path):
        raise ConfigError(
            f"data set {spec[:120]!r}: {path[:120]!r} is not there, expected {BESIDE[kind]}"
        )
    return (Path(path) if path else None), list(words[count:])


def _is_folder(text: str) -> bool:
    try:
        return bool(text) and Path(text).is_dir()
    except (OSError, ValueError):
        return False


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False


def unknown(spec: str) -> str:
    """Return a sentence about a word that names nothing."""
    name = spec.partition(":")[0]
    try:
        is_file = bool(spec) and Path(spec).is_file()
    except (OSError, ValueError):
        is_file = False
    if is_file:
        return f"data set {spec[:120]!r} is a file, expected a folder. Choose from: {SPECS}"
    if "/" in spec and name not in REAL:
        return f"data set {spec[:120]!r}: there is no such folder. Choose from: {SPECS}"
    hint = did_you_mean(name, (*SYNTHETIC, *REAL))
    return f"data set {spec[:120]!r} is not known.{hint} Choose from: {SPECS}"
