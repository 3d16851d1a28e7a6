"""From exported graphs to an ExecuTorch program with one delegate, for every delegate."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from export.base import INSTALL, Delegation
from runtime.errors import BackendUnavailableError, EdgeError, ExportError

if TYPE_CHECKING:
    from quantize.graph import Method

PACKAGES = ("torch", "torchao", "executorch")


def check_executorch(target: str) -> None:
    """Check that what lowers to ExecuTorch is installed.

    Args:
        target: Name of the target that asks, for the message.

    Raises:
        BackendUnavailableError: Something is not.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise BackendUnavailableError(
            f"target {target} needs {', '.join(missing)}, not installed here; run: {INSTALL}"
        )


def made_with(*packages: str) -> dict[str, str]:
    """Return the versions that make a program, those of further packages too."""
    found = {name: version(name) for name in (*PACKAGES, *packages)}
    return {**found, "python": platform.python_version()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Emitted:
    """A program, and how to write it once more.

    Attributes:
        program: The file's content.
        delegations: What the delegate took of each method.
        finish: Returns the program with constant methods: a name, and what a call of it gives.
    """

    program: bytes
    delegations: dict[str, Delegation]
    finish: Callable[[Mapping[str, object]], bytes]


def lower_methods(
    methods: Mapping[str, Method],
    partitioner: Callable[[], Any],
    *,
    name: str,
    least: float | None = None,
) -> Emitted:
    """Lower graphs to one program.

    Args:
        methods: The program's methods.
        partitioner: Makes a partitioner of the delegate, one for each method.
        name: The target's name, for messages.
        least: Share of the multiply-adds that the delegate must take of each method; None is
            `export.delegation.MIN_SHARE`.

    Raises:
        PartitionError: The delegate took less than `least`.
        ExportError: ExecuTorch or the delegate does not take a graph.
    """
    import torch
    from executorch.exir import (
        EdgeCompileConfig,
        ExecutorchProgramManager,
        to_edge_transform_and_lower,
    )

    from export.delegation import MIN_SHARE, check_delegation, measure_delegation
    from export.quick_lowering import quick_lowering

    try:
        with quick_lowering():
            edge = to_edge_transform_and_lower(
                {key: torch.export.export(m.graph, (m.example,)) for key, m in methods.items()},
                partitioner={key: [partitioner()] for key in methods},
                # The validity check knows no quantized operators outside a delegate.
                compile_config=EdgeCompileConfig(_check_ir_validity=False),
            )
        delegations = {
            key: measure_delegation(edge.exported_program(key).graph_module) for key in methods
        }
        for delegation in delegations.values():
            check_delegation(delegation, least=MIN_SHARE if least is None else least)
        with quick_lowering():
            emitted = edge.to_executorch()
    except EdgeError:
        raise
    except Exception as error:  # ExecuTorch raises AssertionError, RuntimeError and its own kinds
        raise ExportError(
            f"{name}: ExecuTorch could not lower the graph ({type(error).__name__}: {error})"
        ) from error

    def finish(constants: Mapping[str, object]) -> bytes:
        # θ, which is one of them, is not known before the program has run.
        again = ExecutorchProgramManager(
            emitted._execution_programs, dict(constants), None, emitted._named_data
        )
        return bytes(again.buffer)

    return Emitted(program=bytes(emitted.buffer), delegations=delegations, finish=finish)


@contextmanager
def quiet_delegate() -> Iterator[None]:
    """Keep what a delegate's tools print, draw and log off the terminal.

    Some set the level of the root logger when they are imported, which is undone, too.
    """
    root = logging.getLogger()
    level, disabled = root.level, root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)
        root.setLevel(level)
