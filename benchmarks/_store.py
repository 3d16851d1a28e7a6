"""Built artifacts, kept by what made them: a second run of a benchmark only measures."""

from __future__ import annotations

import hashlib
import importlib.metadata
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

ROOT = Path(__file__).resolve().parent.parent
# What decides an artifact beside weights and package versions: the code that makes and lowers the
# graph. The module of the `build` that is called counts too.
_SOURCES = ("edge/model/**/*.py", "export/**/*.py", "quantize/**/*.py")
_FACTS = "facts.json"

Build = Callable[[Path], Mapping[str, Any]]
_FAILED: dict[Path, Exception] = {}


class Store:
    """The artifacts of one network, each in a folder of its own."""

    def __init__(self, root: Path, name: str, fingerprint: str) -> None:
        """Choose the folder; `fingerprint` stands for weights, configuration and clips."""
        sources = [path.read_bytes() for glob in _SOURCES for path in sorted(ROOT.glob(glob))]
        self.folder = root / f"{name}-{digest(fingerprint, *sources)[:12]}"

    def get(self, name: str, packages: Sequence[str], build: Build) -> Path:
        """Return the folder of an artifact, built by `build(folder)` where it is not there yet.

        A folder appears whole or not at all. What `build` returns is kept as its facts.
        """
        source = Path(inspect.getfile(build)).read_bytes()
        key = digest(json.dumps(installed(packages), sort_keys=True), source)
        folder = self.folder / f"{name}-{key[:8]}"
        if (folder / _FACTS).is_file():
            return folder
        if folder in _FAILED:
            raise _FAILED[folder]
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
        except Exception as error:
            _FAILED[folder] = error  # other engines ask for it too
            raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return folder


def installed(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of the packages among these that are installed."""
    found: dict[str, str] = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def facts_of(path: Path) -> dict[str, Any]:
    """Return the facts kept beside an artifact's file; nothing where it has none."""
    file = path.parent / _FACTS
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


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


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the converters print and warn of off the terminal."""
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
