"""A compact multiscale vision transformer on a pretrained per-frame stem.

A 2D network that has seen many people (`stems.py`) looks at each frame; its features at several
strides are joined on the grid of stride 16. Four neighbouring frames become one step of time, and
blocks with pooling attention over space and time (`compact_blocks.py`) turn the steps of a clip
into tokens. Overlapping clips share everything that belongs to one frame: a live result pays for
its new frames and the trunk.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from edge.model.compact_blocks import Block, BlockShape, ConvPoolingAttention
from edge.model.compact_layers import ConvNorm, PoolConv, join_steps
from edge.model.stems import STEM_NAMES, TAP_STRIDES, FrameStem, SameConv
from runtime.errors import ConfigError

GRID_STRIDE = 16
"""Spatial stride of the trunk's tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StemMViTConfig:
    """Shape of a compact multiscale vision transformer on a pretrained stem.

    Attributes:
        num_frames: Frames of a clip; a multiple of `step_frames`, twice that with `kv_pairs`.
        height: Input height, px; a multiple of 32.
        width: Input width, px; the same.
        stem: Name of the stem.
        stem_width: Factor on the widths of the stem.
        stem_taps: Strides of the stem's features that are joined.
        frame_channels: Width of the joined features of one frame.
        step_frames: Neighbouring frames that become one step of time.
        channels: Width of each stage of the trunk.
        depths: Blocks of each stage.
        head_channels: Channels of one attention head.
        kv_strides: Spatial pooling of k and v in each stage.
        kv_pairs: Join two steps of time in each key and value.
        mlp_ratio: Hidden width of the MLP over the stage's width.
        local_kernel: Side of the depth-wise convolution that begins each block; 0 for none.
        taps: Temporal taps of the pooling convolutions, 1 (spatial only) or 3.
        drop_path: Share of residual branches dropped in training, growing with depth up to this.
    """

    num_frames: int = 8
    height: int = 224
    width: int = 224
    stem: str = "mobilenet_v2"
    stem_width: float = 1.0
    stem_taps: tuple[int, ...] = (8, 16, 32)
    frame_channels: int = 128
    step_frames: int = 4
    channels: tuple[int, ...] = (192,)
    depths: tuple[int, ...] = (3,)
    head_channels: int = 64
    kv_strides: tuple[int, ...] = (4,)
    kv_pairs: bool = True
    mlp_ratio: int = 2
    local_kernel: int = 5
    taps: int = 3
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        """Check the values against each other.

        Raises:
            ConfigError: They do not fit together.
        """
        stages = len(self.channels)
        if not (stages and len(self.depths) == len(self.kv_strides) == stages):
            raise ConfigError(
                f"{stages} channels need {stages} depths and kv_strides; "
                f"got {len(self.depths)} and {len(self.kv_strides)}"
            )
        if min(*self.channels, *self.depths, self.head_channels, self.frame_channels) < 1:
            raise ConfigError("channels, depths, head_channels and frame_channels must be positive")
        odd = [c for c in self.channels if c % self.head_channels]
        if odd:
            raise ConfigError(
                f"channels {odd[0]} is not a multiple of {self.head_channels} per head"
            )
        if self.step_frames < 1:
            raise ConfigError(f"step_frames must be 1 or more, got {self.step_frames}")
        multiple = self.step_frames * (2 if self.kv_pairs else 1)
        if self.num_frames < multiple or self.num_frames % multiple:
            raise ConfigError(f"num_frames must be a multiple of {multiple}, got {self.num_frames}")
        for name, size in (("height", self.height), ("width", self.width)):
            if size < TAP_STRIDES[-1] or size % TAP_STRIDES[-1]:
                raise ConfigError(f"{name} must be a multiple of {TAP_STRIDES[-1]}, got {size}")
        if self.stem not in STEM_NAMES:
            raise ConfigError(f"stem must be one of {', '.join(STEM_NAMES)}, got {self.stem!r}")
        if GRID_STRIDE not in self.stem_taps:
            raise ConfigError(f"stem_taps must have {GRID_STRIDE}, got {self.stem_taps}")
        if not 0.25 <= self.stem_width <= 4:
            raise ConfigError(f"stem_width must be from 0.25 to 4, got {self.stem_width}")
        if any(stride not in (1, 2, 4, 8) for stride in self.kv_strides):
            raise ConfigError(f"kv_strides must be of 1, 2, 4, 8, got {self.kv_strides}")
        if self.taps not in (1, 3) or self.local_kernel not in (0, 3, 5):
            raise ConfigError(
                f"taps must be 1 or 3 and local_kernel 0, 3 or 5; "
                f"got {self.taps} and {self.local_kernel}"
            )
        if not 0 <= self.drop_path < 1:
            raise ConfigError(f"drop_path must be in [0, 1), got {self.drop_path}")

    @property
    def out_grid(self) -> tuple[int, int, int]:
        """Positions (T', H', W') of the output."""
        return (
            self.num_frames // self.step_frames,
            self.height // GRID_STRIDE,
            self.width // GRID_STRIDE,
        )

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


