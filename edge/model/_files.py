"""Read tensor files from anywhere, never running code from them."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from runtime.errors import ArtifactError, ArtifactMismatchError


def read_torch_file(path: Path) -> dict[str, object]:
    """Read a file written by `torch.save` that holds a dict of tensors and plain values.

    Args:
        path: The file.

    Raises:
        ArtifactError: It is missing, empty, not such a file, truncated, or asks to run code.
    """
    if not path.is_file():
        raise ArtifactError(f"no checkpoint at {path}")
    if path.stat().st_size == 0:
        raise ArtifactError(f"{path} is empty; download or save it again")
    try:
        payload = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ArtifactError(_refusal(path, error)) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ArtifactError(
            f"{path} is not a whole checkpoint file ({_first_line(error)}); "
            f"download or save it again"
        ) from error
    except Exception as error:  # a damaged pickle can raise nearly anything out of the unpickler
        raise ArtifactError(
            f"{path} is not a checkpoint file ({type(error).__name__}: {_first_line(error)})"
        ) from error
    if not isinstance(payload, dict):
        raise ArtifactError(f"{path} holds a {type(payload).__name__}, expected a dict of tensors")
    return cast("dict[str, object]", payload)


def tensors_of(payload: Mapping[str, object], path: Path, what: str) -> dict[str, Tensor]:
    """Check that a mapping holds tensors under string names only.

    Raises:
        ArtifactError: It is empty or holds anything else.
    """
    if not payload:
        raise ArtifactError(f"{path} holds no weights in {what}")
    for name, value in payload.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ArtifactError(
                f"{path} holds {name!r} of type {type(value).__name__} in {what}, "
                f"expected named tensors only"
            )
    return cast("dict[str, Tensor]", dict(payload))


def check_fit(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    """Check names, shapes and finiteness of weights before any of them is copied.

    Raises:
        ArtifactMismatchError: Names are missing or left over, or shapes or kinds of number differ.
        ArtifactError: A weight is NaN or infinite.
    """
    missing = [name for name in expected if name not in given]
    unknown = [name for name in given if name not in expected]
    if missing or unknown:
        raise ArtifactMismatchError(
            f"{path} does not fit this model: {_some(missing=missing, unknown=unknown)}"
        )
    shapes = [
        f"{name} is {_kind(given[name])}, expected {_kind(weight)}"
        for name, weight in expected.items()
        if _kind(given[name]) != _kind(weight)
    ]
    if shapes:
        raise ArtifactMismatchError(
            f"{path} does not fit this model: {'; '.join(shapes[:3])}{_more(shapes)}"
        )
    for name, weight in given.items():
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
            raise ArtifactError(f"{path} holds NaN or infinity in {name}: the weights are broken")


def _some(**items_by_label: list[str]) -> str:
    """Write counts and first names: `2 missing (a, b), 1 unknown (c)`."""
    return ", ".join(
        f"{len(items)} {label} ({', '.join(items[:3])}{_more(items)})"
        for label, items in items_by_label.items()
        if items
    )


def _kind(tensor: Tensor) -> str:
    """Write a tensor's shape, and what is not an ordinary float of any width."""
    layout = "" if tensor.layout == torch.strided else f" {tensor.layout}"
    return (
        f"{tuple(tensor.shape)}{'' if tensor.is_floating_point() else f' {tensor.dtype}'}{layout}"
    )


def _more(items: list[str]) -> str:
    return f" and {len(items) - 3} more" if len(items) > 3 else ""


def _refusal(path: Path, error: Exception) -> str:
    text = str(error)
    if "Unsupported global" in text or "Unsupported class" in text or "GLOBAL" in text:
        return (
            f"{path} asks to run code while it loads (a pickle payload); refused. "
            f"Only tensors and plain values are loaded"
        )
    return f"{path} is not a checkpoint file, or it is damaged; download or save it again"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
