"""From exported graphs to an ExecuTorch program with one delegate, for every delegate."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from export.base import INT8_PACKAGES, ExportedArtifact, versions
from runtime.errors import BackendUnavailableError, EdgeError, ExportError

if TYPE_CHECKING:
    from quantize.graph import Method

PACKAGES = ("torch", *INT8_PACKAGES)


def lower_methods(
    methods: Mapping[str, Method],
    partitioner: Callable[[], Any],
    *,
    name: str,
    least: float | None = None,
    packages: Sequence[str] = (),
) -> ExportedArtifact:
    """Lower graphs to one program.

    Args:
        methods: The program's methods.
        partitioner: Makes a partitioner of the delegate, one for each method.
        name: The target's name, for messages.
        least: Share of the multiply-adds that the delegate must take of each method; None is
            `export.delegation.MIN_SHARE`.
        packages: What the delegate's tools need beside `PACKAGES`.

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

    return ExportedArtifact(
        program=bytes(emitted.buffer),
        delegations=delegations,
        finish=finish,
        made_with=versions(*PACKAGES, *packages),
    )


def native_engine() -> Any:
    """Return the native runtime's engine class.

    Raises:
        BackendUnavailableError: It is not built here.
    """
    try:
        from runtime._native import Engine
    except ImportError as error:
        raise BackendUnavailableError(
            f"export runs every artifact in the native runtime before it calls it exported, and "
            f"that does not import ({error}); build it with `pip install .`"
        ) from error
    return Engine


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
