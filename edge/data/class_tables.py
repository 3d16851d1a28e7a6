"""Tables of classes: which classes of several data sets are one, and what each is silent about.

Data sets of several kinds teach one model. Each has words of its own, and each is silent about
most of the others' classes; silence is no "nobody does it". A `ClassTable` says, for each kind:

    join      which class of its own is which joint one; several may be one; None leaves one out
    absent    joint classes that nobody in it does, though it has no word for them: known to be 0
    unknown   of who does the one, nothing is known of the others, although they are absent else
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.data.problems import several
from edge.data.specs import RealSpec, kind_of, parse_real
from runtime.errors import ConfigError
from runtime.options import did_you_mean

PERSON = "person"
"""The class of everybody who is there, whatever they do."""
ANY = "*"
"""The kind whose `join` holds for all that do not say otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceClasses:
    """What one kind of data says of the joint classes; the module's docstring explains the fields.

    Attributes:
        join: Joint class by own class; None where there is none.
        absent: Joint classes that nobody does.
        unknown: Joint classes of which nothing is known, by the joint class that a person does.
    """

    join: Mapping[str, str | None] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    unknown: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTable:
    """Joint classes, and what each kind of data says of them.

    Attributes:
        names: The joint classes, in the order of the model's outputs.
        sources: By kind (`drawn`, `jhmdb`, `folder`, ...), by `kind:NAME` for the folder of that
            name alone, and `*` for what is joined wherever nothing else is said.

    Raises:
        ConfigError: A class is named twice, or a source names one that is none.
    """

    names: tuple[str, ...]
    sources: Mapping[str, SourceClasses]

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names) or not self.names:
            raise ConfigError(f"a table of classes has {several(self.names)}; expected one or "
                              "more, each once")  # fmt: skip
        for kind, source in self.sources.items():
            named = [name for name in source.join.values() if name is not None]
            pairs = [name for one, others in source.unknown.items() for name in (one, *others)]
            for name in (*named, *source.absent, *pairs):
                if name not in self.names:
                    raise ConfigError(
                        f"a table of classes has {name!r} for {kind}, which is none of its "
                        f"classes.{did_you_mean(name, self.names)}"
                    )

    def source(self, spec: str) -> SourceClasses:
        """Return what the table says of a data set, by its spec."""
        kind = kind_of(spec)
        real = _real(spec) if kind != "drawn" else None
        keys = [kind] if real is None else [f"{kind}:{real.root.resolve().name}", kind]
        own = next((self.sources[key] for key in keys if key in self.sources), SourceClasses())
        shared = self.sources.get(ANY, SourceClasses())
        return SourceClasses(
            join={**shared.join, **own.join},
            absent=tuple(dict.fromkeys((*shared.absent, *own.absent))),
            unknown={**shared.unknown, **own.unknown},
        )

    def joint_of(self, source: SourceClasses, name: str) -> str | None:
        """Return the joint class of a class of a data set; None where it is left out.

        Raises:
            ConfigError: The table does not know it.
        """
        if name in source.join:
            return source.join[name]
        if name in self.names:
            return name
        raise ConfigError(
            f"the table of classes does not know {name!r}.{did_you_mean(name, self.names)} Say "
            "which class it is, or null for none, in a table of your own (--classes FILE)"
        )


def _real(spec: str) -> RealSpec | None:
    try:
        return parse_real(spec)
    except ConfigError:
        return None  # what reports call a data set need not be there


def joins_of(
    table: ClassTable, source: SourceClasses, own: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return which classes of a data set make each joint class, in the order they first occur.

    Raises:
        ConfigError: The table does not know one.
    """
    made: dict[str, tuple[str, ...]] = {}
    for name in own:
        joint = table.joint_of(source, name)
        if joint is not None:
            made[joint] = (*made.get(joint, ()), name)
    return made


def joins_line(spec: str, made: Mapping[str, Iterable[str]], own: Sequence[str]) -> str | None:
    """Return a line that says which labels of a data set are joined; None where none is."""
    changed = {joint: list(names) for joint, names in made.items() if list(names) != [joint]}
    parts = [f"{', '.join(names)} -> {joint}" for joint, names in changed.items()]
    kept = {name for names in made.values() for name in names}
    gone = [name for name in own if name not in kept]
    parts += [f"left out: {', '.join(gone)}"] if gone else []
    return f"labels of {spec} joined: {'; '.join(parts)}" if parts else None


def read_class_table(path: Path, base: ClassTable) -> ClassTable:
    """Read a table of classes, as the module explains it.

        classes: [walk, sit, person]      # by default those of `base`
        sources:
          folder:
            join: {strolls: walk, reads: null}
            absent: [sit]
            unknown: {walk: [sit]}

    What `base` joins for every kind holds here, too, as far as these classes have it.

    Raises:
        ConfigError: It cannot be read, or is no such table.
    """
    content = _content(path)
    if not isinstance(content, dict) or not set(content) <= {"classes", "sources"}:
        raise ConfigError(f"{path} holds {_keys(content)}, expected classes and sources")
    names = content.get("classes", list(base.names))
    sources = content.get("sources", {})
    if not _are_texts(names) or not isinstance(sources, dict):
        raise ConfigError(
            f"{path}: expected classes: [names] and sources: kinds with what they say"
        )
    try:
        return ClassTable(
            names=tuple(names),
            sources={
                ANY: SourceClasses(join={k: v for k, v in base.sources[ANY].join.items()
                                         if v in names}),
                **{str(kind): _source(path, kind, said) for kind, said in sources.items()},
            },
        )  # fmt: skip
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _source(path: Path, kind: object, said: object) -> SourceClasses:
    if not isinstance(said, dict) or not set(said) <= {"join", "absent", "unknown"}:
        raise ConfigError(f"{kind} has {_keys(said)}, expected join, absent and unknown")
    join, absent, unknown = (said.get("join") or {}, said.get("absent") or [],
                             said.get("unknown") or {})  # fmt: skip
    good = (
        isinstance(join, dict)
        and all(isinstance(v, str) or v is None for v in join.values())
        and _are_texts(absent)
        and isinstance(unknown, dict)
        and all(_are_texts(others) for others in unknown.values())
    )
    if not good:
        raise ConfigError(f"{kind}: expected join: {{own class: joint class or null}}, absent: "
                          "[classes] and unknown: {class: [classes]}")  # fmt: skip
    return SourceClasses(
        join={str(own): joint for own, joint in join.items()},
        absent=tuple(absent),
        unknown={str(one): tuple(others) for one, others in unknown.items()},
    )


def _content(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            return json.loads(text)
        import yaml
    except ImportError:
        raise ConfigError(
            f"{path} needs PyYAML, which is not installed; write the same as .json"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def _are_texts(words: object) -> bool:
    return isinstance(words, list) and all(isinstance(word, str) and word for word in words)


def _keys(content: object) -> str:
    return several(map(str, content)) if isinstance(content, dict) else type(content).__name__
