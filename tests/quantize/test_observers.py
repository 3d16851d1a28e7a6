"""A sample of a large tensor gives the range that all of its values give."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("torchao", reason="torchao is not installed")

from torchao.quantization.pt2e.observer import HistogramObserver

from quantize.observers import LEAST, SampledHistogramObserver, stride_of


def ranges(kind: type[HistogramObserver], tensors: list[torch.Tensor]) -> tuple[float, float]:
    observer = kind(dtype=torch.int8, qscheme=torch.per_tensor_affine, eps=2**-12)
    for tensor in tensors:
        assert observer(tensor) is tensor
    scale, zero = observer.calculate_qparams()
    return float(scale), float(zero)


def test_large_tensors_have_nearly_the_range_of_all_values() -> None:
    torch.manual_seed(0)
    tensors = [torch.randn(1, 32, 56, 56) * (1 + i / 4) for i in range(4)]
    sampled, all_of = (ranges(k, tensors) for k in (SampledHistogramObserver, HistogramObserver))
    assert sampled[0] == pytest.approx(all_of[0], rel=0.1)
    assert sampled[0] != all_of[0]


def test_small_tensors_are_observed_whole() -> None:
    torch.manual_seed(0)
    tensors = [torch.randn(1, 8, 16, 16) for _ in range(3)]
    assert tensors[0].numel() < LEAST
    assert ranges(SampledHistogramObserver, tensors) == ranges(HistogramObserver, tensors)


@pytest.mark.parametrize("shape", [(1, 96, 14, 14), (8, 48, 13, 13), (1, 11, 13, 17), (2, 22, 26)])
def test_every_column_is_seen(shape: tuple[int, ...]) -> None:
    stride = stride_of(shape)
    seen = torch.zeros(shape).flatten()
    seen[::stride] = 1
    assert bool((seen.reshape(-1, shape[-1]).sum(dim=0) > 0).all())
