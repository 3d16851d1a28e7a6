"""What the compact backbones are made of: blocks of 2D convolutions, and a base class.

Time is folded into the batch, as in `compact_layers.py`.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from edge.model.compact_layers import ConvNorm, PoolConv, join_steps
from runtime.errors import ConfigError

BRANCH_GAMMA = 0.1
"""First scale of a residual branch: near zero, so that a deep stack starts as its skip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockConfig:
    """What the compact networks have in common.

    Attributes:
        num_frames: Frames of a clip.
        height: Input height, px.
        width: Input width, px.
        channels: Width of each stage.
        depths: Blocks of each stage.
        head_channels: Channels of one attention head; the number of heads grows with the width.
        kv_strides: Spatial pooling of k and v in each stage.
        kv_pairs: Join two steps of time in each key and value, where attention sees several steps.
        mlp_ratio: Hidden width of the MLP over the stage's width.
        local_kernel: Side of the depth-wise convolution that begins each block; 0 for none.
        taps: Temporal taps of the pooling convolutions, where they see several steps: 1 (spatial
            only) or 3.
        drop_path: Share of residual branches dropped in training, growing with depth up to this.
    """

    num_frames: int = 8
    height: int = 224
    width: int = 224
    channels: tuple[int, ...]
    depths: tuple[int, ...]
    head_channels: int = 64
    kv_strides: tuple[int, ...]
    kv_pairs: bool = True
    mlp_ratio: int = 4
    local_kernel: int = 3
    taps: int = 3
    drop_path: float = 0.0

    def check(self, *, frames: int, side: int) -> None:
        """Check the values against each other.

        Args:
            frames: What `num_frames` must be a multiple of, twice that with `kv_pairs`.
            side: What height and width must be multiples of.

        Raises:
            ConfigError: They do not fit together.
        """
        stages = len(self.channels)
        if not (stages and len(self.depths) == len(self.kv_strides) == stages):
            raise ConfigError(
                f"{stages} channels need {stages} depths and kv_strides; "
                f"got {len(self.depths)} and {len(self.kv_strides)}"
            )
        if min(*self.channels, *self.depths, self.head_channels) < 1:
            raise ConfigError("channels, depths and head_channels must be positive")
        odd = [c for c in self.channels if c % self.head_channels]
        if odd:
            raise ConfigError(
                f"channels {odd[0]} is not a multiple of {self.head_channels} per head"
            )
        multiple = frames * (2 if self.kv_pairs else 1)
        if self.num_frames < multiple or self.num_frames % multiple:
            raise ConfigError(f"num_frames must be a multiple of {multiple}, got {self.num_frames}")
        for name, size in (("height", self.height), ("width", self.width)):
            if size < side or size % side:
                raise ConfigError(f"{name} must be a multiple of {side}, got {size}")
        if any(stride not in (1, 2, 4, 8) for stride in self.kv_strides):
            raise ConfigError(f"kv_strides must be of 1, 2, 4, 8, got {self.kv_strides}")
        if self.taps not in (1, 3):
            raise ConfigError(f"taps must be 1 or 3, got {self.taps}")
        if self.local_kernel not in (0, 3, 5):
            raise ConfigError(f"local_kernel must be 0, 3 or 5, got {self.local_kernel}")
        if not 0 <= self.drop_path < 1:
            raise ConfigError(f"drop_path must be in [0, 1), got {self.drop_path}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockShape:
    """What differs between the blocks of a network.

    Attributes:
        in_channels: Width of the input.
        channels: Width of the output.
        stride: Spatial stride of the queries, and so of the output.
        kv_stride: Spatial stride of keys and values.
        one_step: See one step of time only, so that the result belongs to two frames.
        drop_path: Share of residual branches dropped in training.
    """

    in_channels: int
    channels: int
    stride: int
    kv_stride: int
    one_step: bool
    drop_path: float


class ConvPoolingAttention(nn.Module):
    """Attention of pooled queries to pooled keys and values, of one step or of the whole clip."""

    def __init__(self, shape: BlockShape, config: BlockConfig) -> None:
        """Build it."""
        super().__init__()
        in_channels, channels = shape.in_channels, shape.channels
        self.one_step = shape.one_step
        self.heads = channels // config.head_channels
        taps = 1 if shape.one_step else config.taps
        self.pool_q = PoolConv(in_channels, shape.stride, taps) if shape.stride > 1 else None
        self.pool_kv = PoolConv(in_channels, shape.kv_stride, taps)
        self.kv_steps = 2 if config.kv_pairs and not shape.one_step else 1
        # Normalised, or the scores grow in training until each query sees one key only.
        self.q = ConvNorm(in_channels, channels)
        self.k = ConvNorm(in_channels * self.kv_steps, channels)
        self.v = nn.Conv2d(in_channels * self.kv_steps, channels, 1)
        self.proj = ConvNorm(channels, channels, gamma=BRANCH_GAMMA)
        self.scale = config.head_channels**-0.5

    def forward(self, x: Tensor, batch: int) -> Tensor:
        """Map (B*T, C, H, W) to (B*T, C2, H2, W2)."""
        q = self.q(x if self.pool_q is None else self.pool_q(x, batch))
        pooled = join_steps(self.pool_kv(x, batch), self.kv_steps)
        k = self.k(pooled)
        if self.scale != 1.0:  # folded into the projection at export
            k = k * self.scale
        groups = q.shape[0] if self.one_step else batch
        mixed = self.attend(q, k, self.v(pooled), groups)
        return cast(Tensor, self.proj(mixed + q))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, groups: int) -> Tensor:
        """Attend within each of `groups` runs of steps; q, k, v are (groups*T, C, H, W)."""
        steps, channels, height, width = q.shape
        steps //= groups
        scores = torch.bmm(self._tokens(q, groups), self._tokens(k, groups).transpose(1, 2))
        mixed = torch.bmm(torch.softmax(scores, dim=-1), self._tokens(v, groups))
        depth, places = channels // self.heads, height * width
        # An exported graph (one clip, or one step a group) stays at four dimensions.
        if steps == 1:
            by_step = mixed.view(groups, self.heads, places, depth).transpose(2, 3)
        elif groups == 1:
            by_step = mixed.view(self.heads, steps, places, depth).permute(1, 0, 3, 2)
        else:
            by_step = mixed.view(groups, self.heads, steps, places, depth).permute(0, 2, 1, 4, 3)
        return by_step.reshape(q.shape)

    def _tokens(self, x: Tensor, groups: int) -> Tensor:
        """Turn (groups*T, C, H, W) into (groups*heads, T*H*W, C/heads)."""
        steps, channels = x.shape[0] // groups, x.shape[1]
        depth = channels // self.heads
        if steps == 1:
            split = x.reshape(groups, self.heads, depth, -1).transpose(2, 3)
        elif groups == 1:
            split = x.reshape(steps, self.heads, depth, -1).permute(1, 0, 3, 2)
        else:
            split = x.reshape(groups, steps, self.heads, depth, -1).permute(0, 2, 1, 4, 3)
        return split.reshape(groups * self.heads, -1, depth)

    def fold_(self) -> None:
        """Put the scale of the scores into the norm of the keys, which is folded after it."""
        if isinstance(self.k.norm, nn.BatchNorm2d):
            self.k.norm.weight = nn.Parameter(self.k.norm.weight * self.scale)
            self.k.norm.bias = nn.Parameter(self.k.norm.bias * self.scale)
            self.scale = 1.0


