"""What an engine is to the rest of the runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from runtime.types import ClipModel, Floats, Outputs

if TYPE_CHECKING:
    from runtime.bundle_spec import Artifact

DEVICES = ("cpu", "cuda", "vulkan")


class Program(ClipModel, Protocol):
    """A loaded program of any engine."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the clip."""

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each output."""

    @property
    def num_threads(self) -> int:
        """Threads that compute."""

    @property
    def load_ms(self) -> float:
        """How long loading took, milliseconds."""

    @property
    def shares_steps(self) -> bool:
        """Whether what clips have in common is computed once."""

    def __call__(self, clips: Floats, /, first: int = -1) -> Outputs:
        """Run one clip; `first` is the serial number of its first sample, -1 if it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKind:
    """An engine that can run programs.

    Attributes:
        missing: Says why it cannot run here, or None where it can.
        load: Loads a program file with a number of threads (0: the engine's choice), for clips that
            begin so many samples apart (0: clips that do not overlap).
        device: What it computes on: one of `DEVICES`.
        load_recorded: In place of `load`, for programs made for one machine: given the file, its
            artifact's record to hold against this machine, and the bundle's path as the user has
            it. Raises `ArtifactMismatchError` where they do not fit.
        int8_overflows: Whether its int8 kernels overflow where `int8_sums_overflow`, so that it
            computes int8 programs in float32 there.
    """

    missing: Callable[[], str | None]
    load: Callable[[Path, int, int], Program]
    device: str
    load_recorded: Callable[[Path, Artifact, Path], Program] | None = None
    int8_overflows: bool = False
