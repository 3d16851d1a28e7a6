"""Per-frame stems: 2D networks pretrained on images, cut off where the trunk takes over.

A stem maps frames (M, 3, H, W), RGB scaled to [-1, 1], to feature maps at stride 8, 16 and 32, its
`taps`. It sees one frame at a time, so that overlapping clips share its work, and so that its
features can be computed once and kept while only the rest of the model trains (`edge.training`).

Both stems are made of inverted residuals with ReLU6 (MobileNetV2, arXiv 1801.04381), without the
BatchNorms, which are folded into the convolutions of the published files:

| name | network | pretrained on |
|---|---|---|
| `mobilenet_v2` | MobileNetV2, width 1.0 or 1.5 | people (MoveNet Lightning or MultiPose) |
| `efficientnet_lite0` | EfficientNet-Lite0, without squeeze-and-excitation | ImageNet |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from runtime.errors import ConfigError
from runtime.options import did_you_mean

StemName = Literal["mobilenet_v2", "efficientnet_lite0"]
STEM_NAMES: tuple[StemName, ...] = get_args(StemName)
TAP_STRIDES = (8, 16, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageShape:
    """A run of inverted residuals of one width.

    Attributes:
        channels: Width of the output.
        depth: Number of blocks.
        stride: Spatial stride of the first block.
        expand: Hidden width over the width of the input.
        kernel: Side of the depth-wise convolution.
    """

    channels: int
    depth: int
    stride: int
    expand: int = 6
    kernel: int = 3


_LAYOUTS: dict[StemName, tuple[StageShape, ...]] = {
    "mobilenet_v2": (
        StageShape(channels=16, depth=1, stride=1, expand=1),
        StageShape(channels=24, depth=2, stride=2),
        StageShape(channels=32, depth=3, stride=2),
        StageShape(channels=64, depth=4, stride=2),
        StageShape(channels=96, depth=3, stride=1),
        StageShape(channels=160, depth=3, stride=2),
        StageShape(channels=320, depth=1, stride=1),
    ),
    "efficientnet_lite0": (
        StageShape(channels=16, depth=1, stride=1, expand=1),
        StageShape(channels=24, depth=2, stride=2),
        StageShape(channels=40, depth=2, stride=2, kernel=5),
        StageShape(channels=80, depth=3, stride=2),
        StageShape(channels=112, depth=3, stride=1, kernel=5),
        StageShape(channels=192, depth=4, stride=2, kernel=5),
        StageShape(channels=320, depth=1, stride=1),
    ),
}
_FIRST_CHANNELS = 32


class SameConv(nn.Module):
    """A convolution with TensorFlow's SAME padding, which is uneven where the stride is 2.

    An even side is padded by (kernel - stride) in all, the odd one of it below and to the right.
    Engines pad evenly, so `fold_` turns a 3x3 kernel with stride 2 into a 4x4 one whose first row
    and column are zero: the same result, to the last bit of the sum, with an even padding of 1.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, groups: int = 1
    ) -> None:
        """Build it with a bias; a BatchNorm is already inside."""
        super().__init__()
        total = kernel - stride
        self.uneven = total % 2 == 1
        self.before, self.after = total // 2, total - total // 2
        padding = 0 if self.uneven else total // 2
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, padding, groups=groups, bias=True
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (M, C, H, W), H and W multiples of the stride, to (M, C2, H/stride, W/stride)."""
        if self.uneven:
            x = F.pad(x, (self.before, self.after, self.before, self.after))
        return cast(Tensor, self.conv(x))

    def fold_(self) -> None:
        """Pad evenly, the kernel one wider."""
        if not self.uneven:
            return
        old = self.conv
        kernel = old.kernel_size[0] + 1
        wider = nn.Conv2d(
            old.in_channels, old.out_channels, kernel, old.stride[0], self.after,
            groups=old.groups, bias=True,
        )  # fmt: skip
        wider.weight = nn.Parameter(F.pad(old.weight.detach(), (1, 0, 1, 0)))
        wider.bias = nn.Parameter(cast(Tensor, old.bias).detach().clone())
        self.conv = wider
        self.uneven = False


class InvertedResidual(nn.Module):
    """Expand, convolve each channel, project; added to the input where the shapes agree."""

    def __init__(self, in_channels: int, shape: StageShape, *, stride: int) -> None:
        """Build one block of a stage."""
        super().__init__()
        hidden = in_channels * shape.expand
        self.expand = SameConv(in_channels, hidden, 1, 1) if shape.expand > 1 else None
        self.depthwise = SameConv(hidden, hidden, shape.kernel, stride, groups=hidden)
        self.project = SameConv(hidden, shape.channels, 1, 1)
        self.adds = stride == 1 and in_channels == shape.channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (M, C, H, W) to (M, C2, H/stride, W/stride)."""
        hidden = x if self.expand is None else F.relu6(self.expand(x))
        branch = self.project(F.relu6(self.depthwise(hidden)))
        return x + branch if self.adds else cast(Tensor, branch)


