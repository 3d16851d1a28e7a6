"""Count parameters and multiply-adds, as a whole and by module.

Counted are matrix products and convolutions, those of attention included; norms, activations and
additions are not, as in the published figures. One multiply-add is two FLOPs: MViTv2-S at
16x224x224 is published with 64.2 G, which are multiply-adds, 128.4 GFLOP here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

GIGA = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Complexity:
    """Size and work of a model on one clip.

    Attributes:
        params: Learnt parameters.
        macs: Multiply-adds.
        macs_by_module: Multiply-adds of each module, by its name in the model; the whole is "".
    """

    params: int
    macs: int
    macs_by_module: Mapping[str, int]

    @property
    def gflops(self) -> float:
        """Work in GFLOP, a multiply-add as two."""
        return 2 * self.macs / GIGA

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.params / 1e6:.2f} M parameters, {self.gflops:.2f} GFLOP (2 x multiply-adds)"


def count(model: nn.Module, input_shape: tuple[int, ...]) -> Complexity:
    """Count a model's parameters, and its multiply-adds on one input.

    Nothing is computed: the model runs on shapes alone, so that a large one takes no longer.

    Args:
        model: Any module that takes one tensor; it is left as it was.
        input_shape: Shape of the input, for a `BMViT` its `config.clip_shape`.
    """
    was_training = model.training
    counter = FlopCounterMode(display=False)
    state = {name: _shape_only(tensor) for name, tensor in _tensors(model).items()}
    try:
        model.eval()
        with torch.no_grad(), counter:
            torch.func.functional_call(model, state, (torch.empty(input_shape, device="meta"),))
    finally:
        model.train(was_training)
    root = type(model).__name__
    by_module: dict[str, int] = {}
    for path, operators in counter.get_flop_counts().items():
        if path == "Global":
            continue
        name = path.removeprefix(root).removeprefix(".")
        by_module[name] = sum(operators.values()) // 2
    return Complexity(
        params=sum(p.numel() for p in model.parameters()),
        macs=counter.get_total_flops() // 2,
        macs_by_module=MappingProxyType(_with_parents(by_module)),
    )


def _with_parents(by_module: dict[str, int]) -> dict[str, int]:
    """Add modules whose `forward` is never called, only their children's, as the children's sum."""
    parents = {name.rpartition(".")[0] for name in by_module if name}
    added: dict[str, int] = {}
    for parent in sorted(parents - set(by_module), key=lambda name: -name.count(".")):
        known = {**by_module, **added}
        added[parent] = sum(
            macs for name, macs in known.items() if name and name.rpartition(".")[0] == parent
        )
    return {**by_module, **added}


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _shape_only(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(tensor, device="meta")
