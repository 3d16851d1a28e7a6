"""X3D-S (arXiv 2004.04730): a 3D CNN expanded from a small 2D one, for phones and cameras.

Widths, depths, kernels and squeeze-and-excitation are those of the published network: a
3x3 convolution in space and a depth-wise one over five frames, then four stages of bottlenecks
whose 3x3x3 convolution is depth-wise. Its Kinetics classifier (the last 1x1x1 convolution, pooling
and two linears) is left out. The last stage may keep the grid of stride 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from edge.model.backbones.protocol import Backbone
from edge.model.bmvit import BMViTConfig
from runtime.errors import ConfigError

_EXPANSION = 2.25
_SQUEEZE = 0.0625
_FIRST = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class X3DConfig:
    """Shape of an X3D; the defaults are X3D-S, but for 16 frames in place of 13.

    Attributes:
        num_frames: Frames of a clip.
        height: Input height, px.
        width: Input width, px.
        channels: Width of each stage.
        depths: Blocks of each stage.
        out_stride: Spatial stride of the output: 32 as published, or 16.
        steps: Steps of time T' of the output; frames are averaged down to so many.
    """

    num_frames: int = 16
    height: int = 160
    width: int = 160
    channels: tuple[int, ...] = (24, 48, 96, 192)
    depths: tuple[int, ...] = (3, 5, 11, 7)
    out_stride: int = 16
    steps: int = 4

    def __post_init__(self) -> None:
        """Check the values against each other.

        Raises:
            ConfigError: They do not fit together.
        """
        if len(self.channels) != 4 or len(self.depths) != 4:
            raise ConfigError(
                f"X3D has four stages; got {len(self.channels)} channels and {len(self.depths)} "
                "depths"
            )
        if self.out_stride not in (16, 32):
            raise ConfigError(f"out_stride must be 16 or 32, got {self.out_stride}")
        if self.height % 32 or self.width % 32 or min(self.height, self.width) < 32:
            raise ConfigError(
                f"height and width must be multiples of 32, got {self.height} and {self.width}"
            )
        if self.steps < 1 or self.num_frames < self.steps or self.num_frames % self.steps:
            raise ConfigError(
                f"num_frames must be a multiple of steps, got {self.num_frames} and {self.steps}"
            )

    @property
    def out_grid(self) -> tuple[int, int, int]:
        """Positions (T', H', W') of the output."""
        return (self.steps, self.height // self.out_stride, self.width // self.out_stride)

    def build(self) -> X3D:
        """Build the backbone with random weights."""
        return X3D(self)


class _Squeeze(nn.Module):
    """Squeeze-and-excitation over the whole clip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(8, (int(channels * _SQUEEZE) + 4) // 8 * 8)
        self.down, self.up = nn.Conv3d(channels, inner, 1), nn.Conv3d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3, 4), keepdim=True)
        return x * torch.sigmoid(self.up(torch.relu(self.down(mean))))


class _Bottleneck(nn.Module):
    """1x1x1 wider, 3x3x3 on each channel, 1x1x1 back."""

    def __init__(self, in_channels: int, channels: int, *, stride: int, squeeze: bool) -> None:
        super().__init__()
        hidden = int(channels * _EXPANSION)
        steps = (1, stride, stride)
        self.a, self.a_norm = nn.Conv3d(in_channels, hidden, 1, bias=False), nn.BatchNorm3d(hidden)
        self.b = nn.Conv3d(hidden, hidden, 3, steps, 1, groups=hidden, bias=False)
        self.b_norm = nn.BatchNorm3d(hidden)
        self.squeeze: nn.Module = _Squeeze(hidden) if squeeze else nn.Identity()
        self.c, self.c_norm = nn.Conv3d(hidden, channels, 1, bias=False), nn.BatchNorm3d(channels)
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or in_channels != channels:
            self.skip = nn.Sequential(
                nn.Conv3d(in_channels, channels, 1, steps, bias=False), nn.BatchNorm3d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.a_norm(self.a(x)))
        hidden = nn.functional.silu(self.squeeze(self.b_norm(self.b(hidden))))
        return torch.relu(self.skip(x) + self.c_norm(self.c(hidden)))


class X3D(nn.Module):
    """The backbone: clips (B, 3, T, H, W) to features (B, C, T', H', W')."""

    def __init__(self, config: X3DConfig) -> None:
        """Build it with random weights."""
        super().__init__()
        self.config = config
        self.out_channels = config.channels[-1]
        self.out_grid = config.out_grid
        self.first = nn.Conv3d(3, _FIRST, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False)
        self.in_time = nn.Conv3d(_FIRST, _FIRST, (5, 1, 1), 1, (2, 0, 0), groups=_FIRST, bias=False)
        self.norm = nn.BatchNorm3d(_FIRST)
        blocks: list[nn.Module] = []
        width = _FIRST
        for stage, (channels, depth) in enumerate(zip(config.channels, config.depths, strict=True)):
            last = stage == len(config.channels) - 1
            for index in range(depth):
                stride = 1 if index or (last and config.out_stride == 16) else 2
                blocks.append(_Bottleneck(width, channels, stride=stride, squeeze=index % 2 == 0))
                width = channels
        self.blocks = nn.Sequential(*blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, clip_ncthw: Tensor) -> Tensor:
        """Return the features (B, C, T', H', W') of normalised RGB clips (B, 3, T, H, W).

        Raises:
            ConfigError: The clip has another size than the backbone was built for.
        """
        config = self.config
        wanted = (config.num_frames, config.height, config.width)
        if tuple(clip_ncthw.shape[2:]) != wanted:
            raise ConfigError(
                f"the backbone was built for frames, height and width {wanted}, got "
                f"{tuple(clip_ncthw.shape[2:])}"
            )
        x = self.blocks(torch.relu(self.norm(self.in_time(self.first(clip_ncthw)))))
        together = config.num_frames // config.steps
        return cast(Tensor, x.unflatten(2, (config.steps, together)).mean(3))


BACKBONE = Backbone(
    kind="x3d",
    config=X3DConfig,
    variants={"x3d-s": BMViTConfig(variant="x3d-s", backbone=X3DConfig(), num_classes=1)},
)
