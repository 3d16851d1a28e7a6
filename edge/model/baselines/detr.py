"""DETR on the same backbone: learnable queries and a transformer decoder over its tokens.

The backbone's attention is the encoder. N queries look at one another and at all T' x H' x W'
tokens, layer after layer, and the same three heads turn each into a triplet (DETR, arXiv
2005.12872; TubeR and others for video). The decoder is written as the trunk is: 1x1 convolutions,
BatchNorm in the place of LayerNorm and residual branches that start near zero, so that the same
lowering takes it whole.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from edge.model.bmvit import BMViT, BMViTConfig, by_token
from edge.model.compact_blocks import BRANCH_GAMMA
from edge.model.compact_layers import ConvNorm
from edge.model.heads import DetectionHeads
from runtime.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class DetrConfig:
    """Shape of the decoder.

    Attributes:
        queries: Number N of learnable queries, a square number with `anchors`.
        layers: Decoder layers.
        heads: Heads of each attention.
        mlp_ratio: Hidden width of an MLP over the width.
        anchors: Boxes are offsets from a learned box of each query, spread over the frame at first
            (DAB-DETR, arXiv 2201.12329); else they are the head's own, as in DETR.
    """

    queries: int = 16
    layers: int = 2
    heads: int = 4
    mlp_ratio: int = 2
    anchors: bool = True

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("queries", "layers", "heads", "mlp_ratio"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.anchors and round(self.queries**0.5) ** 2 != self.queries:
            raise ConfigError(
                f"queries with anchors begin on a square grid, such as 16 or 25; got {self.queries}"
            )


class _Attention(nn.Module):
    """Attention of queries (B, C, 1, N) to keys and values (B, C, 1, M)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k = ConvNorm(channels, channels), ConvNorm(channels, channels)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj = ConvNorm(channels, channels, gamma=BRANCH_GAMMA)
        self.scale = float((channels // heads) ** -0.5)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        keys = self.k(key)
        if self.scale != 1.0:  # folded into the projection at export
            keys = keys * self.scale
        scores = torch.bmm(self._rows(self.q(query)), self._rows(keys).transpose(1, 2))
        mixed = torch.bmm(torch.softmax(scores, dim=-1), self._rows(self.v(value)))
        return cast(Tensor, self.proj(mixed.transpose(1, 2).reshape(query.shape)))

    def _rows(self, x: Tensor) -> Tensor:
        """Turn (B, C, 1, N) into (B*heads, N, C/heads)."""
        batch, channels = x.shape[:2]
        split = x.reshape(batch * self.heads, channels // self.heads, -1)
        return split.transpose(1, 2)

    def fold_(self) -> None:
        """Put the scale of the scores into the norm of the keys, which is folded after it."""
        norm = self.k.norm
        if isinstance(norm, nn.BatchNorm2d):
            norm.weight = nn.Parameter(norm.weight * self.scale)
            norm.bias = nn.Parameter(norm.bias * self.scale)
            self.scale = 1.0


class _Layer(nn.Module):
    """Queries look at one another, at the tokens, and go through an MLP."""

    def __init__(self, channels: int, config: DetrConfig) -> None:
        super().__init__()
        self.among, self.across = (_Attention(channels, config.heads) for _ in range(2))
        hidden = channels * config.mlp_ratio
        self.mlp = nn.Sequential(
            ConvNorm(channels, hidden), nn.ReLU(), ConvNorm(hidden, channels, gamma=BRANCH_GAMMA)
        )

    def forward(self, x: Tensor, name: Tensor, keys: Tensor, tokens: Tensor) -> Tensor:
        named = x + name
        x = x + self.among(named, named, x)
        x = x + self.across(x + name, keys, tokens)
        return cast(Tensor, x + self.mlp(x))


class QueryDecoder(nn.Module):
    """Learnable queries that read the tokens of a clip."""

    def __init__(self, channels: int, grid: tuple[int, int, int], config: DetrConfig) -> None:
        """Build it for tokens of width `channels` on a grid (T', H', W').

        Raises:
            ConfigError: The width is no multiple of the number of heads.
        """
        super().__init__()
        if channels % config.heads:
            raise ConfigError(f"{config.heads} heads do not divide a width of {channels}")
        time, height, width = grid
        self.names = nn.Parameter(torch.empty(1, channels, 1, config.queries))
        self.when = nn.Parameter(torch.empty(time, channels, 1, 1))
        self.where = nn.Parameter(torch.empty(1, channels, height, width))
        for parameter in (self.names, self.when, self.where):
            nn.init.trunc_normal_(parameter, std=0.5)
        self.layers = nn.ModuleList(_Layer(channels, config) for _ in range(config.layers))
        self.norm = ConvNorm(channels, channels)
        for module in self.modules():  # as the trunk begins: outputs of a variance of about one
            if isinstance(module, nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=module.in_channels**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, slices: Sequence[Tensor]) -> Tensor:
        """Map T' slices (B, C, H', W') to the features (B, C, 1, N) of the queries."""
        batch = slices[0].shape[0]
        place = [self.where + self.when[t : t + 1] for t in range(len(slices))]
        keys = _side_by_side([one + at for one, at in zip(slices, place, strict=True)])
        tokens = _side_by_side(slices)
        names = self.names if batch == 1 else self.names.expand(batch, -1, -1, -1)
        x = names
        for layer in self.layers:
            x = layer(x, names, keys, tokens)
        return torch.relu(self.norm(x))

    def folded(self) -> QueryDecoder:
        """Return a copy for inference with every BatchNorm and scale inside the weights."""
        result = copy.deepcopy(self).eval()
        with torch.no_grad():
            for kind in (_Attention, ConvNorm):
                for module in list(result.modules()):
                    if isinstance(module, kind):
                        module.fold_()
        return result


class Detr(BMViT):
    """Clips in, one triplet per query out; trained and exported as a `BMViT` is."""

    def __init__(self, config: BMViTConfig, detr: DetrConfig | None = None) -> None:
        """Build the model with random weights; `config.token_selection` means nothing here.

        Raises:
            ConfigError: The decoder does not fit the backbone.
        """
        super().__init__(replace(config, token_selection="centre"))
        self.detr = detr or DetrConfig()
        self.suppression = None  # queries look at one another instead
        channels = cast(int, self.backbone.out_channels)
        self.num_tokens = self.detr.queries
        self.decoder = QueryDecoder(channels, self.out_grid, self.detr)
        heads = replace(config.heads, box_reference="absolute", slice_embedding=False)
        self.heads = DetectionHeads(channels, config.num_classes, (1, self.detr.queries), heads)
        self.anchors: nn.Parameter | None = None
        if self.detr.anchors:
            self.anchors = nn.Parameter(_grid_of_boxes(self.detr.queries))

    def triplets(self, slices: Sequence[Tensor]) -> dict[str, Tensor]:
        """Turn the backbone's T' temporal slices (B, C, H', W') into the queries' triplets."""
        batch = slices[0].shape[0]
        x = self.decoder(slices)
        boxes = self.heads.box(x)
        if self.anchors is not None:
            boxes = boxes + self.anchors
        return {
            "pred_boxes": by_token(torch.sigmoid(boxes), batch),
            "pred_actor": by_token(self.heads.actor(x), batch).flatten(1),
            "pred_actions": by_token(self.heads.actions(x), batch),
        }


def _side_by_side(slices: Sequence[Tensor]) -> Tensor:
    """Turn T' slices (B, C, H', W') into (B, C, 1, T'*H'*W')."""
    rows = [one.reshape(one.shape[0], one.shape[1], 1, -1) for one in slices]
    return rows[0] if len(rows) == 1 else torch.cat(rows, dim=3)


def _grid_of_boxes(count: int) -> Tensor:
    """Return the logits of `count` boxes spread over the frame, (1, 4, 1, count)."""
    side = round(count**0.5)
    centre = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(centre, centre, indexing="ij")
    sides = torch.full((count,), 0.5)
    return torch.stack([x.flatten(), y.flatten(), 0.4 * sides, sides]).logit()[None, :, None]
