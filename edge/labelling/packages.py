"""Packages that only labelling needs; without them, one sentence that names the extra."""

from __future__ import annotations

import importlib
from typing import Any

from runtime.errors import BackendUnavailableError


def needed(name: str) -> Any:
    """Return a package or a module of one, such as `scipy.signal`.

    Raises:
        BackendUnavailableError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.split(".")[0]
        raise BackendUnavailableError(
            f"edge label needs {package}, which is not installed: pip install '.[label]'"
        ) from error
