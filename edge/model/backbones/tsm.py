"""A plain 2D CNN with temporal shift (TSM, arXiv 1811.08383) on the pretrained stem.

The trunk is inverted residuals of 2D convolutions. Before each one a share of the channels moves
one step later in time and the same share one step earlier, so that 2D convolutions mix time at no
cost in multiply-adds. Stem, joined taps and neck are those of `stem_mvit.py`; there is no
attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from edge.model.backbones.protocol import Backbone
from edge.model.backbones.stem_mvit import on_stem
from edge.model.compact_blocks import BRANCH_GAMMA
from edge.model.compact_layers import ConvNorm, shift_time
from edge.model.stem_mvit import StemMViT, StemMViTConfig
from runtime.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class StemTSMConfig(StemMViTConfig):
    """Shape of a CNN with temporal shift on a pretrained stem.

    Fields of attention (`head_channels`, `kv_strides`, `kv_pairs`, `taps`) mean nothing here.

    Attributes:
        step_frames: Neighbouring frames that become one step; time is mixed between steps.
        mlp_ratio: Hidden width of a block over its width.
        shift: Share of the channels that move one step later, and as many one step earlier.
    """

    step_frames: int = 2
    channels: tuple[int, ...] = (128,)
    mlp_ratio: int = 4
    shift: float = 0.125

    def __post_init__(self) -> None:
        """Check the values against each other."""
        StemMViTConfig.__post_init__(self)
        if not 0 < self.shift <= 0.5:
            raise ConfigError(f"shift must be above 0 and at most 0.5, got {self.shift}")

    def build(self) -> StemTSM:
        """Build the backbone with random weights."""
        return StemTSM(self)


class ShiftBlock(nn.Module):
    """An inverted residual whose branch sees shifted channels; the skip does not."""

    def __init__(
        self, in_channels: int, channels: int, *, stride: int, config: StemTSMConfig
    ) -> None:
        """Build it."""
        super().__init__()
        self.moved = max(1, int(in_channels * config.shift))
        hidden = channels * config.mlp_ratio
        kernel = config.local_kernel or 3
        self.expand = ConvNorm(in_channels, hidden)
        self.depthwise = ConvNorm(hidden, hidden, kernel, stride=stride, groups=hidden)
        self.project = ConvNorm(hidden, channels, gamma=BRANCH_GAMMA)
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or in_channels != channels:
            self.skip = ConvNorm(in_channels, channels, 3 if stride > 1 else 1, stride=stride)

    def forward(self, x: Tensor, batch: int) -> Tensor:
        """Map (B*T, C, H, W) to (B*T, C2, H2, W2)."""
        one, two = self.moved, 2 * self.moved
        shifted = torch.cat(
            [shift_time(x[:, :one], 1, batch), shift_time(x[:, one:two], -1, batch), x[:, two:]],
            dim=1,
        )
        hidden = torch.relu(self.depthwise(torch.relu(self.expand(shifted))))
        return cast(Tensor, self.skip(x) + self.project(hidden))


class StemTSM(StemMViT):
    """The backbone: clips (B, 3, T, H, W) to features (B, C, T', H', W')."""

    def make_blocks(self, config: StemMViTConfig) -> nn.ModuleList:
        """Build the trunk's blocks."""
        assert isinstance(config, StemTSMConfig)
        blocks: list[nn.Module] = []
        width = config.channels[0]
        for stage, depth in enumerate(config.depths):
            for index in range(depth):
                enters = config.strides and stage > 0 and index == 0
                stride = config.strides[stage - 1] if enters else 1
                channels = config.channels[stage]
                blocks.append(ShiftBlock(width, channels, stride=stride, config=config))
                width = channels
        return nn.ModuleList(blocks)


BACKBONE = Backbone(
    kind="stem-tsm",
    config=StemTSMConfig,
    variants={
        "pico-tsm": on_stem(
            "pico-tsm",
            StemTSMConfig(
                height=192, width=192, frame_channels=64, channels=(64,), stem_taps=(8, 16)
            ),
        ),
        "nano-tsm": on_stem("nano-tsm", StemTSMConfig()),
    },
)
