"""BatchNorm over the batch of all processes."""

from __future__ import annotations

import copy

import torch
from torch import nn

from edge.training.norms import SharedBatchNorm2d, share_batch_norms

torch.set_num_threads(1)


def test_shared_norms_are_ordinary_ones_in_one_process() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4))).train()
    shared = copy.deepcopy(model)
    share_batch_norms(shared)
    assert isinstance(shared[1][0], SharedBatchNorm2d)
    assert shared.state_dict().keys() == model.state_dict().keys()
    x = torch.randn(5, 3, 6, 6)
    torch.testing.assert_close(shared(x), model(x))
    torch.testing.assert_close(shared[1][0].running_var, model[1][0].running_var)
