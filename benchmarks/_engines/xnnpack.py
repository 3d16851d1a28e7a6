"""Ours: ExecuTorch with XNNPACK, through the native runtime that ships."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._engines.base import Floats, Run

if TYPE_CHECKING:
    from benchmarks._engines.artifacts import Store
    from benchmarks._engines.networks import Network
    from export.base import Precision

_PACKAGES = ("torch", "torchao", "executorch")


def build(network: Network, precision: str, store: Store) -> Path:
    """Lower by the target that `edge export` uses; a naive network without any of its rewrites."""

    def lower(folder: Path) -> Mapping[str, Any]:
        chosen: Precision = "int8" if precision == "int8" else "fp32"
        program, facts = (_naive if network.naive else _shipped)(network, chosen)
        (folder / "network.pte").write_bytes(program)
        return facts

    return store.get(f"xnnpack-{precision}", _PACKAGES, lower) / "network.pte"


def load(path: Path, precision: str, threads: int) -> Run:
    """Load a program into the native engine."""
    from runtime._native import Engine

    engine = Engine(str(path), threads)

    def run(clip: Floats) -> tuple[Floats, ...]:
        return engine(clip)

    return run


def _shipped(network: Network, precision: Precision) -> tuple[bytes, dict[str, Any]]:
    from edge.model.bmvit import BMViT
    from export.registry import get_target

    assert isinstance(network.model, BMViT)
    target = get_target(f"xnnpack-{precision}")
    lowered = target.lower(network.model, list(network.clips.calibration))
    assert lowered.delegation is not None
    return lowered.program, {"delegation": asdict(lowered.delegation)}


def _naive(network: Network, precision: Precision) -> tuple[bytes, dict[str, Any]]:
    """Lower a module as the tutorials do: export, quantize, hand to the partitioner."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

    from export.delegation import measure_delegation
    from quantize.ptq import quantize_static
    from quantize.schemes import Scheme

    graph: torch.nn.Module = network.graph
    if precision == "int8":
        graph = quantize_static(
            graph,
            (torch.from_numpy(clip) for clip in network.clips.calibration),
            scheme=Scheme(
                name="naive",
                engine="xnnpack",
                per_channel_weights=True,
                activations="affine",
                float_modules=(),
            ),
        )
    edge = to_edge_transform_and_lower(
        torch.export.export(graph, (network.example,)),
        partitioner=[XnnpackPartitioner()],
        compile_config=EdgeCompileConfig(_check_ir_validity=False),
    )
    delegation = measure_delegation(edge.exported_program().graph_module)
    return bytes(edge.to_executorch().buffer), {"delegation": asdict(delegation)}
