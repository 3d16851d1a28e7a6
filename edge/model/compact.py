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

import copy
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from edge.model.compact_blocks import Block, BlockShape, ConvPoolingAttention
from edge.model.compact_layers import ConvNorm, PoolConv, join_steps
from runtime.errors import ConfigError

STEM_STRIDE = 8
"""Spatial stride of the first stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactConfig:
    """Shape of a compact multiscale vision transformer.

    Attributes:
        num_frames: Frames of a clip; a multiple of the temporal patch of 2.
        height: Input height, px; a multiple of the output stride of 16.
        width: Input width, px; the same.
        stem_channels: Width of the first convolution, at stride 4; the second, at stride 8, has
            twice as many.
        channels: Width of each stage.
        depths: Blocks of each stage.
        head_channels: Channels of one attention head; the number of heads grows with the width.
        strides: Spatial stride at the entry of each stage behind the first, which is at 8.
        kv_strides: Spatial pooling of k and v in each stage; the coarser early, as in MViT.
        kv_pairs: Join two steps of time in each key and value, where attention sees several steps.
        step_stages: Stages, from the first, that see one step of time (two frames) only.
        patch_hw: Kernel of the stem's first convolution; its stride is 4.
        mlp_ratio: Hidden width of the MLP over the stage's width.
        local_kernel: Side of the depth-wise convolution that begins each block; 0 for none.
        step_embedding: Tell the steps of a clip apart, where they first meet.
        taps: Temporal taps of the pooling convolutions, where they see several steps: 1 (spatial
            only) or 3.
        drop_path: Share of residual branches dropped in training, growing with depth up to this.
    """

    num_frames: int = 8
    height: int = 160
    width: int = 160
    stem_channels: int = 32
    channels: tuple[int, ...] = (96, 192, 288)
    depths: tuple[int, ...] = (2, 4, 1)
    head_channels: int = 96
    strides: tuple[int, ...] = (2, 1)
    kv_strides: tuple[int, ...] = (4, 2, 2)
    kv_pairs: bool = True
    step_stages: int = 1
    local_kernel: int = 3
    step_embedding: bool = True
    patch_hw: int = 7
    mlp_ratio: int = 4
    taps: int = 3
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        """Check the values against each other.

        Raises:
            ConfigError: They do not fit together.
        """
        stages = len(self.channels)
        if not (len(self.depths) == len(self.kv_strides) == len(self.strides) + 1 == stages):
            raise ConfigError(
                f"{stages} channels need {stages} depths and kv_strides and {stages - 1} strides; "
                f"got {len(self.depths)}, {len(self.kv_strides)}, {len(self.strides)}"
            )
        if min(*self.channels, *self.depths, self.head_channels, self.stem_channels) < 1:
            raise ConfigError("channels, depths, head_channels and stem_channels must be positive")
        odd = [c for c in self.channels if c % self.head_channels]
        if odd:
            raise ConfigError(
                f"channels {odd[0]} is not a multiple of {self.head_channels} per head"
            )
        multiple = 4 if self.kv_pairs else 2
        if self.num_frames < multiple or self.num_frames % multiple:
            raise ConfigError(f"num_frames must be a multiple of {multiple}, got {self.num_frames}")
        step = STEM_STRIDE
        for stride in self.strides:
            if stride not in (1, 2):
                raise ConfigError(f"strides must be 1 or 2, got {stride}")
            step *= stride
        for name, size in (("height", self.height), ("width", self.width)):
            if size < step or size % step:
                raise ConfigError(f"{name} must be a multiple of {step}, got {size}")
        entry = (1, *self.strides)  # a stage's first block pools from the grid of the one before
        pooling = [kv * q for kv, q in zip(self.kv_strides, entry, strict=True)]
        if any(stride not in (1, 2, 4, 8) for stride in (*self.kv_strides, *pooling)):
            raise ConfigError(
                f"kv_strides must be of 1, 2, 4, 8, also times the stage's stride; "
                f"got {self.kv_strides}"
            )
        if self.patch_hw % 2 == 0 or self.taps not in (1, 3):
            raise ConfigError(
                f"patch_hw must be odd and taps 1 or 3, got {self.patch_hw} and {self.taps}"
            )
        if self.local_kernel not in (0, 3, 5):
            raise ConfigError(f"local_kernel must be 0, 3 or 5, got {self.local_kernel}")
        if not 0 <= self.drop_path < 1:
            raise ConfigError(f"drop_path must be in [0, 1), got {self.drop_path}")
        if not 0 <= self.step_stages < stages:
            raise ConfigError(
                f"step_stages must be from 0 to {stages - 1}, so that the last stage sees the "
                f"whole clip; got {self.step_stages}"
            )

    @property
    def out_grid(self) -> tuple[int, int, int]:
        """Positions (T', H', W') of the output."""
        step = STEM_STRIDE
        for stride in self.strides:
            step *= stride
        return (self.num_frames // 2, self.height // step, self.width // step)

    def build(self) -> CompactMViT:
        """Build the backbone with random weights."""
        return CompactMViT(self)


class CompactMViT(nn.Module):
    """The backbone: clips (B, 3, T, H, W) to features (B, C, T', H', W')."""

    def __init__(self, config: CompactConfig) -> None:
        """Build it with random weights."""
        super().__init__()
        self.config = config
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
        self.blocks = nn.ModuleList(self._blocks(config))
        self.step_embedding: nn.Parameter | None = None
        if config.step_embedding:
            width = config.channels[max(0, config.step_stages - 1)]
            self.step_embedding = nn.Parameter(torch.empty(config.num_frames // 2, width, 1, 1))
        self.neck = ConvNorm(self.out_channels, self.out_channels)
        self._reset()

    @staticmethod
    def _blocks(config: CompactConfig) -> list[Block]:
        total = sum(config.depths)
        blocks: list[Block] = []
        width = config.channels[0]
        for stage, depth in enumerate(config.depths):
            for index in range(depth):
                entry = stage > 0 and index == 0
                stride = config.strides[stage - 1] if entry else 1
                shape = BlockShape(
                    in_channels=width,
                    channels=config.channels[stage],
                    stride=stride,
                    # The entry block sees the finer grid of the stage before.
                    kv_stride=config.kv_strides[stage] * stride,
                    one_step=stage < config.step_stages,
                    drop_path=config.drop_path * len(blocks) / max(1, total - 1),
                )
                blocks.append(Block(shape, config))
                width = config.channels[stage]
        return blocks

    def _reset(self) -> None:
        for module in self.modules():
            if not isinstance(module, nn.Conv2d):
                continue
            fan = module.in_channels // module.groups * module.kernel_size[0] ** 2
            nn.init.trunc_normal_(module.weight, std=fan**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        if self.step_embedding is not None:
            nn.init.trunc_normal_(self.step_embedding, std=0.02)

    def forward(self, clip_ncthw: Tensor) -> Tensor:
        """Return the features (B, C, T', H', W') of normalised RGB clips (B, 3, T, H, W)."""
        x = self._features(clip_ncthw)
        return x.view(clip_ncthw.shape[0], -1, *x.shape[1:]).transpose(1, 2)

    def forward_slices(self, clip_ncthw: Tensor) -> list[Tensor]:
        """Return the same features as T' tensors (B, C, H', W'), without a 5D tensor at batch 1."""
        return self.slices(self._features(clip_ncthw), clip_ncthw.shape[0])

    def slices(self, features: Tensor, batch: int) -> list[Tensor]:
        """Split (B*T', C, H', W') into T' tensors (B, C, H', W')."""
        steps = self.out_grid[0]
        if batch == 1:
            return [features[t : t + 1] for t in range(steps)]
        return list(features.view(batch, steps, *features.shape[1:]).unbind(1))

    def _features(self, clip_ncthw: Tensor) -> Tensor:
        """Return (B*T', C, H', W')."""
        batch, _, frames, height, width = clip_ncthw.shape
        if (frames, height, width) != (
            self.config.num_frames,
            self.config.height,
            self.config.width,
        ):
            raise ConfigError(
                f"the backbone was built for {self.config.num_frames} frames of "
                f"{self.config.height}x{self.config.width}, got {frames} of {height}x{width}"
            )
        flat = clip_ncthw.transpose(1, 2).reshape(batch * frames, 3, height, width)
        return self.trunk(self.steps(flat, batch), batch)

    frames_per_step = 2
    """Frames that the features of one step, as clips share them, depend on."""

    @property
    def step_blocks(self) -> int:
        """Number of blocks, from the first, that see one step of time only."""
        return sum(self.config.depths[: self.config.step_stages])

    def steps(self, frames: Tensor, batch: int = 1) -> Tensor:
        """Return the features (M, C, H', W') of M steps, each of two frames (2*M, 3, H, W).

        They depend on these frames alone: clips that overlap share them. The steps are those of
        `batch` clips, which matters in training only: a clip drops a branch in all of its steps.
        """
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

    def folded(self) -> CompactMViT:
        """Return a copy for inference with every BatchNorm and scale inside the weights."""
        return fold(self)


def fold(model: CompactMViT) -> CompactMViT:
    """Return an evaluation copy of a backbone with BatchNorms and scales folded into weights."""
    result = copy.deepcopy(model).eval()
    with torch.no_grad():
        for module in list(result.modules()):
            if isinstance(module, ConvNorm | PoolConv | ConvPoolingAttention):
                module.fold_()
    return result


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
