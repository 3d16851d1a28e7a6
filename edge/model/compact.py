"""A multiscale vision transformer in the form that int8 engines run well.

MViTv2's ideas (pooling attention over q, k and v; residual pooling; max-pooled skip where a stage
begins; widths and heads growing by stage) with its parts exchanged for those that XNNPACK takes
whole, so that backbone, heads and token selection lower to one delegate call:

* every linear is a 1x1 convolution, and one channel-last layout runs from input to output;
* the stem looks at one frame at a time; two neighbouring frames then become one step of time;
* the first stage looks at one step at a time too, so that overlapping clips share all of it: a
  clip that moves on by two frames pays for one new step of four (`CompactMViT.steps`, `.trunk`);
* the stem goes down to stride 8 at once: at stride 4 a clip has 6400 tokens of few channels, which
  cost twice as long for the same work as 1600 of three times as many;
* time is folded into the batch; a temporal kernel is one 2D convolution per tap, its results
  shifted by one step and added, instead of a 3D convolution that no mobile engine has;
* BatchNorm behind each convolution in place of LayerNorm: it folds into the weights at export
  (51 LayerNorms cut the naive graph into 44 delegate calls);
* k and v are pooled before their projection, so that it runs on a few tokens only, and of pairs of
  steps: the matmuls of attention are the part that stays in float32;
* q is pooled only where the grid shrinks;
* each block begins with a small depth-wise convolution: 1x1 convolutions and attention to pooled
  tokens mix no neighbours, and its zero borders tell a token where it is (conditional positional
  encodings); each step has an embedding of its own, since attention knows no order;
* queries and keys have a norm of their own (LeViT, arXiv 2104.01136), which costs nothing once
  folded: without it scores grow in training until a query sees one key only;
* ReLU in the MLP; a shift in time repeats the border frame; no mean over time.

Behind the first stage attention is joint over space and time: each token looks at the pooled tokens
of all frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from edge.model.compact_blocks import BlockConfig, StepBackbone, build_blocks
from edge.model.compact_layers import ConvNorm, join_steps
from runtime.errors import ConfigError

STEM_STRIDE = 8
"""Spatial stride of the first stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactConfig(BlockConfig):
    """Shape of a compact multiscale vision transformer without a pretrained stem.

    Attributes:
        stem_channels: Width of the first convolution, at stride 4; the second, at stride 8, has
            twice as many.
        strides: Spatial stride at the entry of each stage behind the first, which is at 8.
        step_stages: Stages, from the first, that see one step of time (two frames) only.
        step_embedding: Tell the steps of a clip apart, where they first meet.
        patch_hw: Kernel of the stem's first convolution; its stride is 4.
    """

    height: int = 160
    width: int = 160
    stem_channels: int = 32
    channels: tuple[int, ...] = (96, 192, 288)
    depths: tuple[int, ...] = (2, 4, 1)
    head_channels: int = 96
    strides: tuple[int, ...] = (2, 1)
    kv_strides: tuple[int, ...] = (4, 2, 2)
    step_stages: int = 1
    step_embedding: bool = True
    patch_hw: int = 7

    def __post_init__(self) -> None:
        """Check the values against each other.

        Raises:
            ConfigError: They do not fit together.
        """
        stages = len(self.channels)
        if len(self.strides) + 1 != stages or any(s not in (1, 2) for s in self.strides):
            raise ConfigError(
                f"{stages} channels need {stages - 1} strides of 1 or 2, got {self.strides}"
            )
        self.check(frames=2, side=self.out_stride)
        entry = (1, *self.strides)  # a stage's first block pools from the grid of the one before
        if any(kv * q > 8 for kv, q in zip(self.kv_strides, entry, strict=True)):
            raise ConfigError(
                f"kv_strides must be of 1, 2, 4, 8, also times the stage's stride; "
                f"got {self.kv_strides}"
            )
        if self.patch_hw % 2 == 0 or self.stem_channels < 1:
            raise ConfigError(
                f"patch_hw must be odd and stem_channels positive, got {self.patch_hw} and "
                f"{self.stem_channels}"
            )
        if not 0 <= self.step_stages < stages:
            raise ConfigError(
                f"step_stages must be from 0 to {stages - 1}, so that the last stage sees the "
                f"whole clip; got {self.step_stages}"
            )

    @property
    def out_stride(self) -> int:
        """Spatial stride of the output."""
        return STEM_STRIDE * math.prod(self.strides)

    @property
    def out_grid(self) -> tuple[int, int, int]:
        """Positions (T', H', W') of the output."""
        stride = self.out_stride
        return (self.num_frames // 2, self.height // stride, self.width // stride)

    def build(self) -> CompactMViT:
        """Build the backbone with random weights."""
        return CompactMViT(self)


class CompactMViT(StepBackbone):
    """The backbone: clips (B, 3, T, H, W) to features (B, C, T', H', W')."""

    def __init__(self, config: CompactConfig) -> None:
        """Build it with random weights."""
        super().__init__()
        self.config: CompactConfig = config
        self.out_channels = config.channels[-1]
        self.out_grid = config.out_grid
        fine, coarse = config.stem_channels, 2 * config.stem_channels
        self.stem = nn.Sequential(
            ConvNorm(3, fine, config.patch_hw, stride=4),
            nn.ReLU(),
            ConvNorm(fine, coarse, 3, stride=STEM_STRIDE // 4),
            nn.ReLU(),
        )
        self.merge = ConvNorm(2 * coarse, config.channels[0])
        self.blocks = build_blocks(config, strides=config.strides, step_stages=config.step_stages)
        self.step_embedding: nn.Parameter | None = None
        if config.step_embedding:
            width = config.channels[max(0, config.step_stages - 1)]
            self.step_embedding = nn.Parameter(torch.empty(config.num_frames // 2, width, 1, 1))
        self.neck = ConvNorm(self.out_channels, self.out_channels)
        self.reset()
        if self.step_embedding is not None:
            nn.init.trunc_normal_(self.step_embedding, std=0.02)

    frames_per_step = 2

    @property
    def step_blocks(self) -> int:
        """Number of blocks, from the first, that see one step of time only."""
        return sum(self.config.depths[: self.config.step_stages])

    def steps(self, frames: Tensor, batch: int = 1) -> Tensor:
        """Return the features (M, C, H', W') of M steps, each of two frames (2*M, 3, H, W)."""
        x = cast(Tensor, self.merge(join_steps(self.stem(frames), 2)))
        for block in list(self.blocks)[: self.step_blocks]:
            x = block(x, batch)
        return x

    def trunk(self, steps: Tensor, batch: int) -> Tensor:
        """Return features (B*T', C, H', W') of whole clips from those of their steps."""
        x = steps
        if self.step_embedding is not None:
            which = self.step_embedding
            x = x + (which if batch == 1 else which.repeat(batch, 1, 1, 1))
        for block in list(self.blocks)[self.step_blocks :]:
            x = block(x, batch)
        return torch.relu(self.neck(x))


COMPACT_VARIANTS: dict[str, CompactConfig] = {
    "pico": CompactConfig(
        height=128,
        width=128,
        stem_channels=16,
        channels=(48, 96, 144),
        depths=(1, 4, 1),
        head_channels=48,
    ),
    "nano": CompactConfig(),
    "tiny": CompactConfig(height=224, width=224, channels=(96, 288, 384), depths=(1, 4, 1)),
}
