"""Rewrites compute the same numbers as the layers they replace."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from quantize.rewrite import (
    Conv3dAs2d,
    LayerNormByMatmul,
    MaxPool3dAs2d,
    cancel_permutes,
    rewrite_for_export,
)
from runtime.errors import UnsupportedOpError

torch.set_num_threads(1)


@st.composite
def conv3d_cases(draw: st.DrawFn) -> dict[str, object]:
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(3))
    groups = draw(st.sampled_from([1, 2, 4]))
    return {
        "in_channels": groups * draw(st.integers(1, 3)),
        "out_channels": groups * draw(st.integers(1, 2)),
        "kernel_size": kernel,
        "stride": tuple(draw(st.integers(1, 3)) for _ in range(3)),
        "padding": tuple(draw(st.integers(0, k // 2)) for k in kernel),
        "dilation": (draw(st.integers(1, 2)), 1, draw(st.integers(1, 2))),
        "groups": groups,
        "bias": draw(st.booleans()),
    }


@given(case=conv3d_cases(), batch=st.integers(1, 2), frames=st.integers(5, 8))
@settings(max_examples=80, deadline=None)
def test_conv3d_equals_its_taps(case: dict, batch: int, frames: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv3d(**case)
    x = torch.randn(batch, conv.in_channels, frames, 7, 6)
    with torch.no_grad():
        expected, got = conv(x), Conv3dAs2d(conv)(x)
    assert got.shape == expected.shape
    assert torch.allclose(got, expected, atol=1e-5)


@given(
    kernel=st.tuples(*[st.integers(1, 3)] * 3),
    stride=st.tuples(*[st.integers(1, 3)] * 3),
    pad=st.booleans(),
    batch=st.integers(1, 2),
)
@settings(max_examples=60, deadline=None)
def test_max_pool3d_equals_its_frames(kernel, stride, pad, batch) -> None:
    pool = nn.MaxPool3d(kernel, stride, tuple(k // 2 for k in kernel) if pad else 0)
    x = torch.randn(batch, 3, 6, 7, 8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(MaxPool3dAs2d(pool)(x), pool(x))


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param(((3, 7, 7), (2, 4, 4), (1, 3, 3)), id="patch-embedding"),
        pytest.param(((3, 3, 3), (1, 2, 2), (1, 1, 1)), id="pooling"),
        pytest.param(((1, 3, 3), (1, 8, 8), (0, 1, 1)), id="spatial"),
    ],
)
def test_the_published_networks_layers_become_2d(sizes: tuple) -> None:
    conv = nn.Conv3d(3, 8, *sizes)
    x = torch.randn(1, 3, 8, 32, 32)
    model = rewrite_for_export(nn.Sequential(conv))
    assert not any(isinstance(m, nn.Conv3d) for m in model.modules())
    assert torch.allclose(model(x), conv(x), atol=1e-5)


@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
def test_layer_norm_equals_its_matmuls(affine: bool) -> None:
    norm = nn.LayerNorm(48, elementwise_affine=affine)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    x = 3 + 5 * torch.randn(2, 7, 48)
    assert torch.allclose(LayerNormByMatmul(norm)(x), norm(x), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(
            lambda: Conv3dAs2d(nn.Conv3d(2, 2, 3, padding=1, padding_mode="circular")),
            "circular",
            id="circular-padding",
        ),
        pytest.param(
            lambda: Conv3dAs2d(nn.Conv3d(2, 2, 2, padding="same")), "even", id="even-same"
        ),
        pytest.param(
            lambda: MaxPool3dAs2d(nn.MaxPool3d(2, ceil_mode=True)), "ceil_mode", id="ceil-mode"
        ),
        pytest.param(lambda: LayerNormByMatmul(nn.LayerNorm((3, 4))), r"\(3, 4\)", id="two-dims"),
    ],
)
def test_what_cannot_be_exact_is_refused(make, words: str) -> None:
    with pytest.raises(UnsupportedOpError, match=words):
        make()


def test_permutes_that_undo_each_other_go() -> None:
    class Twice(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.transpose(1, 2).permute(0, 2, 1, 3).reshape(6, 4) + 1

    x = torch.randn(1, 2, 3, 4)
    exported = torch.export.export(Twice(), (x,)).module()
    assert cancel_permutes(exported) == 2
    assert torch.equal(exported(x), x.reshape(6, 4) + 1)


def test_the_given_model_is_left_alone() -> None:
    model = nn.Sequential(nn.Conv3d(3, 4, 3), nn.LayerNorm(4))
    rewrite_for_export(model)
    assert isinstance(model[0], nn.Conv3d)
    assert all(p.requires_grad for p in model.parameters())
