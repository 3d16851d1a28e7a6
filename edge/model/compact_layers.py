"""Convolutions of the compact backbone: with BatchNorm, and pooling over space and time.

Time is folded into the batch, (B*T, C, H, W) with the steps of a clip innermost.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn


class ConvNorm(nn.Module):
    """A 2D convolution and its BatchNorm; one convolution once folded."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        gamma: float = 1.0,
    ) -> None:
        """Build it; `gamma` is the first scale of the norm, near zero for a residual branch."""
        super().__init__()
        pad = kernel // 2 if padding is None else padding
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, pad, groups=groups, bias=False
        )
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)
        nn.init.constant_(cast(Tensor, self.norm.weight), gamma)

    def forward(self, x: Tensor) -> Tensor:
        """Map (M, C, H, W) to (M, C2, H2, W2)."""
        return cast(Tensor, self.norm(self.conv(x)))

    def fold_(self) -> None:
        """Put the norm into the convolution's weight and bias."""
        if isinstance(self.norm, nn.BatchNorm2d):
            scale, shift = norm_affine(self.norm)
            self.conv.weight = nn.Parameter(self.conv.weight * scale[:, None, None, None])
            self.conv.bias = nn.Parameter(shift)
            self.norm = nn.Identity()


class PoolConv(nn.Module):
    """Depth-wise 3D pooling convolution and BatchNorm, as one 2D convolution per temporal tap."""

    def __init__(self, channels: int, stride: int, taps: int) -> None:
        """Build it for a spatial stride of 1, 2, 4 or 8.

        A stride of 8 begins with a plain 4x4 patch convolution: one kernel that covered it all
        would need 81 taps, and engines have fast depth-wise kernels for up to 25.
        """
        super().__init__()
        self.reduce: nn.Module = nn.Identity()
        if stride == 8:
            self.reduce = nn.Conv2d(channels, channels, 4, 4, groups=channels, bias=False)
            stride = 2
        kernel = 5 if stride == 4 else 3
        self.taps = nn.ModuleList(
            nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
            for _ in range(taps)
        )
        self.norm: nn.Module = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, batch: int) -> Tensor:
        """Pool (B*T, C, H, W), frames innermost, to (B*T, C, H2, W2).

        On a CPU it stays in float32 in mixed precision: the gradient of a depth-wise 5x5 with a
        stride takes 40 times as long in bf16, 60 % of a whole step.
        """
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return self._pool(x.float(), batch)
        return self._pool(x, batch)

    def _pool(self, x: Tensor, batch: int) -> Tensor:
        x = self.reduce(x)
        if len(self.taps) == 1:
            return cast(Tensor, self.norm(self.taps[0](x)))
        before, centre, after = (tap(x) for tap in self.taps)
        total = centre + shift_time(before, 1, batch) + shift_time(after, -1, batch)
        return cast(Tensor, self.norm(total))

    def fold_(self) -> None:
        """Put the norm into the taps; its shift goes to the one that no border cuts."""
        if isinstance(self.norm, nn.BatchNorm2d):
            scale, shift = norm_affine(self.norm)
            for module in self.taps:
                tap = cast(nn.Conv2d, module)
                tap.weight = nn.Parameter(tap.weight * scale[:, None, None, None])
            middle = cast(nn.Conv2d, self.taps[len(self.taps) // 2])
            middle.bias = nn.Parameter(shift)
            self.norm = nn.Identity()


def join_steps(x: Tensor, steps: int) -> Tensor:
    """Put neighbouring steps side by side: (M*steps, C, H, W) to (M, steps*C, H, W)."""
    return x if steps == 1 else x.reshape(x.shape[0] // steps, -1, *x.shape[2:])


def shift_time(x: Tensor, steps: int, batch: int) -> Tensor:
    """Shift (B*T, C, H, W) by one step in time, the border frame twice; `steps` is 1 (later) or -1.

    A repeated frame stays in int8 (slices and a concatenation of one scale); padding by zeros is
    done in float32 between a dequantize and a quantize.
    """
    if batch == 1:  # the exported case: no fifth dimension
        parts = [x[:1], x[:-1]] if steps == 1 else [x[1:], x[-1:]]
        return torch.cat(parts, dim=0)
    clips = x.view(batch, -1, *x.shape[1:])
    parts = [clips[:, :1], clips[:, :-1]] if steps == 1 else [clips[:, 1:], clips[:, -1:]]
    return torch.cat(parts, dim=1).view_as(x)


def norm_affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return scale and shift that an evaluated BatchNorm applies to each channel."""
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    scale = norm.weight.detach() / torch.sqrt(variance + norm.eps)
    return scale, norm.bias.detach() - mean * scale
