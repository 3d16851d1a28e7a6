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


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadConfig:
    """Shape and start of the heads.

    Attributes:
        hidden_channels: Width of the hidden layers; None takes the backbone's width.
        num_layers: Layers of each MLP, the last one included.
        box_reference: "token": the head gives an offset from a reference box at the token's own
            place. "absolute": the head gives the box itself, as in DETR. From scratch only the
            former learns where to speak (actor AP50 0.43 against 0.06 after the same 11 minutes in
            a toy world), so it is the default.
        reference_size: Width and height of the reference box, as shares of the frame.
        actor_prior: p(actor) of an untrained token. Few of the tokens speak, and a start at one
            half would let the silent ones swamp the first steps of training.
    """

    hidden_channels: int | None = None
    num_layers: int = 2
    box_reference: BoxReference = "token"
    reference_size: tuple[float, float] = (0.25, 0.5)
    actor_prior: float = 0.01

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
        if not 0 < self.actor_prior < 1:
            raise ConfigError(f"actor_prior must be between 0 and 1, got {self.actor_prior}")


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
        self, in_channels: int, num_classes: int, grid_hw: tuple[int, int], config: HeadConfig
    ) -> None:
        """Build the heads.

        Args:
            in_channels: Width C of the backbone's features.
            num_classes: Actions.
            grid_hw: Rows and columns of the backbone's output grid.
            config: Shape and start.
        """
        super().__init__()
        hidden = config.hidden_channels or in_channels
        self.box = TokenMLP(in_channels, hidden, 4, config.num_layers)
        self.actor = TokenMLP(in_channels, hidden, 1, config.num_layers)
        self.actions = TokenMLP(in_channels, hidden, num_classes, config.num_layers)
        reference = reference_logits(grid_hw, config)
        self.register_buffer("box_reference", reference, persistent=False)
        self._reset(config)

    def _reset(self, config: HeadConfig) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(cast(Tensor, module.bias))
        odds = config.actor_prior / (1 - config.actor_prior)
        nn.init.constant_(cast(Tensor, self.actor.last.bias), math.log(odds))

    def forward(self, where: Tensor, what: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give every position its triplet.

        Args:
            where: Features (M, C, H, W) for box and actor.
            what: Features (M, C, H, W) for the actions, paired with `where`.

        Returns:
            Boxes (M, 4, H, W) as cxcywh in [0, 1], actor logits (M, 1, H, W), action logits
            (M, num_classes, H, W).
        """
        boxes = torch.sigmoid(self.box(where) + self.box_reference)
        return boxes, self.actor(where), self.actions(what)


def reference_logits(grid_hw: tuple[int, int], config: HeadConfig) -> Tensor:
    """Return what is added to the box head before its sigmoid, (1, 4, H, W).

    For "token" that is the logit of a box of `reference_size` centred on each position; for
    "absolute" it is zero, so that both have one graph.
    """
    rows, columns = grid_hw
    if config.box_reference == "absolute":
        return torch.zeros(1, 4, rows, columns)
    centre_y = ((torch.arange(rows) + 0.5) / rows)[:, None].expand(rows, columns)
    centre_x = ((torch.arange(columns) + 0.5) / columns)[None, :].expand(rows, columns)
    width, height = (torch.full((rows, columns), side) for side in config.reference_size)
    return torch.stack([centre_x, centre_y, width, height])[None].logit()
