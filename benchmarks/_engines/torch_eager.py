"""torch, eager: the exported graph run operator by operator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._engines.base import Floats, Run, as_outputs

if TYPE_CHECKING:
    from benchmarks._engines.artifacts import Store
    from benchmarks._engines.networks import Network


def build(network: Network, precision: str, store: Store) -> Path:
    """Save the exported program."""
    import torch

    def save(folder: Path) -> Mapping[str, Any]:
        program = torch.export.export(network.graph, (network.example,))
        torch.export.save(program, folder / "network.pt2")
        return {}

    return store.get(f"torch-{precision}", ("torch",), save) / "network.pt2"


def load(path: Path, precision: str, threads: int) -> Run:
    """Load the exported program."""
    import torch

    torch.set_num_threads(threads)
    module = torch.export.load(path).module()

    def run(clip: Floats) -> list[Floats]:
        with torch.inference_mode():
            return as_outputs([o.numpy() for o in module(torch.from_numpy(clip))])

    return run
