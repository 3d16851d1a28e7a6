from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from runtime.probes import Reading

Tree = Callable[[Mapping[str, str]], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Make a root folder of files and what they hold."""

    def make(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path

    return make


def by_name(readings: Iterable[Reading], kind: str) -> dict[str, Reading]:
    """Return the readings of one kind."""
    return {r.name: r for r in readings if r.kind == kind}


def values(readings: Iterable[Reading], kind: str) -> dict[str, object]:
    """Return the values of one kind, rounded as a reader would."""
    return {
        r.name: round(r.value, 3) if isinstance(r.value, float) else r.value
        for r in readings
        if r.kind == kind
    }
