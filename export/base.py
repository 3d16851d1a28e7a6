"""What every export target is given and gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from runtime.types import ClipModel, Floats

if TYPE_CHECKING:
    from edge.model.bmvit import BMViT

Precision = Literal["fp32", "fp16", "int8"]


Progress = Callable[[str, int, int], None]
"""Called with what is done, how many are done, and how many there are."""


class OpenProgram(Protocol):
    """Loads a program in its engine."""

    def __call__(
        self, program: bytes, *, name: str, stride: int = 0
    ) -> AbstractContextManager[ClipModel]:
        """Load a program.

        Args:
            program: The file's content.
            name: The artifact's name, for messages.
            stride: For the methods of overlapping clips, as `runtime.engine.load_engine` takes it.

        Raises:
            ExportError: It does not load or run.
        """


EXTRA = "export"
INSTALL = "pip install '.[export]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """How much of a program an engine's delegate took.

    Attributes:
        share: Multiply-adds inside delegate calls over all multiply-adds, 0 to 1.
        calls: Number of delegate calls.
        multiply_adds: All multiply-adds of one clip.
        fallbacks: Each operation that stayed outside, as "name x count", the costliest first.
    """

    share: float
    calls: int
    multiply_adds: int
    fallbacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """One program for one engine, not yet trusted.

    Attributes:
        program: The file's content.
        delegation: What the engine's delegate took of the whole network; None where the engine
            has no delegates, and takes a program whole or not at all.
        methods: The same of each further method: the parts of a network that overlapping clips use.
        simulate: The graph that was lowered, run by torch on a clip (1, T, 3, H, W).
        made_with: Versions that made it.
        finish: Returns the same program with facts of the model inside, by name, for programs
            that can hold them; θ is one of the facts, and is found by running the program.
    """

    program: bytes
    delegation: Delegation | None
    simulate: ClipModel
    made_with: dict[str, str] = field(default_factory=dict)
    methods: dict[str, Delegation] = field(default_factory=dict)
    finish: Callable[[Mapping[str, object]], bytes] | None = None


class Target(Protocol):
    """One engine at one precision."""

    @property
    def name(self) -> str:
        """Name on the command line, `xnnpack-int8`."""

    @property
    def engine(self) -> str:
        """What the bundle calls the engine, `xnnpack`."""

    @property
    def precision(self) -> Precision:
        """Number format of the weights and most activations."""

    @property
    def suffix(self) -> str:
        """Suffix of the artifact's file, with its dot."""

    @property
    def not_run(self) -> str | None:
        """Why its programs cannot be run on this machine; None where they can.

        Such a program is judged by its graph as torch runs it, and by the device's self-test.
        """

    def check_packages(self) -> None:
        """Check that what lowers, and what runs the program afterwards, is installed.

        Raises:
            BackendUnavailableError: It is not.
        """

    @property
    def open(self) -> OpenProgram:
        """Load one of its programs in the engine it is verified with; never asked if `not_run`."""

    def lower(
        self,
        model: BMViT,
        clips: Sequence[Floats],
        *,
        float_layers: frozenset[str] = frozenset(),
        progress: Progress | None = None,
    ) -> Lowered:
        """Turn a float model into a program.

        Args:
            model: The model in evaluation mode.
            clips: Calibration clips (1, T, 3, H, W); at least one, for the example input.
            float_layers: Layers, by their names in the exported module, that int8 leaves out
                beside those of its scheme.
            progress: Told of each step.

        Raises:
            ExportError: It cannot be done.
        """
