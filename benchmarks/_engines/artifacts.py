"""Built artifacts, kept by what made them: a second run of the benchmark only measures."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks._engines.base import installed

_ROOT = Path(__file__).resolve().parent.parent.parent
# What decides an artifact beside weights and package versions: the code that makes the graph and
# lowers it. The module of the `build` that is called counts too.
_SOURCES = (
    "edge/model/*.py",
    "export/*.py",
    "quantize/*.py",
    "benchmarks/_engines/networks.py",
)
_FACTS = "facts.json"


Build = Callable[[Path], Mapping[str, Any]]


class Store:
    """The artifacts of one network, each in a folder of its own."""

    def __init__(self, root: Path, name: str, fingerprint: str) -> None:
        """Choose the folder; `fingerprint` stands for weights, configuration and clips."""
        key = digest(fingerprint, *map(_source_digest, _SOURCES))
        self.folder = root / f"{name}-{key[:12]}"

    def get(self, name: str, packages: Sequence[str], build: Build) -> Path:
        """Return the folder of an artifact, built by `build(folder)` where it is not there yet.

        A folder appears whole or not at all. What `build` returns is kept as its facts.
        """
        source = Path(inspect.getfile(build)).read_bytes()
        key = digest(json.dumps(installed(packages), sort_keys=True), source)
        folder = self.folder / f"{name}-{key[:8]}"
        if (folder / _FACTS).is_file():
            return folder
        self.folder.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=self.folder))
        try:
            start = time.perf_counter()
            with _quiet():
                facts = dict(build(part))
            facts |= {"build_s": time.perf_counter() - start, "versions": installed(packages)}
            (part / _FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return folder


def facts_of(path: Path) -> dict[str, Any]:
    """Return the facts kept beside an artifact's file."""
    found: dict[str, Any] = json.loads((path.parent / _FACTS).read_text(encoding="utf-8"))
    return found


def size_of(path: Path) -> int:
    """Return the bytes of an artifact: its file, and the weights beside it where they are apart."""
    beside = [path.with_suffix(".bin"), path.with_name(path.name + ".data")]
    return sum(p.stat().st_size for p in {path, *beside} if p.is_file())


def digest(*parts: str | bytes) -> str:
    """Return a SHA-256 over parts."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()


def _source_digest(pattern: str) -> str:
    return digest(*(path.read_bytes() for path in sorted(_ROOT.glob(pattern))))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the converters print and warn of off the terminal: nobody can act on it here."""
    with warnings.catch_warnings(), Path(os.devnull).open("w", encoding="utf-8") as sink:
        warnings.simplefilter("ignore")
        kept = [os.dup(1), os.dup(2)]
        try:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
            yield
        finally:
            for stream, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, stream)
                os.close(copy)