class Block(nn.Module):
    """Local mixing, pooling attention and MLP, each a residual branch that starts near zero."""

    def __init__(self, shape: BlockShape, config: BlockConfig) -> None:
        """Build it; the width changes in the attention, as in MViTv2."""
        super().__init__()
        self.local: ConvNorm | None = None
        if config.local_kernel:
            width, kernel = shape.in_channels, config.local_kernel
            self.local = ConvNorm(width, width, kernel, groups=width, gamma=BRANCH_GAMMA)
        self.attention = ConvPoolingAttention(shape, config)
        skip: list[nn.Module] = []
        if shape.stride > 1:
            skip.append(nn.MaxPool2d(3, shape.stride, padding=1))
        if shape.in_channels != shape.channels:
            skip.append(ConvNorm(shape.in_channels, shape.channels))
        self.skip = nn.Sequential(*skip)
        hidden = shape.channels * config.mlp_ratio
        self.mlp = nn.Sequential(
            ConvNorm(shape.channels, hidden),
            nn.ReLU(),
            ConvNorm(hidden, shape.channels, gamma=BRANCH_GAMMA),
        )
        self.drop_path = shape.drop_path

    def forward(self, x: Tensor, batch: int) -> Tensor:
        """Map (B*T, C, H, W) to (B*T, C2, H2, W2)."""
        if self.local is not None:
            x = x + self.local(x)
        x = self.skip(x) + self.drop(self.attention(x, batch), batch)
        return x + self.drop(self.mlp(x), batch)

    def drop(self, branch: Tensor, batch: int) -> Tensor:
        """Drop the branch of some clips in training (stochastic depth), all frames of one alike."""
        if not self.training or self.drop_path == 0.0:
            return branch
        keep = 1.0 - self.drop_path
        mask = torch.rand(batch, 1, 1, 1, 1, device=branch.device) < keep
        frames = branch.view(batch, -1, *branch.shape[1:]) * mask / keep
        return frames.view_as(branch)


