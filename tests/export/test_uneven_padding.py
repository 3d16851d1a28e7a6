"""Kernels without the zeros of an even padding: the same numbers, a smaller program."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edge.model.stems import SameConv
from export.uneven_padding import uneven_padding
from runtime import _native


class Stack(nn.Module):
    """Two convolutions as a stem has them, and one whose kernel has no zeros."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = SameConv(3, 8, 3, 2)
        self.depthwise = SameConv(8, 8, 3, 2, groups=8)
        self.plain = nn.Conv2d(8, 4, 4, 2, 1)

    def forward(self, clip: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = torch.relu(self.plain(torch.relu(self.depthwise(torch.relu(self.first(clip[0]))))))
        return x[:1], x[1:2], x[2:3]


def lowered(model: nn.Module, clip: torch.Tensor, path: Path, *, uneven: bool) -> bytes:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    exported = torch.export.export(model, (clip,))
    with uneven_padding() if uneven else nullcontext():
        program = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    content = bytes(program.to_executorch().buffer)
    path.write_bytes(content)
    return content


@pytest.mark.filterwarnings("ignore")
def test_the_numbers_are_the_same_and_the_kernels_smaller(tmp_path):
    model = Stack().eval()
    clip = torch.randn(1, 3, 3, 32, 48)
    with torch.no_grad():
        expected = model(clip)
        model.first.fold_()
        model.depthwise.fold_()
    even = lowered(model, clip, tmp_path / "even.pte", uneven=False)
    uneven = lowered(model, clip, tmp_path / "uneven.pte", uneven=True)
    # 16 - 9 numbers of each of 3 * 8 and 8 kernels, in float32; the file is padded.
    assert len(even) - len(uneven) >= 7 * (3 * 8 + 8) * 4 // 2
    found = [
        _native.Engine(str(tmp_path / f"{name}.pte"), 1, 0)(clip.numpy())
        for name in ("even", "uneven")
    ]
    for one, other, wanted in zip(*found, expected, strict=True):
        np.testing.assert_allclose(other, wanted.numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)
