"""A network in parts is quantized as the whole: the same ranges, the same answers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from quantize.graph import quiet_tools
from quantize.ptq import quantize_with_parts
from quantize.schemes import XNNPACK_INT8
from runtime.errors import ExportError

pytest.importorskip("executorch", reason="executorch is not installed")
torch.set_num_threads(1)


class First(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x)) * 0.5


class Second(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.conv = nn.Conv2d(8, 8, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(x) * 0.25 + self.pool(x)
        return found


class Both(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = First(), Second()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.second(self.first(x))
        return found


class Alone(nn.Module):
    """One part, its weights under the name that they have in the whole."""

    def __init__(self, whole: Both, name: str) -> None:
        super().__init__()
        self.add_module(name, getattr(whole, name))
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = getattr(self, self.name)(x)
        return found


def graph(module: nn.Module, example: Tensor) -> nn.Module:
    return torch.export.export(module.eval(), (example,)).module()


def quantized(
    parts: list[nn.Module], whole: Both, clips: list[Tensor], *float_names: str
) -> list[nn.Module]:
    with quiet_tools():
        found, pieces = quantize_with_parts(
            graph(whole, clips[0]),
            parts,
            clips,
            scheme=XNNPACK_INT8,
            float_names=frozenset(float_names),
        )
    return [found, *pieces]


@pytest.mark.parametrize("float_names", [(), ("first.conv",)], ids=["int8", "a layer in float"])
def test_parts_answer_as_the_whole(float_names: tuple[str, ...]) -> None:
    whole = Both()
    # A batch of two: the parts would see other batches, had they observers of their own.
    clips = [torch.randn(2, 3, 8, 8) * scale for scale in (0.5, 3.0, 1.0)]
    features = torch.zeros(1, 8, 8, 8)
    parts = [
        graph(Alone(whole, "first"), clips[0][:1]),
        graph(Alone(whole, "second"), features),
    ]
    found, first, second = quantized(parts, whole, clips, *float_names)
    for clip in clips:
        answer = torch.cat([second(first(one[None])) for one in clip])
        assert torch.equal(answer, found(clip))
    # int8 it is, and the ranges are not those of one clip.
    assert not torch.allclose(found(clips[1]), whole(clips[1]), atol=1e-6)
    assert torch.allclose(found(clips[1]), whole(clips[1]), atol=0.1)


def test_parts_of_another_network_are_refused() -> None:
    whole = Both()
    clip = torch.randn(1, 3, 8, 8)
    second = graph(Alone(whole, "second"), torch.zeros(1, 8, 8, 8))
    with pytest.raises(ExportError, match="the whole"):
        quantized([second], whole, [clip])
