"""The layers of an int8 graph keep the float network's means."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from quantize.bias_correction import channel_means, correct_biases
from quantize.graph import quiet_tools
from quantize.schemes import XNNPACK_INT8, build_quantizer

pytest.importorskip("executorch", reason="executorch is not installed")

from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

torch.set_num_threads(1)


class Net(nn.Module):
    """As a MobileNet's block: rounding shifts the mean of a convolution of few values most."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.expand = nn.Conv2d(3, 16, 1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.project = nn.Conv2d(16, 4, 1)
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = nn.functional.relu6(self.depthwise(nn.functional.relu6(self.expand(x))))
        found: Tensor = self.last(self.project(hidden).mean((2, 3)))
        return found


LAYERS = {"expand.bias", "depthwise.bias", "project.bias", "last.bias"}
CLIPS = [torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(i)) for i in range(6)]


def graph(module: nn.Module) -> GraphModule:
    made = torch.export.export(module.eval(), (CLIPS[0],)).module()
    assert isinstance(made, GraphModule)
    return made


def rounded(module: nn.Module, float_names: frozenset[str] = frozenset()) -> GraphModule:
    with quiet_tools():
        prepared = prepare_pt2e(graph(module), build_quantizer(XNNPACK_INT8, float_names))
        for clip in CLIPS:
            prepared(clip)
        made = convert_pt2e(prepared)
    assert isinstance(made, GraphModule)
    return made


def largest_shift(made: GraphModule, wanted: dict[str, Tensor]) -> float:
    found = channel_means(made, CLIPS)
    return max(float((found[name] - wanted[name]).abs().max()) for name in wanted)


def test_means_are_those_of_the_layers() -> None:
    net = Net()
    wanted = channel_means(graph(net), CLIPS)
    assert wanted.keys() == LAYERS
    with torch.no_grad():
        first = torch.cat([net.expand(clip) for clip in CLIPS]).mean((0, 2, 3))
        last = torch.cat([net(clip) for clip in CLIPS]).mean(0)
    torch.testing.assert_close(wanted["expand.bias"], first)
    torch.testing.assert_close(wanted["last.bias"], last)


def test_corrected_layers_keep_the_means() -> None:
    net = Net()
    wanted = channel_means(graph(net), CLIPS)
    made = rounded(net)
    before = largest_shift(made, wanted)
    own = net.expand.bias.detach().clone()
    assert correct_biases(made, wanted, CLIPS) == len(LAYERS)
    assert before > 1e-3
    # The mean of what a layer gives, before that is rounded itself.
    assert largest_shift(made, wanted) < before / 1000
    assert torch.equal(net.expand.bias, own)  # the float model has its own


def test_a_second_time_changes_nothing() -> None:
    net = Net()
    wanted = channel_means(graph(net), CLIPS)
    made = rounded(net)
    correct_biases(made, wanted, CLIPS)
    answer = made(CLIPS[0])
    correct_biases(made, wanted, CLIPS)
    torch.testing.assert_close(made(CLIPS[0]), answer, atol=1e-5, rtol=0)


def test_layers_in_float_keep_their_bias() -> None:
    net = Net()
    made = rounded(net, frozenset({"project"}))
    correct_biases(made, channel_means(graph(net), CLIPS), CLIPS)
    assert torch.equal(made.get_parameter("project.bias"), net.project.bias)
    assert not torch.equal(made.get_parameter("depthwise.bias"), net.depthwise.bias)


def test_parts_get_the_same_biases() -> None:
    net = Net()
    whole = rounded(net)
    with quiet_tools():
        part = copy.deepcopy(whole)
    correct_biases(whole, channel_means(graph(net), CLIPS), CLIPS, [part])
    assert torch.equal(part(CLIPS[1]), whole(CLIPS[1]))
