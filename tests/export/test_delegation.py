"""What a delegate took is counted by multiply-adds, and too little is an error."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

from export.base import Delegation
from export.delegation import check_delegation, measure_delegation, multiply_adds
from runtime.errors import PartitionError


def lower(module: nn.Module, *example: Tensor) -> torch.fx.GraphModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        program = torch.export.export(module.eval(), example)
        edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        return edge.exported_program().graph_module


def test_multiply_adds_are_those_of_the_formulas() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 8, 3, padding=1, groups=2)
            self.linear = nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            y = self.linear(self.conv(x).flatten(2).transpose(1, 2))
            return torch.bmm(y, y.transpose(1, 2))

    graph = torch.export.export(Net(), (torch.zeros(2, 4, 6, 6),)).graph
    counted = sum(multiply_adds(node) for node in graph.nodes if node.op == "call_function")
    assert counted == 2 * 8 * 36 * 2 * 9 + 2 * 36 * 8 * 5 + 2 * 36 * 36 * 5


def test_a_3d_convolution_outside_is_counted_and_refused() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = nn.Conv2d(3, 4, 3, padding=1)
            self.outside = nn.Conv3d(4, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.outside(self.inside(x)[:, :, None])

    delegation = measure_delegation(lower(Net(), torch.zeros(1, 3, 8, 8)))
    assert delegation.calls == 1
    assert delegation.multiply_adds == 64 * 4 * 27 + 64 * 4 * 4 * 27
    assert delegation.share == pytest.approx(27 * 3 / (27 * 3 + 27 * 4 * 3), abs=0.06)
    with pytest.raises(PartitionError, match="convolution"):
        check_delegation(delegation)


@pytest.mark.parametrize(
    ("share", "refused"), [(1.0, False), (0.95, False), (0.9499, True), (0.0, True)]
)
def test_the_limit_is_95_percent(share: float, refused: bool) -> None:
    delegation = Delegation(share=share, calls=1, multiply_adds=100, fallbacks=("aten.foo x 3",))
    if refused:
        with pytest.raises(PartitionError, match=r"aten\.foo x 3"):
            check_delegation(delegation)
    else:
        check_delegation(delegation)
