"""Multi-scale pooling attention with decomposed relative positions (MViTv2, arXiv 2112.01526).

Tokens are (B, L, C) in the order time, row, column; a class token, where there is one, comes first
and is never pooled nor given a relative position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

Size3 = tuple[int, int, int]
"""Sizes or strides in the order time, height, width."""

POOL_KERNEL: Size3 = (3, 3, 3)
NORM_EPS = 1e-6


def pooled_size(size: Size3, stride: Size3) -> Size3:
    """Return the grid after pooling with a 3x3x3 kernel, padding 1."""
    time, height, width = ((n - 1) // s + 1 for n, s in zip(size, stride, strict=True))
    return time, height, width


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionConfig:
    """One block's attention.

    Attributes:
        in_channels: Width of the incoming tokens.
        channels: Width inside and after (the block widens in its attention).
        num_heads: Heads; each has channels // num_heads dimensions.
        grid: Incoming grid (T, H, W).
        stride_q: Pooling stride of the queries; sets the outgoing grid.
        stride_kv: Pooling stride of keys and values.
        has_cls: Whether the first token is a class token.
        rel_pos_spatial: Add the row and column terms.
        rel_pos_temporal: Add the time term.
    """

    in_channels: int
    channels: int
    num_heads: int
    grid: Size3
    stride_q: Size3
    stride_kv: Size3
    has_cls: bool
    rel_pos_spatial: bool
    rel_pos_temporal: bool

    @property
    def head_dim(self) -> int:
        """Dimensions of one head."""
        return self.channels // self.num_heads

    @property
    def grid_q(self) -> Size3:
        """Grid of the pooled queries, and of the output."""
        return pooled_size(self.grid, self.stride_q)

    @property
    def grid_kv(self) -> Size3:
        """Grid of the pooled keys and values."""
        return pooled_size(self.grid, self.stride_kv)


class PoolingAttention(nn.Module):
    """Attention between queries, keys and values that are pooled first.

    Pooling is a depth-wise 3D convolution shared by the heads, then a LayerNorm. The pooled query
    is added to the output (residual pooling), except for the class token.
    """

    rows: Tensor
    columns: Tensor
    times: Tensor
    rel_pos_h: nn.Parameter | None
    rel_pos_w: nn.Parameter | None
    rel_pos_t: nn.Parameter | None

    def __init__(self, config: AttentionConfig) -> None:
        """Build the layer for one fixed grid."""
        super().__init__()
        self.config = config
        self.qkv = nn.Linear(config.in_channels, 3 * config.channels)
        self.proj = nn.Linear(config.channels, config.channels)
        for name, stride in (
            ("q", config.stride_q),
            ("k", config.stride_kv),
            ("v", config.stride_kv),
        ):
            self.add_module(f"pool_{name}", _depthwise(config.head_dim, stride))
            self.add_module(f"norm_{name}", nn.LayerNorm(config.head_dim, eps=NORM_EPS))
        self._add_relative_positions()

    def _add_relative_positions(self) -> None:
        config = self.config
        wanted = {
            "rel_pos_t": ("times", 0, config.rel_pos_temporal),
            "rel_pos_h": ("rows", 1, config.rel_pos_spatial),
            "rel_pos_w": ("columns", 2, config.rel_pos_spatial),
        }
        for name, (index_name, axis, on) in wanted.items():
            if not on:
                self.register_parameter(name, None)
                continue
            length_q, length_k = config.grid_q[axis], config.grid_kv[axis]
            table = nn.Parameter(torch.empty(2 * max(length_q, length_k) - 1, config.head_dim))
            nn.init.trunc_normal_(table, std=0.02)
            self.register_parameter(name, table)
            index = relative_index(length_q, length_k)
            self.register_buffer(index_name, index, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, L, in_channels) on `grid` to (B, L', channels) on `grid_q`."""
        config = self.config
        batch, length, _ = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, length, 3, config.num_heads, config.head_dim)
        query, key, value = (
            self._pool(part, name)
            for part, name in zip(qkv.permute(2, 0, 3, 1, 4).unbind(0), "qkv", strict=True)
        )
        scores = (query * (1 / math.sqrt(config.head_dim))) @ key.transpose(-2, -1)
        bias = self._position_bias(query)
        if bias is not None:
            scores = scores + bias
        mixed = scores.softmax(dim=-1) @ value
        mixed = mixed + self._without_cls(query)
        return cast(Tensor, self.proj(mixed.transpose(1, 2).flatten(2)))

    def _pool(self, heads: Tensor, name: str) -> Tensor:
        """Pool (B, heads, L, D) over its grid, then normalise every token."""
        batch, count, _, dim = heads.shape
        cls_tokens = None
        if self.config.has_cls:
            cls_tokens, heads = heads[:, :, :1], heads[:, :, 1:]
        maps = heads.transpose(2, 3).reshape(batch * count, dim, *self.config.grid)
        pooled = self.get_submodule(f"pool_{name}")(maps)
        pooled = pooled.reshape(batch, count, dim, -1).transpose(2, 3)
        if cls_tokens is not None:
            pooled = torch.cat([cls_tokens, pooled], dim=2)
        return cast(Tensor, self.get_submodule(f"norm_{name}")(pooled))

    def _without_cls(self, query: Tensor) -> Tensor:
        """Return the pooled queries with zeros in place of the class token."""
        if not self.config.has_cls:
            return query
        return functional.pad(query[:, :, 1:], (0, 0, 1, 0))

    def _position_bias(self, query: Tensor) -> Tensor | None:
        """Return the sum of the decomposed terms (B, heads, Lq, Lk), None where there are none.

        The terms use the query before scaling, one table entry for each distance along an axis.
        """
        # At most five dimensions, and broadcasting in place of copies: engines take six at most.
        config = self.config
        spatial = query[:, :, 1:] if config.has_cls else query
        batch, heads, length, dim = spatial.shape
        grid = spatial.reshape(batch * heads, *config.grid_q, dim)
        bias: Tensor | None = None
        if self.rel_pos_h is not None and self.rel_pos_w is not None:
            by_row = torch.einsum("mthwd,hkd->mthwk", grid, self.rel_pos_h[self.rows])
            by_column = torch.einsum("mthwd,wkd->mthwk", grid, self.rel_pos_w[self.columns])
            bias = by_row.reshape(-1, length, 1, config.grid_kv[1], 1) + by_column.reshape(
                -1, length, 1, 1, config.grid_kv[2]
            )
        if self.rel_pos_t is not None:
            by_time = torch.einsum("mthwd,tkd->mthwk", grid, self.rel_pos_t[self.times])
            by_time = by_time.reshape(-1, length, config.grid_kv[0], 1, 1)
            bias = by_time if bias is None else bias + by_time
        if bias is None:
            return None
        if bias.shape[2:] != config.grid_kv:
            bias = bias.expand(-1, -1, *config.grid_kv)
        bias = bias.reshape(batch, heads, length, -1)
        return functional.pad(bias, (1, 0, 1, 0)) if config.has_cls else bias


def relative_index(length_q: int, length_k: int) -> Tensor:
    """Return the table entry of each query and key along one axis, (length_q, length_k).

    Where the two were pooled differently, the coarser one's steps count for as many fine ones; the
    table covers distances -(n - 1) .. n - 1 of the finer axis, n = max(length_q, length_k).
    """
    step_q = max(length_k / length_q, 1.0)
    step_k = max(length_q / length_k, 1.0)
    queries = torch.arange(length_q)[:, None] * step_q
    keys = torch.arange(length_k)[None, :] * step_k
    return (queries - keys + (length_k - 1) * step_k).long()


def resize_table(table: Tensor, length: int) -> Tensor:
    """Interpolate a relative position table (old, D) linearly to (length, D)."""
    if table.shape[0] == length:
        return table
    resized = functional.interpolate(table.float().T[None], size=length, mode="linear")
    return resized[0].T.contiguous().to(table.dtype)


def _depthwise(channels: int, stride: Size3) -> nn.Conv3d:
    return nn.Conv3d(
        channels, channels, POOL_KERNEL, stride=stride, padding=1, groups=channels, bias=False
    )
