"""BatchNorm statistics from real clips, for a network that was not trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_BATCH = 8


def settle_norms(model: nn.Module, clips: Sequence[Tensor]) -> None:
    """Set every BatchNorm's statistics from clips, averaged over all batches; weights stay.

    In training mode each layer sees inputs normalised by their batch, so one pass settles them all.

    Args:
        model: Left in evaluation mode.
        clips: Clips (1, 3, T, H, W).
    """
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
    model.train()
    with torch.no_grad():
        for start in range(0, len(clips), _BATCH):
            model(torch.cat(list(clips[start : start + _BATCH])))
    model.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
