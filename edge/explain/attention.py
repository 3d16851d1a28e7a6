"""The attention of a model's last layer, taken while the model runs: its own numbers, none redone.

A layer's weights are the result of its softmax. While that layer runs, calls of softmax are seen
on their way; how scores come about stays the layer's own business, so that compact and published
networks are read alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from edge.model import attention as published
from edge.model import compact_blocks as compact
from edge.model.bmvit import BMViT
from edge.model.selection import select
from runtime.errors import ConfigError, DecodeError

F32 = npt.NDArray[np.float32]
Grid = tuple[int, int, int]
LayerTypes = (compact.ConvPoolingAttention, published.PoolingAttention)

_SOFTMAX = (torch.softmax, Tensor.softmax, functional.softmax)
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class LastAttention:
    """Who looks where in the last layer, for one clip.

    Attributes:
        weights: float32 (T', H', W', Tk, Hk, Wk): of each output position, how much of its
            attention goes to each pooled key; the mean over heads. Sums to 1 over keys.
        heads: How many heads that is the mean of.
        class_token: The layer also looks at a class token, which is not in `weights`; they then sum
            to 1 with it.
        query_steps: For each slice of tokens the step of time T' whose query the boxes read.
    """

    weights: F32
    heads: int
    class_token: bool
    query_steps: tuple[int, ...]

    @property
    def keys(self) -> Grid:
        """Pooled keys in time, height and width."""
        time, height, width = self.weights.shape[3:]
        return int(time), int(height), int(width)

    def of_token(self, token: int) -> F32:
        """Return (Tk, Hk, Wk) of one output token, by the query that its box is read from."""
        _, height, width = self.weights.shape[:3]
        which, place = divmod(token, height * width)
        row, column = divmod(place, width)
        found: F32 = self.weights[self.query_steps[which], row, column]
        return found


def run_with_attention(model: BMViT, clip_ncthw: Tensor) -> tuple[dict[str, Tensor], LastAttention]:
    """Run a model on one clip and return what it says and where its last layer looks.

    Args:
        model: In eval mode.
        clip_ncthw: One normalised clip (1, 3, T, H, W).

    Raises:
        ConfigError: It is more than one clip, or the model has no layer that is known.
        DecodeError: The weights of a query do not sum to 1: what was seen is no attention.
    """
    if clip_ncthw.shape[0] != 1:
        raise ConfigError(f"got {clip_ncthw.shape[0]} clips, expected one")
    layer = last_layer(model)
    with _Watch(layer) as watch, torch.inference_mode():
        outputs = model(clip_ncthw)
    return outputs, _read(model, watch)


def last_layer(model: nn.Module) -> nn.Module:
    """Return the last attention layer.

    Raises:
        ConfigError: There is none of a known kind.
    """
    layers = [module for module in model.modules() if isinstance(module, LayerTypes)]
    if not layers:
        raise ConfigError(f"{type(model).__name__} has no attention layer that can be shown")
    return layers[-1]


class _Softmax(TorchFunctionMode):
    """Keeps what softmax gives, and changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call what is called, and keep it where it is a softmax."""
        result = func(*args, **(kwargs or {}))
        if func in _SOFTMAX:
            self.seen.append(result.detach())
        return result


class _Watch:
    """Sees one layer's softmax and the grid of its keys, by hooks that are gone afterwards."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer, self.mode = layer, _Softmax()
        self.keys: Grid | None = None
        self._hooks: list[Any] = []

    def __enter__(self) -> _Watch:
        self._hooks.append(self.layer.register_forward_pre_hook(self._begin))
        self._hooks.append(self.layer.register_forward_hook(self._end, always_call=True))
        if isinstance(self.layer, compact.ConvPoolingAttention):
            self._hooks.append(self.layer.pool_kv.register_forward_hook(self._pooled))
        else:
            assert isinstance(self.layer, published.PoolingAttention)
            self.keys = self.layer.config.grid_kv
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _begin(self, *_: object) -> None:
        self.mode.__enter__()  # type: ignore[no-untyped-call]

    def _end(self, *_: object) -> None:
        self.mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def _pooled(self, layer: nn.Module, inputs: object, output: Tensor) -> None:
        """Note the grid of the keys: pooled in space, and some steps joined."""
        assert isinstance(self.layer, compact.ConvPoolingAttention)
        steps, _, height, width = output.shape
        self.keys = (steps // self.layer.kv_steps, height, width)


def _read(model: BMViT, watch: _Watch) -> LastAttention:
    """Return what was seen, by place."""
    if len(watch.mode.seen) != 1 or watch.keys is None:
        raise ConfigError(
            f"the last layer called softmax {len(watch.mode.seen)} times, expected once; "
            "its attention cannot be shown"
        )
    weights, grid, keys = watch.mode.seen[0], model.out_grid, watch.keys
    queries, pooled = int(np.prod(grid)), int(np.prod(keys))
    rows = weights.reshape(-1, *weights.shape[-2:]).float()
    total = rows.sum(dim=-1)
    if not bool(((total - 1).abs() <= _SUM_TOLERANCE).all()):
        raise DecodeError(
            f"attention sums to {float(total.min()):g} to {float(total.max()):g} over the keys, "
            "expected 1: what was seen is not the whole attention of a token"
        )
    # A class token stands first on both sides.
    extra = rows.shape[1] - queries, rows.shape[2] - pooled
    if extra not in ((0, 0), (1, 1)):
        raise ConfigError(
            f"the last layer has {rows.shape[1]} queries and {rows.shape[2]} keys, expected "
            f"{queries} and {pooled}; its attention cannot be shown"
        )
    mean = rows[:, extra[0] :, extra[1] :].mean(dim=0).cpu().numpy().reshape(*grid, *keys)
    return LastAttention(
        weights=mean, heads=len(rows), class_token=extra[1] > 0, query_steps=_query_steps(model)
    )


def _query_steps(model: BMViT) -> tuple[int, ...]:
    """Ask the model's own selection which step each slice of tokens is."""
    numbers = [torch.full((1, 1, 1, 1), float(step)) for step in range(model.out_grid[0])]
    where, _ = select(numbers, model.token_selection)
    return tuple(int(step) for step in where)
