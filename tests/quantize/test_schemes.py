"""int8 goes where the scheme says, and nowhere else."""

from __future__ import annotations

import copy
import dataclasses
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

pytest.importorskip("executorch", reason="executorch is not installed")

from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from quantize.ptq import quantize_static
from quantize.relu6 import relu6_to_relu
from quantize.schemes import TENSORRT_INT8, XNNPACK_INT8, Scheme, build_quantizer
from runtime.errors import CalibrationError, ConfigError

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3, padding=1)
        self.heads = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.heads(torch.relu(self.body(x)))


def exported() -> nn.Module:
    torch.manual_seed(0)
    return torch.export.export(Net().eval(), (torch.zeros(1, 3, 8, 8),)).module()


def quantize(clips: list[Tensor], **options: object) -> torch.fx.GraphModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return quantize_static(exported(), clips, scheme=XNNPACK_INT8, **options)


def weights_of(graph: torch.fx.GraphModule) -> list[bool]:
    """Tell for each convolution, in order, whether its weight is dequantized per channel."""
    convolutions = [n for n in graph.graph.nodes if "conv2d" in str(n.target)]
    return ["dequantize_per_channel" in str(n.args[1].target) for n in convolutions]


def test_named_layers_stay_float() -> None:
    clips = [torch.randn(1, 3, 8, 8) for _ in range(3)]
    assert weights_of(quantize(clips)) == [True, True, True]
    assert weights_of(quantize(clips, float_names=frozenset({"heads.2"}))) == [True, True, False]


def test_weights_are_symmetric_per_channel_and_activations_affine() -> None:
    graph = quantize([torch.rand(1, 3, 8, 8) + 1 for _ in range(3)])
    per_tensor = [n for n in graph.graph.nodes if "quantize_per_tensor" in str(n.target)]
    assert any(n.args[2] != 0 for n in per_tensor)
    per_channel = [n for n in graph.graph.nodes if "dequantize_per_channel" in str(n.target)]
    points = [getattr(graph, n.args[2].target) for n in per_channel]
    assert points
    assert all(int(p.abs().max()) == 0 for p in points)


def test_numbers_stay_near() -> None:
    clips = [torch.randn(1, 3, 8, 8) for _ in range(8)]
    with torch.no_grad():
        error = (quantize(clips)(clips[0]) - exported()(clips[0])).abs()
    assert 0 < float(error.mean()) < 0.02


@pytest.mark.parametrize(
    ("clips", "words"),
    [
        pytest.param([], "needs calibration clips", id="none"),
        pytest.param([torch.full((1, 3, 8, 8), torch.nan)], "not finite", id="nan"),
    ],
)
def test_clips_that_teach_nothing_are_refused(clips: list[Tensor], words: str) -> None:
    with pytest.raises(CalibrationError, match=words):
        quantize(clips)


class Joined(nn.Module):
    """What lies between 0 and 1 beside what does not, as where tokens suppress each other."""

    def forward(self, scores: Tensor) -> Tensor:
        rows = torch.cat([torch.sigmoid(scores), scores * 60.0])
        return rows[:1] * rows[1:]


class Yielding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3, padding=1)
        self.suppression = Joined()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores = torch.relu(self.body(x))
        return scores, self.suppression(scores)


@pytest.mark.parametrize("scheme", [XNNPACK_INT8, TENSORRT_INT8], ids=lambda s: s.name)
def test_what_is_joined_in_a_float_module_is_not_rounded(scheme: Scheme) -> None:
    """XNNPACK's quantizer asks no filter about `cat`, and gives all that is joined one scale."""
    torch.manual_seed(0)
    clips = [torch.randn(1, 3, 8, 8) for _ in range(4)]
    net = torch.export.export(Yielding().eval(), (clips[0],)).module()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        graph = quantize_static(net, clips, scheme=scheme)
        assert weights_of(graph) == [True]
        for clip in clips:
            scores, joined = graph(clip)
            torch.testing.assert_close(joined, torch.sigmoid(scores) * (scores * 60.0))


