"""MViTv2 with LayerNorm, number by number the published one (arXiv 2112.01526).

The defaults are MViTv2-S 16x4 as a detector: 256 x 256 input, no class token, and no query pooling
in the last stage, so that it stays at stride 16 and gives 8 x 16 x 16 = 2048 tokens, the number
that BMViT's authors name. `MViTConfig.published()` is the paper's classification network, which
published Kinetics weights come from (`pretrained.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from edge.model.attention import (
    NORM_EPS,
    AttentionConfig,
    PoolingAttention,
    Size3,
    pooled_size,
)
from runtime.errors import ConfigError

PATCH_KERNEL: Size3 = (3, 7, 7)
PATCH_STRIDE: Size3 = (2, 4, 4)
PATCH_PADDING: Size3 = (1, 3, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class MViTConfig:
    """Shape of an MViTv2.

    Attributes:
        num_frames: Frames of a clip.
        height: Input height, px.
        width: Input width, px.
        depth: Blocks.
        embed_dim: Width after the patch embedding.
        num_heads: Heads of the first stage.
        mlp_ratio: Hidden width of an MLP, as a multiple of its input.
        stage_starts: Blocks (from 0) in whose attention widths and heads double.
        q_pool_at: Blocks that pool their queries by `q_stride`. The published network pools at
            every stage start; leaving the last one out keeps the last stage at stride 16.
        q_stride: Query pooling stride there.
        kv_stride: Key and value pooling stride of the first block; each query pooling divides it.
        rel_pos_spatial: Decomposed relative positions over rows and columns.
        rel_pos_temporal: The same over time.
        cls_token: Carry a class token. No detection head reads it.
        drop_path: Chance to drop a residual branch of the last block in training; it grows
            linearly from 0 at the first block.
    """

    num_frames: int = 16
    height: int = 256
    width: int = 256
    depth: int = 16
    embed_dim: int = 96
    num_heads: int = 1
    mlp_ratio: float = 4.0
    stage_starts: tuple[int, ...] = (1, 3, 14)
    q_pool_at: tuple[int, ...] = (1, 3)
    q_stride: Size3 = (1, 2, 2)
    kv_stride: Size3 = (1, 8, 8)
    rel_pos_spatial: bool = True
    rel_pos_temporal: bool = True
    cls_token: bool = False
    drop_path: float = 0.2

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("num_frames", "height", "width", "depth", "embed_dim", "num_heads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.embed_dim % self.num_heads:
            raise ConfigError(
                f"embed_dim {self.embed_dim} does not divide by num_heads {self.num_heads}"
            )
        if not self.embed_dim * self.mlp_ratio >= 1:
            raise ConfigError(f"mlp_ratio must be positive, got {self.mlp_ratio}")
        for name in ("stage_starts", "q_pool_at"):
            blocks = getattr(self, name)
            if any(not 0 <= block < self.depth for block in blocks):
                raise ConfigError(
                    f"{name} {tuple(blocks)} names blocks outside 0 .. {self.depth - 1}"
                )
        if min(*self.q_stride, *self.kv_stride) < 1:
            raise ConfigError(f"strides must be positive, got {self.q_stride}, {self.kv_stride}")
        if not 0 <= self.drop_path < 1:
            raise ConfigError(f"drop_path must be in [0, 1), got {self.drop_path}")

    @classmethod
    def published(cls, **overrides: object) -> MViTConfig:
        """Return MViTv2-S 16x4 as published for Kinetics: 224 x 224, class token, stock strides."""
        stock: dict[str, object] = {
            "height": 224,
            "width": 224,
            "q_pool_at": (1, 3, 14),
            "cls_token": True,
        }
        return cls(**{**stock, **overrides})  # type: ignore[arg-type]

    @property
    def embed_grid(self) -> Size3:
        """Grid after the patch embedding."""
        sizes = (self.num_frames, self.height, self.width)
        time, height, width = (
            (n + 2 * p - k) // s + 1
            for n, k, s, p in zip(sizes, PATCH_KERNEL, PATCH_STRIDE, PATCH_PADDING, strict=True)
        )
        return time, height, width

    def attention_configs(self) -> list[AttentionConfig]:
        """Lay out the attention of every block: widths, heads, grids and strides."""
        grid, width, heads, stride_kv = (
            self.embed_grid,
            self.embed_dim,
            self.num_heads,
            self.kv_stride,
        )
        layout: list[AttentionConfig] = []
        for block in range(self.depth):
            growth = 2 if block in self.stage_starts else 1
            stride_q: Size3 = self.q_stride if block in self.q_pool_at else (1, 1, 1)
            time, rows, columns = (
                max(kv // q, 1) for kv, q in zip(stride_kv, stride_q, strict=True)
            )
            stride_kv = (time, rows, columns)
            heads *= growth
            layout.append(
                AttentionConfig(
                    in_channels=width,
                    channels=width * growth,
                    num_heads=heads,
                    grid=grid,
                    stride_q=stride_q,
                    stride_kv=stride_kv,
                    has_cls=self.cls_token,
                    rel_pos_spatial=self.rel_pos_spatial,
                    rel_pos_temporal=self.rel_pos_temporal,
                )
            )
            width *= growth
            grid = pooled_size(grid, stride_q)
        return layout

    def build(self) -> MViT:
        """Build the backbone with random weights."""
        return MViT(self)


class DropPath(nn.Module):
    """Drop a residual branch for a whole clip in training, and scale the others up."""

    def __init__(self, rate: float) -> None:
        """Set the chance to drop."""
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """Return the branch (B, ...), with some of its clips set to zero."""
        if not self.training or self.rate == 0:
            return branch
        shape = (branch.shape[0],) + (1,) * (branch.ndim - 1)
        keep = torch.rand(shape, device=branch.device) >= self.rate
        return branch * (keep.to(branch.dtype) / (1 - self.rate))


class MLP(nn.Module):
    """Linear, GELU, Linear."""

    def __init__(self, channels: int, hidden: int) -> None:
        """Build for one width."""
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, L, channels) to the same shape."""
        return cast(Tensor, self.fc2(self.act(self.fc1(tokens))))