class FrameStem(nn.Module):
    """A pretrained 2D network down to stride 32, or to the deepest tap that is asked for."""

    def __init__(self, name: str, *, width: float = 1.0, taps: Sequence[int] = (8, 16)) -> None:
        """Build it with random weights.

        Args:
            name: One of `STEM_NAMES`.
            width: Factor on the widths of all blocks behind the first convolution.
            taps: Strides whose features are returned, of `TAP_STRIDES`, rising.

        Raises:
            ConfigError: A name or stride is not known.
        """
        super().__init__()
        if name not in STEM_NAMES:
            raise ConfigError(
                f"unknown stem {name!r}; expected one of {', '.join(STEM_NAMES)}."
                f"{did_you_mean(name, STEM_NAMES)}"
            )
        wanted = tuple(taps)
        if not wanted or wanted != tuple(s for s in TAP_STRIDES if s in wanted):
            raise ConfigError(f"stem taps must be of {TAP_STRIDES}, rising, got {wanted}")
        self.name = name
        self.width = width
        self.taps = wanted
        # EfficientNet-Lite keeps its first convolution whatever the width.
        first = _rounded(_FIRST_CHANNELS * width) if name == "mobilenet_v2" else _FIRST_CHANNELS
        self.first = SameConv(3, first, 3, 2)
        blocks: list[nn.Module] = []
        self.tap_blocks: dict[int, int] = {}
        self.tap_channels: dict[int, int] = {}
        channels, stride = first, 2
        for stage in _LAYOUTS[name]:
            if stride * stage.stride > wanted[-1]:
                break
            stride *= stage.stride
            wide = StageShape(
                channels=_rounded(stage.channels * width), depth=stage.depth, stride=stage.stride,
                expand=stage.expand, kernel=stage.kernel,
            )  # fmt: skip
            for index in range(stage.depth):
                blocks.append(
                    InvertedResidual(channels, wide, stride=stage.stride if index == 0 else 1)
                )
                channels = wide.channels
            if stride in wanted:
                self.tap_blocks[stride] = len(blocks)
                self.tap_channels[stride] = channels
        self.blocks = nn.ModuleList(blocks)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Return the features of each tap, (M, C, H/stride, W/stride), finest first."""
        return self.upper(self.lower(frames, 0), 0)

    def lower(self, frames: Tensor, cut: int) -> list[Tensor]:
        """Run everything before block `cut`.

        Returns:
            The taps that lie before the cut, and behind them what block `cut` takes, unless the
            cut is behind the last block.
        """
        return self._run([F.relu6(self.first(frames))], 0, cut)

    def upper(self, kept: Sequence[Tensor], cut: int) -> list[Tensor]:
        """Run the blocks from `cut` on what `lower` returned for it, and return all taps."""
        return self._run(list(kept), cut, len(self.blocks))

    def _run(self, kept: list[Tensor], start: int, stop: int) -> list[Tensor]:
        if start >= len(self.blocks):
            return kept
        taps, x = kept[:-1], kept[-1]
        ends = set(self.tap_blocks.values())
        for index in range(start, stop):
            x = self.blocks[index](x)
            if index + 1 in ends:
                taps.append(x)
        return taps if stop >= len(self.blocks) else [*taps, x]

    def kept_shapes(self, cut: int, height: int, width: int) -> list[tuple[int, int, int]]:
        """Return the shape (C, H, W) of each feature map that `lower` returns for one frame."""
        with torch.no_grad():
            found = self.lower(torch.zeros(1, 3, height, width), cut)
        return [cast("tuple[int, int, int]", tuple(one.shape[1:])) for one in found]

    def convolutions(self) -> Iterator[tuple[str, nn.Conv2d]]:
        """Yield all convolutions in the order of the network, each with its name."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                yield name, module

    def fold_(self) -> None:
        """Pad evenly everywhere, as engines do."""
        for module in self.modules():
            if isinstance(module, SameConv):
                module.fold_()


def _rounded(channels: float) -> int:
    """Round a width to a multiple of 8, as MobileNet does."""
    return max(8, int(channels + 4) // 8 * 8)
