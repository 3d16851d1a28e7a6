"""Tables of classes of people's own, as YAML or JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge.data.class_tables import ANY, ClassTable, SourceClasses
from edge.data.problems import several
from runtime.errors import ConfigError


def read_class_table(path: Path, base: ClassTable) -> ClassTable:
    """Read a table of classes, as `edge.data.class_tables` explains it.

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
