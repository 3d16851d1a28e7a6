"""The average of the weights follows with its decay."""

from __future__ import annotations

import torch
from torch import nn

from edge.training.ema import AveragedModel

torch.set_num_threads(1)


def test_the_average_follows_with_its_decay() -> None:
    model = nn.BatchNorm2d(2)
    average = AveragedModel(model, 0.9)
    with torch.no_grad():
        model.weight.fill_(2.0)
        model.running_mean.fill_(5.0)
    model.num_batches_tracked.fill_(7)
    average.update(model, step=1000)
    torch.testing.assert_close(average.model.weight, torch.full((2,), 1.1))
    torch.testing.assert_close(average.model.running_mean, torch.full((2,), 0.5))
    assert int(average.model.num_batches_tracked) == 7
    assert not average.model.training
    average.update(model, step=0)  # an early step weighs nine tenths
    torch.testing.assert_close(average.model.weight, torch.full((2,), 1.91))
