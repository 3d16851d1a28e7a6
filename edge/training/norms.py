"""BatchNorm over the batch of all processes, where each process holds a part of it.

`torch.nn.SyncBatchNorm` works on GPUs only; this one works wherever `torch.distributed` does, and
gives two processes the statistics, and so the losses, of one with the whole batch.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _SumOverProcesses(torch.autograd.Function):
    """Sum over all processes; the gradient of a sum is the sum of the gradients."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total


def _summed(value: Tensor) -> Tensor:
    return cast(Tensor, _SumOverProcesses.apply(value))  # type: ignore[no-untyped-call]


class SharedBatchNorm2d(nn.BatchNorm2d):
    """A BatchNorm whose batch is that of all processes; alone or in evaluation an ordinary one."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (M, C, H, W)."""
        if not (self.training and dist.is_initialized() and dist.get_world_size() > 1):
            return super().forward(input)
        x = input.float()
        # Sums around the running mean, the same in every process: a variance as the difference of
        # two large numbers would lose what 1e-4 between one process and two asks for.
        shift = cast(Tensor, self.running_mean).clone()[:, None, None]
        centred = x - shift
        first, second = centred.sum((0, 2, 3)), centred.square().sum((0, 2, 3))
        count = x.new_full((1,), x.numel() / x.shape[1])
        total = _summed(torch.cat([first, second, count]))
        channels = x.shape[1]
        count = total[-1].detach()
        mean = total[:channels] / count
        variance = (total[channels:-1] / count - mean.square()).clamp(min=0)
        self._remember(mean + shift.flatten(), variance, count)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        offset = self.bias - mean * scale
        return (centred * scale[:, None, None] + offset[:, None, None]).to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        tracked = cast(Tensor, self.num_batches_tracked)
        tracked.add_(1)
        share = 1.0 / float(tracked) if self.momentum is None else self.momentum
        cast(Tensor, self.running_mean).lerp_(mean, share)
        unbiased = variance * count / (count - 1).clamp(min=1)
        cast(Tensor, self.running_var).lerp_(unbiased, share)


def share_batch_norms(model: nn.Module) -> None:
    """Replace the BatchNorm2d modules of `model` by shared ones, in place; weights stay."""
    for name, child in model.named_children():
        if type(child) is nn.BatchNorm2d:
            setattr(model, name, _shared(child))
        else:
            share_batch_norms(child)


def _shared(norm: nn.BatchNorm2d) -> SharedBatchNorm2d:
    shared = SharedBatchNorm2d(norm.num_features, norm.eps, norm.momentum)
    shared.weight, shared.bias = norm.weight, norm.bias
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        setattr(shared, name, getattr(norm, name))
    return shared.train(norm.training)
