"""Blocks of the compact backbone: pooling attention and MLP as 2D convolutions.

Time is folded into the batch, as in `compact_layers.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from edge.model.compact_layers import ConvNorm, PoolConv, join_steps

BRANCH_GAMMA = 0.1
"""First scale of a residual branch: near zero, so that a deep stack starts as its skip."""


class BlockConfig(Protocol):
    """What all blocks of a network have in common."""

    @property
    def head_channels(self) -> int:
        """Channels of one attention head."""

    @property
    def kv_pairs(self) -> bool:
        """Whether two steps of time are joined in each key and value."""

    @property
    def taps(self) -> int:
        """Temporal taps of the pooling convolutions, where they see several steps."""

    @property
    def local_kernel(self) -> int:
        """Side of the depth-wise convolution that begins each block; 0 for none."""

    @property
    def mlp_ratio(self) -> int:
        """Hidden width of the MLP over the width of the block."""


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
        mixed = self._attend(q, k, self.v(pooled), groups)
        return cast(Tensor, self.proj(mixed + q))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, groups: int) -> Tensor:
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
        x = self.skip(x) + self._drop(self.attention(x, batch), batch)
        return x + self._drop(self.mlp(x), batch)

    def _drop(self, branch: Tensor, batch: int) -> Tensor:
        """Drop the branch of some clips in training (stochastic depth), all frames of one alike."""
        if not self.training or self.drop_path == 0.0:
            return branch
        keep = 1.0 - self.drop_path
        mask = torch.rand(batch, 1, 1, 1, 1, device=branch.device) < keep
        frames = branch.view(batch, -1, *branch.shape[1:]) * mask / keep
        return frames.view_as(branch)
