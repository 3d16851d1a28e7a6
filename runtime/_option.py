"""Options as fields of dataclasses: default, help and range in one place, in sections.

A field whose type is a dataclass is a section: its options stand beside the others on a command
line and in a file, so that one dataclass serves the command line and the code that it configures.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from runtime.errors import ConfigError

T = TypeVar("T")


def option(
    default: Any,
    help: str,
    *,
    choices: Sequence[str] | None = None,
    metavar: str | None = None,
    aliases: Sequence[str] = (),
    positional: bool = False,
    former: str | None = None,
    refused: str | None = None,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    parse: Callable[[str], Any] | None = None,
) -> Any:
    """Declare one flag as a dataclass field.

    Args:
        default: Value when the flag is absent; `dataclasses.MISSING` makes it required.
        help: What it does, with its unit.
        choices: Allowed words.
        metavar: How its value is called in the help.
        aliases: Further spellings, with their dashes.
        positional: The value may also stand alone, without the flag.
        former: The field's name in older versions: still read, not shown.
        refused: Why this flag does not exist here; giving it is then an error with this sentence.
        least: Smallest value, for `check_options`.
        most: Largest value.
        above: The value must be larger.
        parse: Makes the value of a text; its ConfigError refuses one.
    """
    metadata = {
        "help": help,
        "choices": choices,
        "metavar": metavar,
        "aliases": tuple(aliases),
        "positional": positional,
        "former": former,
        "refused": refused,
        "least": least,
        "most": most,
        "above": above,
        "parse": parse,
    }
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def section(kind: type[T]) -> T:
    """Declare a field that holds a section of options, all at their defaults when it is absent."""
    return dataclasses.field(default_factory=kind)


def flag_of(name: str) -> str:
    """Return the flag of a field: `--kebab-case`."""
    return f"--{name.replace('_', '-')}"


def check_options(options: Any, *, named: Callable[[str], str] = flag_of) -> None:
    """Check the values of a dataclass against the ranges and choices of its options.

    For `__post_init__`. Whatever is None passes; a text without characters does not.

    Args:
        options: The dataclass.
        named: How a message calls a field; `str` where there are keys of a file and no flags.

    Raises:
        ConfigError: A value is out of range.
    """
    for spec in dataclasses.fields(options):
        value, meta = getattr(options, spec.name), spec.metadata
        if "help" not in meta or value is None:
            continue
        if value == "" and spec.default != "":
            raise ConfigError(f"{named(spec.name)} is empty")
        for one in (value if isinstance(value, tuple) else (value,)) if meta["choices"] else ():
            if one not in meta["choices"]:
                expected = ", ".join(map(repr, meta["choices"]))
                raise ConfigError(f"{named(spec.name)} is {one!r}, expected one of {expected}")
        least, most, above = meta["least"], meta["most"], meta["above"]
        if (least, most, above) == (None, None, None):
            continue
        inside = (
            math.isfinite(value)
            and (least is None or value >= least)
            and (most is None or value <= most)
            and (above is None or value > above)
        )
        if not inside:
            raise ConfigError(
                f"{named(spec.name)} is {value}, expected {_range(least, most, above)}"
            )


def _range(least: float | None, most: float | None, above: float | None) -> str:
    if above is not None:
        return f"a number above {above:g}" + ("" if most is None else f", at most {most:g}")
    if least is None:
        return f"at most {most:g}"
    return f"{least:g} or more" if most is None else f"{least:g} to {most:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonOptions:
    """Flags that verbs have in common."""

    verbose: bool = option(False, "show tracebacks")
    config: str | None = option(None, "YAML or JSON file with these flags", metavar="FILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class LongJobOptions(CommonOptions):
    """The same of verbs that show their progress."""

    quiet: bool = option(False, "no progress bar")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One option of a dataclass or of one of its sections."""

    spec: dataclasses.Field[Any]
    hint: Any


def _sections(kind: type) -> dict[str, type]:
    """Return the fields of a dataclass that hold a section, and the dataclass of each."""
    hints = typing.get_type_hints(kind)
    return {
        spec.name: hints[spec.name]
        for spec in dataclasses.fields(kind)
        if dataclasses.is_dataclass(hints[spec.name])
    }


def leaves(kind: type) -> Iterator[Leaf]:
    """Yield every option of a dataclass; fields that are not declared by `option` are no flags."""
    hints, sections = typing.get_type_hints(kind), _sections(kind)
    for spec in dataclasses.fields(kind):
        if spec.name in sections:
            yield from leaves(sections[spec.name])
        elif "help" in spec.metadata:
            yield Leaf(spec, hints[spec.name])


def current_names(values: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Return values by the names that their options have today."""
    former = {leaf.spec.metadata["former"]: leaf.spec.name for leaf in leaves(kind)}
    return {former.get(name, name): value for name, value in values.items()}


def defaults_of(kind: type) -> dict[str, Any]:
    """Return the default of every option, by name."""
    return {leaf.spec.name: leaf.spec.default for leaf in leaves(kind)}


def parse_share(text: str) -> tuple[int, int]:
    """Turn I/N, a share of a job that several processes do together, into (I - 1, N).

    Raises:
        ConfigError: It is not of that form.
    """
    left, slash, right = text.partition("/")
    whole = all(part.isascii() and part.isdecimal() for part in (left, right))
    if not (slash and whole and 1 <= int(left) <= int(right)):
        raise ConfigError(f"--shard is {text!r}, expected I/N with 1 <= I <= N, such as 1/4")
    return int(left) - 1, int(right)


def from_flat(kind: type[T], values: Mapping[str, Any]) -> T:
    """Build a dataclass and its sections from values by the names of their options.

    Raises:
        ConfigError: A value is out of range.
        TypeError: A name is no option, or a required one is missing.
    """
    left = dict(values)
    made = _build(kind, left)
    if left:
        raise TypeError(f"{kind.__name__} has no option {', '.join(left)}")
    return made


def _build(kind: type[T], left: dict[str, Any]) -> T:
    sections = _sections(kind)
    mine: dict[str, Any] = {}
    for spec in dataclasses.fields(kind):  # type: ignore[arg-type]
        if spec.name in sections:
            mine[spec.name] = _build(sections[spec.name], left)
        elif spec.name in left and "help" in spec.metadata:
            mine[spec.name] = left.pop(spec.name)
    return kind(**mine)


def to_flat(options: Any) -> dict[str, Any]:
    """Return the values of all options of a dataclass and its sections, by name."""
    flat: dict[str, Any] = {}
    sections = _sections(type(options))
    for spec in dataclasses.fields(options):
        value = getattr(options, spec.name)
        if spec.name in sections:
            flat |= to_flat(value)
        elif "help" in spec.metadata:
            flat[spec.name] = value
    return flat
