"""Muon for the matrices of a network, AdamW for the rest of it, as one optimizer.

Muon (Jordan et al., 2024, "Muon: An optimizer for hidden layers in neural networks") steps along
the orthogonalised momentum: every direction that a matrix can turn its input in moves alike, those
with small gradients too. The iteration and its coefficients are the published ones. The step is
scaled to the size of AdamW's (Liu et al., 2025, "Muon is scalable for LLM training", section 2.2),
so that one learning rate and one weight decay serve both. torch's own Muon takes 2D weights only,
and ours are 1x1 convolutions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_RMS_OF_ADAMW = 0.2
MOMENTUM = 0.95
BETAS = (0.9, 0.999)
EPS = 1e-8
_LEAST = 20


class MuonAdamW(torch.optim.Optimizer):
    """Steps each group of weights by Muon or by AdamW, as the group's `muon` says."""

    def __init__(
        self, groups: Iterable[dict[str, Any]], *, lr: float, products: torch.dtype | None = None
    ) -> None:
        """Take groups of weights.

        Args:
            groups: Each with `params`, `weight_decay` and `muon`; weights of a Muon group have two
                dimensions or more, of which the first is the output's.
            lr: Learning rate of all groups.
            products: Arithmetic of the orthogonal steps; None is the weights' own. They bear bf16:
                a tenth more or less of a singular value is no harm.
        """
        self._products = products
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0, "muon": False})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state; a count of steps comes to its weight's device, where torch leaves it."""
        super().load_state_dict(state_dict)
        for weight, state in self.state.items():
            for name, value in state.items():
                state[name] = value.to(weight.device)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move the weights; `closure` is for optimizers that evaluate the loss, and is not used."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                (self._muon if group["muon"] else self._adamw)(weights, group)

    def _muon(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        alike: defaultdict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for weight in weights:
            assert weight.grad is not None
            state = self.state[weight]
            if not state:
                state["momentum"] = torch.zeros_like(weight)
            state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
            ahead = weight.grad.lerp(state["momentum"], MOMENTUM).flatten(1)
            alike[tuple(ahead.shape)].append((weight, ahead))
        for (rows, columns), pairs in alike.items():  # one product for all matrices of a shape
            stack = torch.stack([ahead for _, ahead in pairs])
            steps = orthogonalized(stack.to(self._products or stack.dtype)).to(stack.dtype)
            size = group["lr"] * _RMS_OF_ADAMW * max(rows, columns) ** 0.5
            for (weight, _), step in zip(pairs, steps, strict=True):
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(step.reshape(weight.shape), alpha=-size)

    def _adamw(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        for weight in weights:
            state = self.state[weight]
            if not state:
                state["mean"], state["square"] = torch.zeros_like(weight), torch.zeros_like(weight)
                state["step"] = torch.zeros((), dtype=torch.float32, device=weight.device)
            state["step"] += 1
        torch._fused_adamw_(  # one kernel over all weights, as torch.optim.AdamW(fused=True)
            weights,
            [weight.grad for weight in weights if weight.grad is not None],
            [self.state[weight]["mean"] for weight in weights],
            [self.state[weight]["square"] for weight in weights],
            [],
            [self.state[weight]["step"] for weight in weights],
            lr=group["lr"], beta1=BETAS[0], beta2=BETAS[1], eps=EPS,
            weight_decay=group["weight_decay"], amsgrad=False, maximize=False,
        )  # fmt: skip


def orthogonalized(matrices: Tensor) -> Tensor:
    """Return matrices (K, R, C) whose singular values are about 1, and whose vectors are the same.

    By Newton-Schulz iteration: singular values from 0.01 of the largest on end between 0.7 and 1.2.
    """
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    found: Tensor = matrices.mT if tall else matrices
    found = found / (found.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_ITERATIONS):
        square = found @ found.mT
        found = a * found + (b * square + c * square @ square) @ found
    return found.transpose(-2, -1) if tall else found


def is_hidden_matrix(module: nn.Module) -> bool:
    """Tell whether Muon is for this layer's weight: it mixes channels, and many of them.

    Not for depth-wise filters, which mix none, nor for layers with few outputs, such as the last of
    a head: there a step of one size in every direction is a large one.
    """
    weight = getattr(module, "weight", None)
    return (
        isinstance(module, nn.Linear | nn.modules.conv._ConvNd)
        and isinstance(weight, Tensor)
        and weight.shape[0] > _LEAST
        and weight[0].numel() > 1
        and getattr(module, "groups", 1) == 1
    )
