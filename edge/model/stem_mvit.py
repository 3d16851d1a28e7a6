"""A compact multiscale vision transformer on a pretrained per-frame stem.

A 2D network that has seen many people (`stems.py`) looks at each frame; its features at several
strides are joined on the grid of stride 16. Four neighbouring frames become one step of time, and
blocks with pooling attention over space and time (`compact_blocks.py`) turn the steps of a clip
into tokens. Overlapping clips share everything that belongs to one frame: a live result pays for
its new frames and the trunk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from edge.model.compact_blocks import BlockConfig, StepBackbone, build_blocks
from edge.model.compact_layers import ConvNorm, join_steps
from edge.model.stems import STEM_NAMES, TAP_STRIDES, FrameStem, SameConv
from runtime.errors import ConfigError

GRID_STRIDE = 16
"""Spatial stride of the trunk's tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StemMViTConfig(BlockConfig):
    """Shape of a compact multiscale vision transformer on a pretrained stem.

    Attributes:
        stem: Name of the stem.
        stem_width: Factor on the widths of the stem.
        stem_taps: Strides of the stem's features that are joined.
        frame_channels: Width of the joined features of one frame.
        step_frames: Neighbouring frames that become one step of time.
        strides: Spatial stride at the entry of each stage behind the first; none is 1 everywhere.
    """

    stem: str = "mobilenet_v2"
    stem_width: float = 1.0
    stem_taps: tuple[int, ...] = (8, 16, 32)
    frame_channels: int = 128
    step_frames: int = 4
    channels: tuple[int, ...] = (192,)
    depths: tuple[int, ...] = (3,)
    kv_strides: tuple[int, ...] = (4,)
    mlp_ratio: int = 2
    local_kernel: int = 5
    strides: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check the values against each other.

        Raises:
            ConfigError: They do not fit together.
        """
        if self.step_frames < 1:
            raise ConfigError(f"step_frames must be 1 or more, got {self.step_frames}")
        self.check(frames=self.step_frames, side=TAP_STRIDES[-1])
        expected = len(self.channels) - 1
        if self.strides and (
            len(self.strides) != expected or any(one not in (1, 2) for one in self.strides)
        ):
            raise ConfigError(
                f"strides must be {expected}, one for each stage behind the first, of 1 or 2; got "
                f"{self.strides}"
            )
        if self.height % self.out_stride or self.width % self.out_stride:
            raise ConfigError(
                f"height and width must be multiples of {self.out_stride}, got {self.height} and "
                f"{self.width}"
            )
        if self.frame_channels < 1:
            raise ConfigError(f"frame_channels must be positive, got {self.frame_channels}")
        if self.stem not in STEM_NAMES:
            raise ConfigError(f"stem must be one of {', '.join(STEM_NAMES)}, got {self.stem!r}")
        if GRID_STRIDE not in self.stem_taps:
            raise ConfigError(f"stem_taps must have {GRID_STRIDE}, got {self.stem_taps}")
        if not 0.25 <= self.stem_width <= 4:
            raise ConfigError(f"stem_width must be from 0.25 to 4, got {self.stem_width}")

    @property
    def out_stride(self) -> int:
        """Spatial stride of the output."""
        return GRID_STRIDE * math.prod(self.strides)

    @property
    def out_grid(self) -> tuple[int, int, int]:
        """Positions (T', H', W') of the output."""
        stride = self.out_stride
        return (self.num_frames // self.step_frames, self.height // stride, self.width // stride)

    def build(self) -> StemMViT:
        """Build the backbone with random weights."""
        return StemMViT(self)


class FrameFusion(nn.Module):
    """Join a frame's features of several strides on the grid of stride 16."""

    def __init__(self, stem: FrameStem, channels: int) -> None:
        """Build one branch a tap; they are added."""
        super().__init__()
        self.strides = stem.taps
        branches: dict[str, nn.Module] = {}
        for stride in stem.taps:
            width = stem.tap_channels[stride]
            if stride < GRID_STRIDE:
                branches[str(stride)] = nn.Sequential(
                    ConvNorm(width, width, 5, stride=2, groups=width), ConvNorm(width, channels)
                )
            elif stride == GRID_STRIDE:
                branches[str(stride)] = ConvNorm(width, channels)
            else:
                # A convolution that grows the grid: engines have it in int8, which no resize is.
                branches[str(stride)] = nn.Sequential(
                    ConvNorm(width, channels), nn.ReLU(),
                    nn.ConvTranspose2d(channels, channels, 2, 2, groups=1),
                )  # fmt: skip
        self.branches = nn.ModuleDict(branches)

    def forward(self, taps: Sequence[Tensor]) -> Tensor:
        """Map the stem's features to (M, C, H/16, W/16)."""
        total: Tensor | None = None
        for stride, tap in zip(self.strides, taps, strict=True):
            branch = self.branches[str(stride)](tap)
            total = branch if total is None else total + branch
        return torch.relu(cast(Tensor, total))


class StemMViT(StepBackbone):
    """The backbone: clips (B, 3, T, H, W) to features (B, C, T', H', W')."""

    def __init__(self, config: StemMViTConfig) -> None:
        """Build it with random weights, those of the stem included."""
        super().__init__()
        self.config: StemMViTConfig = config
        self.out_channels = config.channels[-1]
        self.out_grid = config.out_grid
        self.stem = FrameStem(config.stem, width=config.stem_width, taps=config.stem_taps)
        self.fusion = FrameFusion(self.stem, config.frame_channels)
        self.merge = ConvNorm(config.step_frames * config.frame_channels, config.channels[0])
        self.blocks = self.make_blocks(config)
        shape = (config.num_frames, config.frame_channels, 1, 1)
        self.frame_embedding = nn.Parameter(torch.empty(shape))
        self.neck = ConvNorm(self.out_channels, self.out_channels)
        self.reset()
        nn.init.trunc_normal_(self.frame_embedding, std=0.02)

    folds = (*StepBackbone.folds, SameConv)

    def make_blocks(self, config: StemMViTConfig) -> nn.ModuleList:
        """Build the trunk's blocks; each maps (B*T', C, H, W) and the number of clips B."""
        return build_blocks(config, strides=config.strides)

    def steps(self, frames: Tensor, batch: int = 1) -> Tensor:
        """Return the features (M, C, H/16, W/16) of M frames (M, 3, H, W), each on its own."""
        return cast(Tensor, self.fusion(self.stem(frames)))

    def trunk(self, steps: Tensor, batch: int) -> Tensor:
        """Return features (B*T', C, H', W') of whole clips from those of their frames."""
        which = self.frame_embedding
        x = steps + (which if batch == 1 else which.repeat(batch, 1, 1, 1))
        x = cast(Tensor, self.merge(join_steps(x, self.config.step_frames)))
        for block in self.blocks:
            x = block(x, batch)
        return torch.relu(self.neck(x))


STEM_VARIANTS: dict[str, StemMViTConfig] = {
    "pico": StemMViTConfig(
        height=192,
        width=192,
        frame_channels=64,
        channels=(96,),
        depths=(3,),
        head_channels=48,
        stem_taps=(8, 16),
    ),
    "nano": StemMViTConfig(),
    "tiny": StemMViTConfig(
        height=256, width=256, stem_width=1.5, frame_channels=192, channels=(256,), depths=(4,)
    ),
}