class Stem(nn.Module):
    """What a pretrained stem is made of: convolutions with ReLU6."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.last = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.relu6(self.second(functional.relu6(self.first(x))))
        return self.last(hidden)


@pytest.mark.parametrize("scheme", [XNNPACK_INT8, TENSORRT_INT8], ids=lambda s: s.name)
@pytest.mark.parametrize("scale", [10.0, 0.5], ids=["above 6", "below 6"])
def test_a_convolution_is_rounded_behind_its_relu6(scheme: Scheme, scale: float) -> None:
    torch.manual_seed(0)
    clips = [scale * torch.randn(1, 3, 8, 8) for _ in range(4)]
    net = torch.export.export(Stem().eval(), (clips[0],)).module()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        prepared = prepare_pt2e(copy.deepcopy(net), build_quantizer(scheme))
        for clip in clips:
            prepared(clip)
        graph = convert_pt2e(copy.deepcopy(prepared))
        plain = [graph(clip) for clip in clips]
        assert relu6_to_relu(graph) == 2
        assert all(torch.equal(graph(clip), one) for clip, one in zip(clips, plain, strict=True))
    kinds = [str(node.target).split(".")[1] for node in graph.graph.nodes if is_call(node)]
    # Nothing is rounded between a convolution and its ReLU, which every engine takes as one.
    assert [kinds[i + 1] for i, kind in enumerate(kinds) if kind == "conv2d"] == [
        "relu", "relu", "quantize_per_tensor",
    ]  # fmt: skip
    tops = [
        (127 - node.args[2]) * node.args[1]
        for node in graph.graph.nodes
        if "quantize_per_tensor" in str(node.target) and "relu" in str(node.args[0].target)
    ]
    assert len(tops) == 2
    assert all(0 < top <= 6.0 + 1e-5 for top in tops)


def is_call(node: torch.fx.Node) -> bool:
    return node.op == "call_function"


def test_a_relu6_stays_where_int8_would_go_higher() -> None:
    clips = [10 * torch.randn(1, 3, 8, 8) for _ in range(2)]
    net = torch.export.export(Stem().eval(), (clips[0],)).module()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        graph = convert_pt2e(prepare_pt2e(net, build_quantizer(XNNPACK_INT8)))
        graph(clips[0])
    for node in graph.graph.nodes:
        if "quantize_per_tensor" in str(node.target):
            node.args = (node.args[0], 0.1, -128, *node.args[3:])  # to 25.5
    assert relu6_to_relu(graph) == 0


def test_a_relu6_that_somebody_else_reads_stays() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return functional.relu6(self.heads(x))

    clip = 10 * torch.randn(1, 3, 8, 8)
    net = torch.export.export(Both().eval(), (clip,)).module()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        graph = quantize_static(net, [clip], scheme=XNNPACK_INT8, float_names={"heads"})
    assert "aten.relu6.default" in [str(node.target) for node in graph.graph.nodes]


@pytest.mark.parametrize(
    ("scheme", "rounded"), [(XNNPACK_INT8, True), (TENSORRT_INT8, False)], ids=lambda v: str(v)
)
def test_tensorrt_keeps_transposed_convolutions_in_float32(scheme: Scheme, rounded: bool) -> None:
    class Growing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 4, 1)
            self.grow = nn.ConvTranspose2d(4, 6, 2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.grow(torch.relu(self.body(x)))

    clip = torch.randn(1, 3, 8, 8)
    net = torch.export.export(Growing().eval(), (clip,)).module()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        graph = quantize_static(net, [clip], scheme=scheme)
    (grow,) = (n for n in graph.graph.nodes if "conv_transpose2d" in str(n.target))
    weight = grow.args[1]
    assert ("dequantize_per_channel" in str(weight.target)) is rounded
    if rounded:
        assert weight.args[3] == 1, "a scale for each output channel, the second dimension"


def test_xnnpack_has_no_symmetric_activations() -> None:
    with pytest.raises(ConfigError, match="affine"):
        Scheme(
            name="x",
            engine="xnnpack",
            per_channel_weights=True,
            activations="symmetric",
            float_modules=(),
        )


@pytest.mark.parametrize(
    ("module", "kept"),
    [
        ("model.heads", True),
        ("model.heads.box.layers.0", False),
        ("model.backbone.blocks.0.norm1", True),
        ("model.backbone.embed.conv", False),
    ],
)
def test_the_sum_with_the_reference_box_and_norms_stay_float(module: str, kept: bool) -> None:
    assert XNNPACK_INT8.keeps_float(module) is kept


def test_tensorrt_has_no_zero_points_and_is_not_trained() -> None:
    clips = [torch.rand(1, 3, 8, 8) + 1 for _ in range(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = quantize_static(exported(), clips, scheme=TENSORRT_INT8)
    per_tensor = [n for n in graph.graph.nodes if "quantize_per_tensor" in str(n.target)]
    assert per_tensor
    assert {n.args[2] for n in per_tensor} == {0}
    assert weights_of(graph) == [True, True, True]
    with pytest.raises(ConfigError, match="has symmetric"):
        build_quantizer(TENSORRT_INT8, training=True)
    with pytest.raises(ConfigError, match="tensorrt's are symmetric"):
        dataclasses.replace(TENSORRT_INT8, activations="affine")
