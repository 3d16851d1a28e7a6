"""Stacked batches compute the same numbers, with no convolution of more than one image left."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from edge.model.checkpoint import load_checkpoint
from export.batch_to_height import stack_batches
from quantize.graph import export_graph, graph_outputs, quiet_tools
from tests.export.conftest import clips_of, stem_model

torch.set_num_threads(1)


def exported(module: nn.Module, *example: Tensor) -> GraphModule:
    with quiet_tools():
        return torch.export.export(module.eval(), example).module()


def whole_graph(checkpoint: Path, clip: np.ndarray) -> GraphModule:
    with quiet_tools():
        return export_graph(load_checkpoint(checkpoint).model.eval(), torch.from_numpy(clip))


def stack(graph: GraphModule) -> GraphModule:
    with quiet_tools():
        return stack_batches(graph)


def run(graph: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    with quiet_tools(), torch.no_grad():
        return graph(x)


def largest_batch(graph: GraphModule) -> int:
    convs = [n for n in graph.graph.nodes if n.target is torch.ops.aten.conv2d.default]
    return max(int(node.args[0].meta["val"].shape[0]) for node in convs)


class ManyConvs(nn.Module):
    """Random convolutions of one input, each behind another so that padded images are met, too."""

    def __init__(self, seed: int, *, count: int = 16) -> None:
        super().__init__()
        draw = random.Random(seed)
        self.convs = nn.ModuleList()
        for _ in range(count):
            groups = draw.choice([1, 2, 4])
            self.convs.append(
                nn.Conv2d(
                    4,
                    4 * draw.randint(1, 2),
                    (draw.randint(1, 5), draw.randint(1, 5)),
                    stride=(draw.randint(1, 4), draw.randint(1, 3)),
                    padding=(draw.randint(0, 3), draw.randint(0, 2)),
                    dilation=(draw.randint(1, 2), 1),
                    groups=groups,
                    bias=draw.random() < 0.5,
                )
            )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = torch.relu(x + 0.5 * x)
        return tuple(torch.relu(conv(x)) for conv in self.convs)


@pytest.mark.parametrize("seed", range(4))
def test_any_convolution_gives_the_same_rows(seed: int) -> None:
    torch.manual_seed(seed)
    x = torch.randn(2 + seed, 4, 9 + seed, 11)
    module = ManyConvs(seed)
    graph = exported(module, x)
    stacked = stack(graph)
    assert largest_batch(graph) == 2 + seed
    assert largest_batch(stacked) == 1
    for conv, ours, wanted in zip(module.convs, run(stacked, x), run(module, x), strict=True):
        assert ours.shape == wanted.shape, conv
        torch.testing.assert_close(ours, wanted, rtol=0, atol=2e-6, msg=lambda m, c=conv: f"{c}{m}")


class Mixed(nn.Module):
    """All that a rule is there for, and users that want the plain form."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.after = nn.Conv2d(8, 8, 1)
        self.other = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.register_buffer("by_image", torch.randn(4, 8, 1, 1))
        self.register_buffer("by_channel", torch.randn(1, 8, 1, 1))
        self.register_buffer("by_row", torch.randn(1, 1, 6, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        a = self.conv(x)
        b = torch.sigmoid(self.after(a)) * a + self.by_image - self.by_channel + self.by_row
        later = torch.cat([b[:1], b[:-1]], dim=0)
        narrow = torch.cat([b[:, 4:], b[:, :4]], dim=1)
        every = b[::2]
        one = b[2:3] + 1.0
        joined = later.reshape(2, 16, 6, 6)
        pooled = self.pool(b) + self.other(narrow)
        scale = b.mean(dim=(2, 3), keepdim=True)  # of another shape than what it is multiplied with
        return b * scale, every, one, joined, pooled.permute(0, 2, 3, 1), narrow, later


def test_all_that_is_between_convolutions_is_kept() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3, 6, 6)
    module = Mixed()
    graph = exported(module, x)
    before = str(graph.graph)
    stacked = stack(graph)
    assert str(graph.graph) == before, "the graph that was given is left as it was"
    assert largest_batch(stacked) == 1
    for ours, wanted in zip(run(stacked, x), run(module, x), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=0, atol=2e-6)


def test_sizes_come_in_pairs_as_the_device_code_reads_them(checkpoint: Path) -> None:
    clip = np.random.default_rng(0).normal(size=(1, 4, 3, 64, 64)).astype(np.float32)
    graph = whole_graph(checkpoint, clip)
    stacked = stack(graph)
    assert largest_batch(graph) == 4
    assert largest_batch(stacked) == 1
    convs = [n for n in stacked.graph.nodes if n.target is torch.ops.aten.conv2d.default]
    for node in convs:
        assert all(len(sizes) == 2 for sizes in node.args[3:6])
        groups, channels = node.args[6:7] or (1,), node.args[0].meta["val"].shape[1]
        assert groups[0] in (1, channels), "the device code has no other groups"
    with quiet_tools():
        outputs = [graph_outputs(one)(clip) for one in (stacked, graph)]
    for ours, wanted in zip(*outputs, strict=True):
        assert np.array_equal(ours, wanted)


class Clipped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 2, 1)
        self.second = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.last = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.nn.functional.relu6(20 * self.first(x).relu())
        return self.last(torch.relu(self.second(torch.nn.functional.relu6(self.second(x)))))


