"""Exact rewrites of a model's 3D and normalisation layers into what a mobile delegate has.

XNNPACK has no Conv3d, no MaxPool3d and no LayerNorm; what stays outside the delegate runs on slow
reference kernels. Each rewrite here computes the same numbers (a test holds them within 1e-5) from
2D operations: time is folded into the batch, and a temporal kernel becomes a sum over its taps.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from runtime.errors import UnsupportedOpError

Size3 = tuple[int, int, int]

# Up to this many stacked input channels a convolution over all taps at once is the faster form.
_STACKED_CHANNELS = 16


class Conv3dAs2d(nn.Module):
    """A Conv3d as 2D convolutions: one per temporal tap, or one over the taps side by side."""

    def __init__(self, conv: nn.Conv3d) -> None:
        """Take over the weights of `conv`.

        Raises:
            UnsupportedOpError: It pads with something other than zeros.
        """
        super().__init__()
        self.kernel, self.stride, self.dilation, self.padding = _sizes(conv)
        steps = self.kernel[0]
        weight = conv.weight.detach()  # (out, in / groups, kt, kh, kw)
        self.stacked = conv.groups == 1 and conv.in_channels * steps <= _STACKED_CHANNELS
        if self.stacked:
            # Input channels tap by tap, each tap's channels together, as `forward` lays them.
            weights = [weight.transpose(1, 2).flatten(1, 2)]
        else:
            weights = [weight[:, :, tap] for tap in range(steps)]
        self.taps = nn.ModuleList()
        for index, values in enumerate(weights):
            has_bias = conv.bias is not None and index == 0
            tap = nn.Conv2d(
                values.shape[1] * conv.groups,
                conv.out_channels,
                self.kernel[1:],
                self.stride[1:],
                self.padding[1:],
                self.dilation[1:],
                conv.groups,
                bias=has_bias,
            )
            tap.weight = nn.Parameter(values.contiguous().clone())
            if has_bias:
                tap.bias = nn.Parameter(cast(Tensor, conv.bias).detach().clone())
            self.taps.append(tap)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) as the Conv3d does."""
        batch = x.shape[0]
        frames = _pad_time(x.transpose(1, 2), self.padding[0], 0.0)
        steps = _windows(frames, self.kernel[0], self.stride[0], self.dilation[0])
        if self.stacked:
            total = self.taps[0](_fold(torch.cat(steps, dim=2) if len(steps) > 1 else steps[0]))
        else:
            total = self.taps[0](_fold(steps[0]))
            for tap, step in zip(list(self.taps)[1:], steps[1:], strict=True):
                total = total + tap(_fold(step))
        return _unfold(cast(Tensor, total), batch)


class MaxPool3dAs2d(nn.Module):
    """A MaxPool3d as a MaxPool2d of each frame and a maximum over shifted frames."""

    def __init__(self, pool: nn.MaxPool3d) -> None:
        """Take over the sizes of `pool`.

        Raises:
            UnsupportedOpError: It rounds sizes up or returns indices.
        """
        super().__init__()
        if pool.ceil_mode or pool.return_indices:
            raise UnsupportedOpError(
                f"{pool} has ceil_mode or return_indices set; no target here has them"
            )
        self.kernel = _three(pool.kernel_size)
        self.stride = _three(pool.stride)
        self.padding = _three(pool.padding)
        self.dilation = _three(pool.dilation)
        self.pool = nn.MaxPool2d(
            self.kernel[1:], self.stride[1:], self.padding[1:], self.dilation[1:]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) as the MaxPool3d does."""
        batch = x.shape[0]
        pooled = self.pool(_fold(x.transpose(1, 2)))
        if self.kernel[0] == 1 and self.stride[0] == 1 and self.padding[0] == 0:
            return _unfold(pooled, batch)
        frames = _pad_time(pooled.view(batch, -1, *pooled.shape[1:]), self.padding[0], -torch.inf)
        steps = _windows(frames, self.kernel[0], self.stride[0], self.dilation[0])
        total = steps[0]
        for step in steps[1:]:
            total = torch.maximum(total, step)
        return total.transpose(1, 2)


class LayerNormByMatmul(nn.Module):
    """A LayerNorm over the last dimension from products, sums and a reciprocal square root.

    The mean is a product with a column of 1/C: XNNPACK takes means over rows and columns only.
    """

    def __init__(self, norm: nn.LayerNorm) -> None:
        """Take over the weights of `norm`.

        Raises:
            UnsupportedOpError: It normalises more than the last dimension.
        """
        super().__init__()
        if len(norm.normalized_shape) != 1:
            raise UnsupportedOpError(
                f"a LayerNorm over {tuple(norm.normalized_shape)} was met; only one over the last "
                "dimension can be rewritten"
            )
        size = norm.normalized_shape[0]
        self.mean = nn.Linear(size, 1, bias=False)
        self.mean.weight = nn.Parameter(torch.full((1, size), 1.0 / size))
        self.eps = norm.eps
        weight = norm.weight if norm.elementwise_affine else torch.ones(size)
        bias = norm.bias if norm.elementwise_affine and norm.bias is not None else torch.zeros(size)
        self.weight = nn.Parameter(weight.detach().clone())
        self.bias = nn.Parameter(bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., C)."""
        centred = x - self.mean(x)
        variance = self.mean(centred * centred)
        scaled: Tensor = centred * torch.rsqrt(variance + self.eps)
        return scaled * self.weight + self.bias


