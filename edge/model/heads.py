"""The three small MLPs that turn each selected token into a triplet.

"Each of the three MLP heads will take the output embeddings and produce the corresponding output
... these MLPs add negligible complexity" (BMViT, authors' blog). A Linear over tokens is written as
a 1x1 convolution over the grid, so that one channel-last layout runs from backbone to output and an
int8 delegate takes the heads whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn

from runtime.errors import ConfigError

BoxReference = Literal["token", "absolute"]
SuppressionReach = Literal["neighbours", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadConfig:
    """Shape and start of the heads.

    Attributes:
        hidden_channels: Width of the hidden layers; None takes the backbone's width.
        num_layers: Layers of each MLP, the last one included.
        box_reference: "token": the head gives an offset from a reference box at the token's own
            place. "absolute": the head gives the box itself, as in DETR. From scratch "token" has
            an actor AP50 of 0.43, "absolute" of 0.06 (same 11 minutes of training in a toy world),
            so it is the default.
        reference_size: Width and height of the reference box, as shares of the frame.
        reference_spread: Size of the last slice's reference box over the first's, evenly spaced in
            logarithm around `reference_size`. Two slices see the same person; different reference
            boxes give small and large people different tokens.
        suppression_strength: Share of the difference by which a token's actor logit falls below a
            higher one with an overlapping box; 0 is no suppression.
        suppression: Between which tokens: the eight around a token ("neighbours",
            `neighbour_suppression.py`), or all of the clip ("all", `suppression.py`).
        slice_embedding: Add a learned constant to the features of each slice, so that the heads can
            tell slices apart.
        actor_prior: p(actor) of an untrained token. Few tokens are matched, and a start at 0.5
            would let the others dominate the first steps of training.
        action_prior: p(action) of an untrained token, for the same reason: of all actions a person
            does one or two.
    """

    hidden_channels: int | None = None
    num_layers: int = 2
    box_reference: BoxReference = "token"
    reference_size: tuple[float, float] = (0.12, 0.28)
    reference_spread: float = 2.5
    suppression_strength: float = 0.0
    suppression: SuppressionReach = "neighbours"
    slice_embedding: bool = True
    actor_prior: float = 0.01
    action_prior: float = 0.1

    def __post_init__(self) -> None:
        """Check the values."""
        if self.hidden_channels is not None and self.hidden_channels < 1:
            raise ConfigError(f"hidden_channels must be positive, got {self.hidden_channels}")
        if self.num_layers < 1:
            raise ConfigError(f"num_layers must be at least 1, got {self.num_layers}")
        if self.box_reference not in ("token", "absolute"):
            raise ConfigError(
                f"box_reference must be 'token' or 'absolute', got {self.box_reference!r}"
            )
        if len(self.reference_size) != 2 or not all(0 < side < 1 for side in self.reference_size):
            raise ConfigError(
                f"reference_size must be two shares of the frame between 0 and 1, "
                f"got {self.reference_size}"
            )
        if not (math.isfinite(self.reference_spread) and self.reference_spread > 0):
            raise ConfigError(f"reference_spread must be positive, got {self.reference_spread}")
        stretch = max(self.reference_spread, 1 / self.reference_spread) ** 0.5
        if max(self.reference_size) * stretch >= 1:
            raise ConfigError(
                f"a reference_spread of {self.reference_spread} makes a reference_size of "
                f"{self.reference_size} larger than the frame"
            )
        if self.suppression not in ("neighbours", "all"):
            raise ConfigError(
                f"suppression must be 'neighbours' or 'all', got {self.suppression!r}"
            )
        if not 0 <= self.suppression_strength < math.inf:
            raise ConfigError(
                f"suppression_strength must be 0 or more, got {self.suppression_strength}"
            )
        for name in ("actor_prior", "action_prior"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"{name} must be between 0 and 1, got {getattr(self, name)}")


class TokenMLP(nn.Module):
    """An MLP over every position of a grid: 1x1 convolutions with ReLU between them."""

    def __init__(
        self, in_channels: int, hidden_channels: int, out_channels: int, num_layers: int
    ) -> None:
        """Build `num_layers` layers, the last one without ReLU."""
        super().__init__()
        widths = [in_channels, *[hidden_channels] * (num_layers - 1), out_channels]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, kernel_size=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    @property
    def last(self) -> nn.Conv2d:
        """The output layer."""
        return cast(nn.Conv2d, self.layers[-1])

    def forward(self, features: Tensor) -> Tensor:
        """Map (M, C, H, W) to (M, K, H, W)."""
        return cast(Tensor, self.layers(features))


class DetectionHeads(nn.Module):
    """Box, actor and action heads over the selected slices."""

    box_reference: Tensor

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        grid_hw: tuple[int, int],
        config: HeadConfig,
        num_slices: int = 1,
    ) -> None:
        """Build the heads.

        Args:
            in_channels: Width C of the backbone's features.
            num_classes: Actions.
            grid_hw: Rows and columns of the backbone's output grid.
            config: Shape and start.
            num_slices: Temporal slices S that become tokens.
        """
        super().__init__()
        self.num_slices = num_slices
        # One slice needs no name; a parameter without a purpose would only be decayed and saved.
        named = config.slice_embedding and num_slices > 1
        shape = (num_slices, in_channels, 1, 1)
        self.slice_where = nn.Parameter(torch.empty(shape)) if named else None
        self.slice_what = nn.Parameter(torch.empty(shape)) if named else None
        hidden = config.hidden_channels or in_channels
        self.box = TokenMLP(in_channels, hidden, 4, config.num_layers)
        self.actor = TokenMLP(in_channels, hidden, 1, config.num_layers)
        self.actions = TokenMLP(in_channels, hidden, num_classes, config.num_layers)
        reference = reference_logits(grid_hw, config, num_slices)
        self.register_buffer("box_reference", reference, persistent=False)
        self._reset(config)

    def _reset(self, config: HeadConfig) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(cast(Tensor, module.bias))
        for embedding in (self.slice_where, self.slice_what):
            if embedding is not None:
                nn.init.trunc_normal_(embedding, std=0.02)
        for head, prior in ((self.actor, config.actor_prior), (self.actions, config.action_prior)):
            nn.init.constant_(cast(Tensor, head.last.bias), math.log(prior / (1 - prior)))

    def forward(self, where: Tensor, what: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give every position its triplet.

        Args:
            where: Features (M, C, H, W) for box and actor; M = B * num_slices, slices innermost.
            what: Features (M, C, H, W) for the actions, paired with `where`.

        Returns:
            Boxes (M, 4, H, W) as cxcywh in [0, 1], actor logits (M, 1, H, W), action logits
            (M, num_classes, H, W).
        """
        if self.slice_where is not None and self.slice_what is not None:
            where = where + self._each_clip(self.slice_where, where)
            what = what + self._each_clip(self.slice_what, what)
        boxes = torch.sigmoid(self.box(where) + self._each_clip(self.box_reference, where))
        return boxes, self.actor(where), self.actions(what)

    def _each_clip(self, constant: Tensor, features: Tensor) -> Tensor:
        """Repeat (S, ...) for every clip of (B*S, ...); untouched at batch 1, the exported case."""
        clips = features.shape[0] // self.num_slices
        return constant if clips == 1 or self.num_slices == 1 else constant.repeat(clips, 1, 1, 1)


def reference_logits(grid_hw: tuple[int, int], config: HeadConfig, num_slices: int = 1) -> Tensor:
    """Return what is added to the box head before its sigmoid, (S, 4, H, W).

    For "token" that is the logit of a box centred on each position, of `reference_size` times the
    slice's share of `reference_spread`; for "absolute" it is zero, so that both have one graph.
    """
    rows, columns = grid_hw
    if config.box_reference == "absolute":
        return torch.zeros(num_slices, 4, rows, columns)
    centre_y = ((torch.arange(rows) + 0.5) / rows)[:, None].expand(rows, columns)
    centre_x = ((torch.arange(columns) + 0.5) / columns)[None, :].expand(rows, columns)
    slices = []
    for index in range(num_slices):
        place = index / (num_slices - 1) - 0.5 if num_slices > 1 else 0.0
        scale = config.reference_spread**place
        sides = [torch.full((rows, columns), side * scale) for side in config.reference_size]
        slices.append(torch.stack([centre_x, centre_y, *sides]))
    return torch.stack(slices).logit()
