"""What a compared engine is: how its artifact is built, and how a process of its own runs it.

The top of every engine module imports nothing heavy: the measuring process loads the module, and
its memory is measured.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from runtime.errors import ConfigError
from runtime.options import did_you_mean

if TYPE_CHECKING:
    from benchmarks._engines.artifacts import Store
    from benchmarks._engines.networks import Network

Floats = npt.NDArray[np.float32]
Run = Callable[[Floats], Sequence[Floats]]
INSTALL = "pip install '.[bench]'"


class EngineModule(Protocol):
    """The functions of an engine's module."""

    def build(self, network: Network, precision: str, store: Store) -> Path:
        """Build the artifact, or find it built; return its file."""

    def load(self, path: Path, precision: str, threads: int) -> Run:
        """Load an artifact; return the function that runs one input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One engine at one precision.

    Attributes:
        name: `onnxruntime-int8`.
        family: What `--against` calls it.
        precision: `fp32`, `bf16`, `int8`; `int8-bf16` computes in bf16 what is not int8.
        module: Module below `benchmarks._engines`.
        packages: Distributions that it needs, for building and for running.
    """

    name: str
    family: str
    precision: str
    module: str
    packages: tuple[str, ...]

    def load_module(self) -> EngineModule:
        """Import the engine's module."""
        return cast(EngineModule, importlib.import_module(f"benchmarks._engines.{self.module}"))

    def missing(self) -> list[str]:
        """Return the packages that are not installed here."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]

    def versions(self) -> dict[str, str]:
        """Return the versions of its packages; those that are installed."""
        return installed(self.packages)


def installed(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of the packages among these that are installed."""
    found: dict[str, str] = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _engine(family: str, precision: str, module: str, *packages: str) -> Engine:
    name = f"{'xnnpack' if family == OURS else family}-{precision}"
    return Engine(name=name, family=family, precision=precision, module=module, packages=packages)


OURS = "executorch"
_ONNX = ("onnx", "onnxscript")
ENGINES: tuple[Engine, ...] = (
    _engine(OURS, "int8", "xnnpack", "torch", "torchao", "executorch"),
    _engine(OURS, "fp32", "xnnpack", "torch", "torchao", "executorch"),
    _engine("torch", "fp32", "torch_eager", "torch"),
    _engine("onnxruntime", "fp32", "onnx_runtime", "onnxruntime", *_ONNX),
    _engine("onnxruntime", "int8", "onnx_runtime", "onnxruntime", *_ONNX),
    _engine("openvino", "fp32", "open_vino", "openvino", *_ONNX),
    _engine("openvino", "bf16", "open_vino", "openvino", *_ONNX),
    _engine("openvino", "int8", "open_vino", "openvino", "nncf", *_ONNX),
    _engine("openvino", "int8-bf16", "open_vino", "openvino", "nncf", *_ONNX),
)
FAMILIES: tuple[str, ...] = ("torch", "onnxruntime", "openvino")


def chosen_engines(against: Sequence[str]) -> list[Engine]:
    """Return ours and the engines of the named families.

    Raises:
        ConfigError: A family is not known.
    """
    for name in against:
        if name not in FAMILIES:
            raise ConfigError(
                f"--against {name!r} is not known.{did_you_mean(name, FAMILIES)} "
                f"Choose from: {', '.join(FAMILIES)}"
            )
    return [e for e in ENGINES if e.family == OURS or e.family in against]


def engine_named(name: str) -> Engine:
    """Return an engine by its name."""
    return next(engine for engine in ENGINES if engine.name == name)


def has_bf16() -> bool:
    """Tell whether the processor multiplies in bfloat16 itself."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return any(word in flags.split() for word in ("avx512_bf16", "amx_bf16", "bf16"))


def as_outputs(values: Sequence[Any]) -> list[Floats]:
    """Return an engine's outputs as float32 arrays."""
    return [np.asarray(value, dtype=np.float32) for value in values]
