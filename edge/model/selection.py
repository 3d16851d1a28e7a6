"""Which features of the backbone become tokens: the four selections of the method.

A token is a triplet <box, p(actor), p(actions)>. Where somebody is needs the keyframe only; what
they do needs the whole clip. So the box and actor heads may read other features than the action
head, as long as both sets pair one to one (BMViT, arXiv 2312.17686, Fig. 3).

With features of T x H x W positions:

| selection     | tokens N | box and actor read        | actions read                     |
|---------------|----------|---------------------------|----------------------------------|
| `all`         | T*H*W    | every position            | the same                         |
| `centre`      | H*W      | slice T // 2              | the same                         |
| `centre_mean` | H*W      | slice T // 2              | mean over all T slices           |
| `halves`      | 2*H*W    | slices T//2 - 1 and T//2  | mean of first, mean of second half |

Everything works on a list of temporal slices, so that a mean over time is a chain of additions:
an int8 delegate takes additions, and leaves a reduction over time outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from runtime.errors import ConfigError
from runtime.options import did_you_mean

TokenSelection = Literal["all", "centre", "centre_mean", "halves"]
TOKEN_SELECTIONS: tuple[TokenSelection, ...] = get_args(TokenSelection)


def check_selection(name: str, out_grid: tuple[int, int, int]) -> TokenSelection:
    """Check that a selection exists and fits a backbone's output grid.

    Args:
        name: One of `TOKEN_SELECTIONS`.
        out_grid: Backbone output positions (T', H', W').

    Raises:
        ConfigError: The name is unknown, or `halves` meets an odd number of temporal positions.
    """
    if name not in TOKEN_SELECTIONS:
        raise ConfigError(
            f"unknown token selection {name!r}; expected one of "
            f"{', '.join(TOKEN_SELECTIONS)}.{did_you_mean(name, TOKEN_SELECTIONS)}"
        )
    if name == "halves" and out_grid[0] % 2:
        raise ConfigError(
            f"token selection 'halves' needs an even number of temporal positions, the backbone "
            f"gives {out_grid[0]}: change num_frames (a multiple of 4) or use 'centre_mean'"
        )
    return name


def num_slices(selection: TokenSelection, num_temporal: int) -> int:
    """Return how many temporal slices S a selection keeps, out of T'."""
    return {"all": num_temporal, "centre": 1, "centre_mean": 1, "halves": 2}[selection]


def num_tokens(selection: TokenSelection, out_grid: tuple[int, int, int]) -> int:
    """Return the number of output tokens N = S * H' * W'."""
    temporal, height, width = out_grid
    return num_slices(selection, temporal) * height * width


def select(
    slices: Sequence[Tensor], selection: TokenSelection
) -> tuple[list[Tensor], list[Tensor]]:
    """Choose the features that the box and actor heads, and the action head, read.

    Args:
        slices: T' temporal slices in order, each (B, C, H, W).
        selection: Which tokens to keep.

    Returns:
        Two lists of S slices (B, C, H, W): for where, for what. They pair one to one.
    """
    middle = len(slices) // 2
    if selection == "all":
        return list(slices), list(slices)
    if selection == "centre":
        return [slices[middle]], [slices[middle]]
    if selection == "centre_mean":
        return [slices[middle]], [_mean(slices)]
    first, second = slices[:middle], slices[middle:]
    return [slices[middle - 1], slices[middle]], [_mean(first), _mean(second)]


def merge_slices(slices: Sequence[Tensor]) -> Tensor:
    """Lay S slices (B, C, H, W) side by side as one batch (B*S, C, H, W), slices innermost."""
    if len(slices) == 1:
        return slices[0]
    if slices[0].shape[0] == 1:  # the exported case: one 4D concatenation, no 5D tensor
        return torch.cat(list(slices), dim=0)
    return torch.stack(list(slices), dim=1).flatten(0, 1)


def _mean(slices: Sequence[Tensor]) -> Tensor:
    total = slices[0]
    for item in slices[1:]:
        total = total + item
    return total * (1.0 / len(slices))