class StemMViT(nn.Module):
    """The backbone: clips (B, 3, T, H, W) to features (B, C, T', H', W')."""

    def __init__(self, config: StemMViTConfig) -> None:
        """Build it with random weights, those of the stem included."""
        super().__init__()
        self.config = config
        self.out_channels = config.channels[-1]
        self.out_grid = config.out_grid
        self.stem = FrameStem(config.stem, width=config.stem_width, taps=config.stem_taps)
        self.fusion = FrameFusion(self.stem, config.frame_channels)
        self.merge = ConvNorm(config.step_frames * config.frame_channels, config.channels[0])
        self.blocks = nn.ModuleList(self._blocks(config))
        shape = (config.num_frames, config.frame_channels, 1, 1)
        self.frame_embedding = nn.Parameter(torch.empty(shape))
        self.neck = ConvNorm(self.out_channels, self.out_channels)
        self._reset()

    @staticmethod
    def _blocks(config: StemMViTConfig) -> list[Block]:
        total = sum(config.depths)
        blocks: list[Block] = []
        width = config.channels[0]
        for stage, depth in enumerate(config.depths):
            for _ in range(depth):
                shape = BlockShape(
                    in_channels=width,
                    channels=config.channels[stage],
                    stride=1,
                    kv_stride=config.kv_strides[stage],
                    one_step=False,
                    drop_path=config.drop_path * len(blocks) / max(1, total - 1),
                )
                blocks.append(Block(shape, config))
                width = config.channels[stage]
        return blocks

    def _reset(self) -> None:
        for module in self.modules():
            if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                continue
            fan = module.in_channels // module.groups * module.kernel_size[0] ** 2
            if isinstance(module, nn.ConvTranspose2d):
                fan = module.in_channels // module.groups
            nn.init.trunc_normal_(module.weight, std=fan**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.frame_embedding, std=0.02)

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
        batch, _, frames, height, width = clip_ncthw.shape
        if (frames, height, width) != (
            self.config.num_frames, self.config.height, self.config.width,
        ):  # fmt: skip
            raise ConfigError(
                f"the backbone was built for {self.config.num_frames} frames of "
                f"{self.config.height}x{self.config.width}, got {frames} of {height}x{width}"
            )
        flat = clip_ncthw.transpose(1, 2).reshape(batch * frames, 3, height, width)
        return self.trunk(self.steps(flat, batch), batch)

    frames_per_step = 1
    """Frames that the features of one step, as clips share them, depend on."""

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

    def folded(self) -> StemMViT:
        """Return a copy for inference with every BatchNorm and scale inside the weights."""
        result = copy.deepcopy(self).eval()
        with torch.no_grad():
            for module in list(result.modules()):
                if isinstance(module, ConvNorm | PoolConv | ConvPoolingAttention | SameConv):
                    module.fold_()
        return result


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
