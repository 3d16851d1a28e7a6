"""Statistics that are settled on clips are those of the clips, whatever was there before."""

from __future__ import annotations

import torch
from torch import nn

from edge.model.norms import settle_norms


def test_statistics_become_the_clips_and_nothing_else_changes() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(2), nn.Unflatten(2, (4, -1)), nn.BatchNorm2d(3))
    norm = model[2]
    assert isinstance(norm, nn.BatchNorm2d)
    norm.running_mean.fill_(99.0)
    clips = [torch.randn(1, 3, 2, 4, 6) * 2 + 5 for _ in range(16)]
    settle_norms(model, clips)
    batches = [torch.cat(clips[:8]), torch.cat(clips[8:])]
    mean = torch.stack([b.mean(dim=(0, 2, 3, 4)) for b in batches]).mean(0)
    assert torch.allclose(norm.running_mean, mean, atol=1e-5)
    assert 3 < float(norm.running_var.mean()) < 5
    assert norm.momentum == 0.1
    assert torch.equal(norm.weight, torch.ones(3))
    assert not model.training