def rewrite_for_export(model: nn.Module) -> nn.Module:
    """Return a copy for inference in which no 3D layer, LayerNorm or BatchNorm to fold is left.

    Raises:
        UnsupportedOpError: A layer has a form that cannot be rewritten exactly.
    """
    result = copy.deepcopy(model).eval()
    for parent in list(result.modules()):
        for name, child in list(parent.named_children()):
            fold = getattr(child, "folded", None)
            if callable(fold):
                setattr(parent, name, fold())
            elif isinstance(child, nn.Conv3d):
                setattr(parent, name, Conv3dAs2d(child))
            elif isinstance(child, nn.MaxPool3d):
                setattr(parent, name, MaxPool3dAs2d(child))
            elif isinstance(child, nn.LayerNorm):
                setattr(parent, name, LayerNormByMatmul(child))
    for parameter in result.parameters():
        parameter.requires_grad_(False)
    return result


def cancel_permutes(graph_module: torch.fx.GraphModule) -> int:
    """Remove pairs of permutations of dimensions that undo each other; return how many nodes went.

    The engine's clip is (1, T, 3, H, W), the model's (B, 3, T, H, W): a backbone that folds time
    into the batch turns it straight back, which would cost two copies of the whole input.
    """
    removed = 0
    for node in list(graph_module.graph.nodes):
        outer = _permutation(node)
        source = node.args[0] if outer else None
        if outer is None or not isinstance(source, torch.fx.Node):
            continue
        inner = _permutation(source)
        if inner is None or [inner[i] for i in outer] != list(range(len(outer))):
            continue
        node.replace_all_uses_with(cast(torch.fx.Node, source.args[0]))
        graph_module.graph.erase_node(node)
        removed += 1
        if not source.users:
            graph_module.graph.erase_node(source)
            removed += 1
    if removed:
        graph_module.recompile()
    return removed


def _permutation(node: torch.fx.Node) -> list[int] | None:
    """Return which input dimension each output dimension is, None for any other operation."""
    if node.op != "call_function" or not isinstance(node.args[0], torch.fx.Node):
        return None
    value = node.args[0].meta.get("val")
    if not isinstance(value, Tensor):
        return None
    order = list(range(value.dim()))
    if node.target is torch.ops.aten.transpose.int:
        first, second = (cast(int, dim) % value.dim() for dim in node.args[1:3])
        order[first], order[second] = order[second], order[first]
        return order
    if node.target is torch.ops.aten.permute.default:
        return [dim % value.dim() for dim in cast("list[int]", node.args[1])]
    return None


def _windows(frames: Tensor, kernel: int, stride: int, dilation: int) -> list[Tensor]:
    """Return for each temporal tap the frames that it meets, each (B, To, C, H, W).

    Slices have a step of one (engines have no other); a stride is a split and a narrow slice.
    """
    reach = dilation * (kernel - 1) + 1
    steps = (frames.shape[1] - reach) // stride + 1
    if stride > 1:  # so that the last window can be split off whole
        missing = max(0, (kernel - 1) * dilation + steps * stride - frames.shape[1])
        frames = functional.pad(frames, (0, 0, 0, 0, 0, 0, 0, missing)) if missing else frames
    windows: list[Tensor] = []
    for tap in range(kernel):
        start = tap * dilation
        window = frames[:, start : start + steps * stride]
        if stride > 1:
            split = window.reshape(window.shape[0], steps, -1, *window.shape[3:])
            window = split[:, :, : window.shape[2]]
        windows.append(window)
    return windows


def _pad_time(frames: Tensor, amount: int, value: float) -> Tensor:
    if amount == 0:
        return frames
    return functional.pad(frames, (0, 0, 0, 0, 0, 0, amount, amount), value=value)


def _fold(frames: Tensor) -> Tensor:
    """(B, T, C, H, W) to (B*T, C, H, W)."""
    return frames.reshape(-1, *frames.shape[2:])


def _unfold(frames: Tensor, batch: int) -> Tensor:
    """(B*T, C, H, W) to (B, C, T, H, W)."""
    return frames.reshape(batch, -1, *frames.shape[1:]).transpose(1, 2)


def _sizes(conv: nn.Conv3d) -> tuple[Size3, Size3, Size3, Size3]:
    """Return kernel, stride, dilation and padding of a Conv3d as numbers."""
    kernel, stride, dilation = (
        _three(conv.kernel_size),
        _three(conv.stride),
        _three(conv.dilation),
    )
    if conv.padding_mode != "zeros":
        raise UnsupportedOpError(
            f"{conv} pads with {conv.padding_mode!r}; only zeros can be rewritten exactly"
        )
    if conv.padding == "valid":
        return kernel, stride, dilation, (0, 0, 0)
    if conv.padding == "same":
        if any(k % 2 == 0 for k in kernel):
            raise UnsupportedOpError(f"{conv} pads 'same' with an even kernel: uneven borders")
        reach = [d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True)]
        return kernel, stride, dilation, (reach[0], reach[1], reach[2])
    return kernel, stride, dilation, _three(cast("int | tuple[int, ...]", conv.padding))


def _three(value: int | tuple[int, ...]) -> Size3:
    if isinstance(value, int):
        return (value, value, value)
    time, height, width = value
    return (time, height, width)