def test_a_relu_stays_next_to_its_convolution() -> None:
    """So that int8 takes both as one operation, whatever rows are cut off behind them."""
    torch.manual_seed(0)
    x = torch.randn(3, 3, 9, 8)
    module = Clipped()
    stacked = stack(exported(module, x))
    torch.testing.assert_close(run(stacked, x), run(module, x), rtol=0, atol=2e-6)
    before = [str(n.args[0].target) for n in stacked.graph.nodes if "relu" in str(n.target)]
    assert before == ["aten.conv2d.default", "aten.mul.Tensor", *["aten.conv2d.default"] * 2]


class Growing(nn.Module):
    """Transposed convolutions, of which only those whose results do not overlap stay stacked."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.apart = nn.ConvTranspose2d(8, 4, 2, 2)
        self.overlapping = nn.ConvTranspose2d(8, 4, 3, 2, padding=1, output_padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        a = torch.nn.functional.relu6(10 * self.conv(x))
        return torch.relu(self.apart(a)), self.overlapping(a)


def test_a_convolution_that_grows_the_grid_stays_stacked() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 3, 6, 5)
    module = Growing()
    stacked = stack(exported(module, x))
    for ours, wanted in zip(run(stacked, x), run(module, x), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=0, atol=2e-6)
    transposed = torch.ops.aten.conv_transpose2d.input
    batches = [n.args[0].meta["val"].shape[0] for n in stacked.graph.nodes
               if n.target is transposed]  # fmt: skip
    assert sorted(batches) == [1, 3]


def test_constants_are_stored_in_full_where_asked() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3, 6, 6)
    module = Mixed()
    graph = exported(module, x)
    with quiet_tools():
        stacked = stack_batches(graph, full_constants=True)
    for ours, wanted in zip(run(stacked, x), run(module, x), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=0, atol=2e-6)
    sums = [n for n in stacked.graph.nodes
            if n.target in (torch.ops.aten.add.Tensor, torch.ops.aten.sub.Tensor)]  # fmt: skip
    for node in sums:
        constants = [
            a for a in node.args[:2] if isinstance(a, torch.fx.Node) and a.op == "get_attr"
        ]
        assert all(a.meta["val"].shape == node.meta["val"].shape for a in constants)
    assert len(sums) >= 4


def test_a_model_on_a_stem_answers_the_same_with_a_batch_of_one() -> None:
    model = stem_model()
    clip = clips_of(model, 1)[0]
    with quiet_tools():
        graph = export_graph(model, torch.from_numpy(clip))
        stacked = stack_batches(graph)
        full = stack_batches(graph, full_constants=True)
        wanted, ours, also = (graph_outputs(one)(clip) for one in (graph, stacked, full))
    assert largest_batch(graph) == 8
    for one in (stacked, full):
        assert largest_batch(one) == 1
        grown = [n for n in one.graph.nodes if "conv_transpose2d" in str(n.target)]
        assert [n.args[0].meta["val"].shape[0] for n in grown] == [1]
    for a, b, c in zip(wanted, ours, also, strict=True):
        np.testing.assert_allclose(b, a, atol=1e-4 * (1 + a.std()))
        np.testing.assert_allclose(c, a, atol=1e-4 * (1 + a.std()))


def test_weights_are_not_repeated(checkpoint: Path) -> None:
    graph = whole_graph(checkpoint, np.zeros((1, 4, 3, 64, 64), np.float32))
    stacked = stack(graph)

    def size(module: GraphModule) -> int:
        return sum(t.numel() for t in [*module.parameters(), *module.buffers()])

    assert size(stacked) < 1.05 * size(graph), "only what is added to each step, a value per row"