def build_blocks(
    config: BlockConfig, *, strides: Sequence[int] = (), step_stages: int = 0
) -> nn.ModuleList:
    """Build the blocks of all stages.

    Args:
        config: Widths and depths.
        strides: Spatial stride at the entry of each stage behind the first; 1 by default.
        step_stages: Stages, from the first, that see one step of time only.
    """
    total = sum(config.depths)
    blocks: list[Block] = []
    width = config.channels[0]
    for stage, depth in enumerate(config.depths):
        for index in range(depth):
            stride = strides[stage - 1] if strides and stage > 0 and index == 0 else 1
            shape = BlockShape(
                in_channels=width,
                channels=config.channels[stage],
                stride=stride,
                # The entry block sees the finer grid of the stage before.
                kv_stride=config.kv_strides[stage] * stride,
                one_step=stage < step_stages,
                drop_path=config.drop_path * len(blocks) / max(1, total - 1),
            )
            blocks.append(Block(shape, config))
            width = config.channels[stage]
    return nn.ModuleList(blocks)


class StepBackbone(nn.Module, ABC):
    """A backbone whose first part sees one step of time, so that overlapping clips share it.

    Clips (B, 3, T, H, W) become features (B, C, T', H', W'): `steps` turns frames into the features
    of steps, `trunk` those of a whole clip's steps into its features.
    """

    config: BlockConfig
    out_grid: tuple[int, int, int]
    folds: tuple[type[nn.Module], ...] = (ConvNorm, PoolConv, ConvPoolingAttention)
    """Modules with a `fold_` that puts norms and scales into weights."""

    frames_per_step = 1
    """Frames that the features of one step, as clips share them, depend on."""

    @abstractmethod
    def steps(self, frames: Tensor, batch: int = 1) -> Tensor:
        """Return the features (M, C, H', W') of the steps of some frames (N, 3, H, W).

        They depend on these frames alone: clips that overlap share them. The frames are those of
        `batch` clips, which matters in training only: a clip drops a branch in all of its steps.
        """

    @abstractmethod
    def trunk(self, steps: Tensor, batch: int) -> Tensor:
        """Return features (B*T', C, H', W') of whole clips from those of their steps."""

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
        config = self.config
        if (frames, height, width) != (config.num_frames, config.height, config.width):
            raise ConfigError(
                f"the backbone was built for {config.num_frames} frames of "
                f"{config.height}x{config.width}, got {frames} of {height}x{width}"
            )
        flat = clip_ncthw.transpose(1, 2).reshape(batch * frames, 3, height, width)
        return self.trunk(self.steps(flat, batch), batch)

    def reset(self) -> None:
        """Draw all weights anew: each output of a convolution has a variance of about one."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                fan = module.in_channels // module.groups
                if isinstance(module, nn.Conv2d):
                    fan *= module.kernel_size[0] ** 2
                nn.init.trunc_normal_(module.weight, std=fan**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def folded(self) -> StepBackbone:
        """Return a copy for inference with every BatchNorm and scale inside the weights."""
        result = copy.deepcopy(self).eval()
        with torch.no_grad():
            for module in list(result.modules()):
                if isinstance(module, self.folds):
                    cast(ConvNorm, module).fold_()
        return result
