"""ExecuTorch's lowering without its repeated work.

ExecuTorch lowers a graph by some forty passes. Each traces the graph anew when it has done its
work, also where it changed nothing, and each trace copies the history of every node. A network of
1,200 nodes was traced fifty times for each method of a program. What is left out here has no effect
on the program, which stays equal byte by byte (a test holds it).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, cast

from torch.export import ExportedProgram
from torch.fx import GraphModule
from torch.fx.passes.infra.pass_base import PassResult
from torch.fx.traceback import NodeSource

_TRACED = "bmvit_traced"


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Put another value in the place of an attribute, as long as the body runs."""
    own = name in vars(owner)
    before = getattr(owner, name, None)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Search for unreachable circles of objects at the end only.

    The graphs of a target are some million objects that stay; to search them again and again takes
    a tenth of an export. What a target leaves behind, about 0.2 GB for `nano`, is freed at its end.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
        gc.collect()


@contextmanager
def quick_lowering() -> Iterator[None]:
    """Leave out decompositions of nothing, traces of unchanged graphs and copies of histories."""
    from executorch.exir.pass_base import ExportPass, _ExportPassBase

    decompose, trace = ExportedProgram.run_decompositions, _ExportPassBase.call
    hooks = [name for name, value in vars(_ExportPassBase).items()
             if callable(value) and not name.startswith("__") and name != "call"]  # fmt: skip

    def run_decompositions(
        program: ExportedProgram, decomp_table: Mapping[Any, Any] | None = None, *rest: Any
    ) -> ExportedProgram:
        if decomp_table is None or _has_work(program.graph_module, decomp_table):
            return cast(ExportedProgram, decompose(program, decomp_table, *rest))
        return program

    def call(export_pass: Any, graph_module: GraphModule) -> Any:
        kind = type(export_pass)
        only_traces = all(getattr(kind, name) is getattr(ExportPass, name) for name in hooks)
        if only_traces and graph_module.meta.get(_TRACED) == _signature(graph_module):
            return PassResult(graph_module, True)
        result = trace(export_pass, graph_module)
        result.graph_module.meta[_TRACED] = _signature(result.graph_module)
        return result

    with ExitStack() as stack:
        # A history is never changed, so that nodes can share it.
        stack.enter_context(replaced(NodeSource, "__deepcopy__", lambda source, memo: source))
        stack.enter_context(replaced(ExportedProgram, "run_decompositions", run_decompositions))
        stack.enter_context(replaced(_ExportPassBase, "call", call))
        yield


def _has_work(graph_module: GraphModule, table: Mapping[Any, Any]) -> bool:
    """Tell whether a graph holds an operation of a table, or one that writes into its inputs."""
    targets = {node.target for node in graph_module.graph.nodes if node.op == "call_function"}
    mutable = any(getattr(getattr(t, "_schema", None), "is_mutable", False) for t in targets)
    return mutable or not targets.isdisjoint(table)


def _signature(graph_module: GraphModule) -> int:
    """Return a number that differs where two graphs have other operations, inputs or names."""
    return hash(tuple((n.op, n.name, str(n.target), str(n.args), str(n.kwargs))
                      for n in graph_module.graph.nodes))  # fmt: skip
