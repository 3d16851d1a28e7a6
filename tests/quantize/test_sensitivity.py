"""Each group is quantized alone, and how close the outputs stay is measured, not assumed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from quantize.schemes import XNNPACK_INT8
from quantize.sensitivity import cosine_similarity, group_closeness, rank_layers
from runtime.errors import ConfigError

torch.set_num_threads(1)


class Net(nn.Module):
    """Two convolutions in two groups, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.second = nn.Conv2d(8, 4, 1)

    def forward(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        y = self.first(clip)
        return self.second(y), y.flatten(1)


@pytest.fixture(scope="module")
def graph() -> GraphModule:
    torch.manual_seed(0)
    exported = torch.export.export(Net().eval(), (torch.randn(1, 3, 8, 8),)).module()
    assert isinstance(exported, GraphModule)
    return exported


def clips(count: int, seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal(size=(1, 3, 8, 8)).astype(np.float32) for _ in range(count)]


def test_a_group_alone_disturbs_less_than_all_and_only_what_it_feeds(graph: GraphModule) -> None:
    nodes = len(graph.graph.nodes)
    first, second, both = group_closeness(
        graph,
        groups={"first": ("first*",), "second": ("second*",)},
        scheme=XNNPACK_INT8,
        calibration=clips(4, 0),
        clips=clips(4, 1),
    )
    assert [first.group, second.group, both.group] == ["first", "second", "all"]
    assert second.cosine[1] > 1 - 1e-4, "the second layer's input is rounded, nothing before it"
    assert 0.99 < both.cosine[0] <= min(first.cosine[0], second.cosine[0]) + 1e-4
    assert both.cosine[0] < 1 - 1e-7, "int8 is not float"
    assert first.operations < both.operations
    assert len(graph.graph.nodes) == nodes, "the graph is left as it was"


def test_a_group_that_meets_nothing_is_named(graph: GraphModule) -> None:
    with pytest.raises(ConfigError, match=r"'third' .* meets no operation"):
        group_closeness(
            graph,
            groups={"third": ("third*",), "rest": ("first*", "second*")},
            scheme=XNNPACK_INT8,
            calibration=clips(1, 0),
            clips=clips(1, 1),
        )


def test_layers_are_ranked_by_what_each_alone_costs() -> None:
    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():  # a large weight, of a channel that is silent, leaves the others no level
        net.first[0].bias[0] = -100.0
        net.second.weight[:, 0] = 200.0
    exported = torch.export.export(net.eval(), (torch.randn(1, 3, 8, 8),)).module()
    assert isinstance(exported, GraphModule)
    nodes = len(exported.graph.nodes)
    ranked = rank_layers(exported, scheme=XNNPACK_INT8, clips=clips(4, 0))
    assert [cost.layer for cost in ranked] == ["second", "first.0"]
    assert ranked[0].cost > 2 * ranked[1].cost > 0
    assert len(exported.graph.nodes) == nodes, "the graph is left as it was"
    rest = rank_layers(
        exported, scheme=XNNPACK_INT8, clips=clips(4, 0), float_names=frozenset({"second"})
    )
    assert [cost.layer for cost in rest] == ["first.0"]


@pytest.mark.parametrize(
    ("found", "truth", "cosine"),
    [
        pytest.param([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 1.0, id="equal"),
        pytest.param([3.0, 2.0, 1.0], [1.0, 2.0, 3.0], -1.0, id="reversed"),
        pytest.param([101.0, 102.0], [1.0, 2.0], 0.00498, id="an offset is a difference"),
        pytest.param([5.0, 5.0], [5.0, 5.0], 1.0, id="constant and met"),
        pytest.param([5.0, 6.0], [5.0, 5.0], 0.0, id="constant and missed"),
    ],
)
def test_cosine(found: list[float], truth: list[float], cosine: float) -> None:
    value = cosine_similarity(np.array(found), np.array(truth))
    assert value == pytest.approx(cosine, abs=1e-4)
