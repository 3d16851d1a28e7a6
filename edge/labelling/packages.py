"""Packages that only labelling needs; without them, one sentence that names the extra."""

from __future__ import annotations

import importlib
from typing import Any

from runtime.errors import BackendUnavailableError


def _needed(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.split(".")[0]
        raise BackendUnavailableError(
            f"edge label needs {package}, which is not installed: pip install '.[label]'"
        ) from error


def onnxruntime() -> Any:
    """Return ONNX Runtime.

    Raises:
        BackendUnavailableError: It is not installed.
    """
    return _needed("onnxruntime")


def scipy_optimize() -> Any:
    """Return SciPy's assignment.

    Raises:
        BackendUnavailableError: It is not installed.
    """
    return _needed("scipy.optimize")


def scipy_signal() -> Any:
    """Return SciPy's filters.

    Raises:
        BackendUnavailableError: It is not installed.
    """
    return _needed("scipy.signal")
