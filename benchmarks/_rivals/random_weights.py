"""Random weights for the rival that make it behave as a trained network would."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmarks._rivals.yowov2 import YOWOv2Nano

# A cell with a person is rare, and cells differ.
_RARE = -4.0
_SPREAD = 4.0
_BATCH = 8


def build_rival(num_classes: int, clips: Sequence[Tensor], *, seed: int) -> YOWOv2Nano:
    """Return the network in evaluation mode, with random weights made to behave.

    Batch normalisation takes its statistics from clips, as training would leave them, and the
    confidences and classes are spread out: a few cells then stand out, as in a trained network.

    Args:
        num_classes: Actions.
        clips: Clips (1, T, 3, H, W), RGB, 0 to 255; at least one.
        seed: Of the weights; the global random state stays untouched.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = YOWOv2Nano(num_classes).train()
        for module in model.modules():
            if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
                module.momentum = None  # a plain average over the batches
        for start in range(0, len(clips), _BATCH):
            model(torch.cat(list(clips[start : start + _BATCH])))
        for heads, bias in ((model.conf, _RARE), (model.classes, 0.0), (model.box, 0.0)):
            for last in heads:
                assert isinstance(last, nn.Conv2d)
                assert last.bias is not None
                last.bias.fill_(bias)
                if heads is not model.box:
                    last.weight.mul_(_SPREAD)
    return model.eval()
