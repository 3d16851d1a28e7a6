"""TensorRT engines, by `runtime.tensorrt`, which is imported on use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runtime.engines.base import EngineKind, Program

if TYPE_CHECKING:
    from runtime.bundle_spec import Artifact


def _missing() -> str | None:
    from runtime.tensorrt.engine import missing

    return missing()


def _load(path: Path, num_threads: int, stride: int) -> Program:
    from runtime.tensorrt.engine import TensorRTProgram

    return TensorRTProgram(path)


def _load_recorded(path: Path, artifact: Artifact, bundle: Path) -> Program:
    from runtime.tensorrt.engine import load_recorded

    return load_recorded(path, artifact, bundle)


TENSORRT = EngineKind(missing=_missing, load=_load, load_recorded=_load_recorded, device="cuda")
