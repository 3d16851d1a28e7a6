"""Backends of ExecuTorch beside those that are built in: shared libraries, loaded by name.

A library registers its backend while it is loaded, into the ExecuTorch runtime that the native
module brought; from then on programs for it can be chosen. It is code and runs as such: name only
libraries that you trust. `EDGE_BACKEND_LIBRARY` names them where no flag does, divided by `:`.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

from runtime.errors import BackendUnavailableError

VARIABLE = "EDGE_BACKEND_LIBRARY"
_loaded: dict[Path, tuple[ctypes.CDLL, tuple[str, ...]]] = {}


def named_libraries(given: str | Iterable[str] | None = None) -> list[str]:
    """Return the libraries of a flag (divided by `:`), else those of the environment."""
    if given is None:
        given = os.environ.get(VARIABLE, "")
    names = given.split(os.pathsep) if isinstance(given, str) else list(given)
    return [name for name in names if name]


def load_backend_library(name: str) -> tuple[str, ...]:
    """Load one library; the backends that it registered, in the runtime's words.

    Args:
        name: Path of the library, or its name where the system finds it.

    Raises:
        BackendUnavailableError: It does not load, or registers nothing.
    """
    try:
        from runtime import _native
    except ImportError as error:
        raise BackendUnavailableError(
            f"the native runtime does not import ({error}); build it with `pip install .`"
        ) from error
    path = Path(name)
    found = path.resolve() if path.exists() else path
    if found in _loaded:
        return _loaded[found][1]
    if "/" in name and not path.is_file():
        raise BackendUnavailableError(f"there is no backend library {name}")
    before = set(_native.info()["backends"])
    try:
        # Its symbols stay its own: two backends may hold the same library in two versions.
        library = ctypes.CDLL(str(found), mode=os.RTLD_NOW | os.RTLD_LOCAL)
    except OSError as error:
        raise BackendUnavailableError(
            f"the backend library {name} does not load: {error}; it must be built for ExecuTorch "
            f"{_native.info()['executorch_version']} and this processor, against its shared runtime"
        ) from error
    added = tuple(b for b in _native.info()["backends"] if b not in before)
    if not added:
        raise BackendUnavailableError(
            f"{name} loads, but registers no backend with this runtime; it must be linked to "
            "libexecutorch.so, not hold a runtime of its own"
        )
    _loaded[found] = (library, added)
    return added


def use_backend_library(names: str | None) -> None:
    """Load the libraries of a flag, and let child processes load them too; nothing without one.

    Raises:
        BackendUnavailableError: One does not load, or registers nothing.
    """
    if names is not None:
        load_backend_libraries(names)
        os.environ[VARIABLE] = names


def load_backend_libraries(given: str | Iterable[str] | None = None) -> dict[str, tuple[str, ...]]:
    """Load the libraries of a flag, or of the environment; the backends of each by its name.

    Raises:
        BackendUnavailableError: One does not load, or registers nothing.
    """
    return {name: load_backend_library(name) for name in named_libraries(given)}