class Block(nn.Module):
    """Pooling attention and an MLP, each with a residual.

    The first residual is max-pooled to the outgoing grid. A block that widens projects its
    *normalised* input for it (and does so before pooling), as the published network does.
    """

    def __init__(self, attention: AttentionConfig, mlp_ratio: float, drop_path: float) -> None:
        """Build one block."""
        super().__init__()
        self.norm1 = nn.LayerNorm(attention.in_channels, eps=NORM_EPS)
        self.attn = PoolingAttention(attention)
        self.norm2 = nn.LayerNorm(attention.channels, eps=NORM_EPS)
        self.mlp = MLP(attention.channels, int(attention.channels * mlp_ratio))
        self.drop_path = DropPath(drop_path)
        self.proj: nn.Linear | None = None
        if attention.in_channels != attention.channels:
            self.proj = nn.Linear(attention.in_channels, attention.channels)
        self.pool_skip: nn.MaxPool3d | None = None
        if max(attention.stride_q) > 1:
            kernel = tuple(s + 1 if s > 1 else s for s in attention.stride_q)
            self.pool_skip = nn.MaxPool3d(kernel, attention.stride_q, tuple(k // 2 for k in kernel))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, L, in_channels) to (B, L', channels)."""
        normed = self.norm1(tokens)
        skip = tokens if self.proj is None else self.proj(normed)
        tokens = self._pool_skip(skip) + self.drop_path(self.attn(normed))
        return tokens + cast(Tensor, self.drop_path(self.mlp(self.norm2(tokens))))

    def _pool_skip(self, tokens: Tensor) -> Tensor:
        if self.pool_skip is None:
            return tokens
        attention = self.attn.config
        batch, _, channels = tokens.shape
        skipped = 1 if attention.has_cls else 0
        cls_token, grid = tokens[:, :skipped], tokens[:, skipped:]
        maps = grid.transpose(1, 2).reshape(batch, channels, *attention.grid)
        pooled = self.pool_skip(maps).flatten(2).transpose(1, 2)
        return torch.cat([cls_token, pooled], dim=1) if attention.has_cls else pooled


class PatchEmbed(nn.Module):
    """Cut the clip into overlapping 3 x 7 x 7 patches, one each 2 frames and 4 x 4 pixels."""

    def __init__(self, channels: int) -> None:
        """Build for RGB input."""
        super().__init__()
        self.proj = nn.Conv3d(3, channels, PATCH_KERNEL, PATCH_STRIDE, PATCH_PADDING)

    def forward(self, clip_ncthw: Tensor) -> Tensor:
        """Map clips (B, 3, T, H, W) to tokens (B, L, channels)."""
        return cast(Tensor, self.proj(clip_ncthw)).flatten(2).transpose(1, 2)


class MViT(nn.Module):
    """The backbone: clips to a grid of features, or to tokens and a class token."""

    def __init__(self, config: MViTConfig) -> None:
        """Build the network with random weights."""
        super().__init__()
        self.config = config
        layout = config.attention_configs()
        self.patch_embed = PatchEmbed(config.embed_dim)
        self.cls_token: nn.Parameter | None = None
        if config.cls_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, config.embed_dim))
            nn.init.trunc_normal_(self.cls_token, std=0.02)
        last = max(len(layout) - 1, 1)
        self.blocks = nn.ModuleList(
            Block(attention, config.mlp_ratio, config.drop_path * index / last)
            for index, attention in enumerate(layout)
        )
        self.out_channels = layout[-1].channels
        self.out_grid: Size3 = layout[-1].grid_q
        self.norm = nn.LayerNorm(self.out_channels, eps=NORM_EPS)
        self._reset()

    def _reset(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward_tokens(self, clip_ncthw: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return normalised tokens (B, L, C), and the class token's feature (B, C) if there is one.

        Raises:
            ConfigError: The clip is not of the size that the network was built for.
        """
        expected = (3, self.config.num_frames, self.config.height, self.config.width)
        if tuple(clip_ncthw.shape[1:]) != expected:
            raise ConfigError(
                f"clip is {tuple(clip_ncthw.shape)}, this model takes (B, {str(expected)[1:-1]})"
            )
        tokens = self.patch_embed(clip_ncthw)
        if self.cls_token is not None:
            cls_token = self.cls_token.expand(tokens.shape[0], -1, -1)
            tokens = torch.cat([cls_token, tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        return (tokens, None) if self.cls_token is None else (tokens[:, 1:], tokens[:, 0])

    def forward(self, clip_ncthw: Tensor) -> Tensor:
        """Map clips (B, 3, T, H, W) to features (B, C, T', H', W')."""
        tokens, _ = self.forward_tokens(clip_ncthw)
        return tokens.transpose(1, 2).reshape(-1, self.out_channels, *self.out_grid)
