"""BMViT: a backbone whose every output token is a triplet <box, p(actor), p(actions)>.

No detector before it, no queries or decoder after it (BMViT, arXiv 2312.17686): features, a choice
of tokens (`selection.py`), three small heads (`heads.py`). Bipartite matching assigns tokens to
people in training; tokens with p(actor) above a threshold are the detections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, cast, runtime_checkable

from torch import Tensor, nn

from edge.model.heads import DetectionHeads, HeadConfig
from edge.model.neighbour_suppression import NeighbourSuppression
from edge.model.selection import (
    TokenSelection,
    check_selection,
    merge_slices,
    num_slices,
    num_tokens,
    select,
)
from edge.model.suppression import PairSuppression
from runtime.errors import ConfigError
from runtime.options import did_you_mean
from runtime.types import ClipSpec


@runtime_checkable
class BackboneConfig(Protocol):
    """What every backbone's configuration says, besides its own widths and depths."""

    @property
    def num_frames(self) -> int:
        """Frames of a clip."""

    @property
    def height(self) -> int:
        """Input height, px."""

    @property
    def width(self) -> int:
        """Input width, px."""

    def build(self) -> nn.Module:
        """Build the backbone with random weights.

        The module has `out_channels`, `out_grid` (T', H', W') and maps clips (B, 3, T, H, W) to
        features (B, C, T', H', W'). It may have `forward_slices(clip)` which returns the same as T'
        tensors (B, C, H', W'), so that an export needs no 5D tensor.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class BMViTConfig:
    """Everything that decides a model's graph and how a clip reaches it.

    Attributes:
        variant: Name of the variant it came from.
        backbone: The backbone's own configuration; it holds num_frames, height and width.
        num_classes: Actions.
        token_selection: Which tokens become triplets, see `selection.py`.
        heads: Shape and start of the heads.
        sampling_rate: Video frames between two sampled frames, at `fps`.
        fps: Frames a second that `sampling_rate` counts in.
        mean: Per-channel mean (RGB) of pixels scaled to [0, 1].
        std: Per-channel standard deviation (RGB), same scale.
    """

    variant: str
    backbone: BackboneConfig
    num_classes: int
    token_selection: TokenSelection = "halves"
    heads: HeadConfig = field(default_factory=HeadConfig)
    sampling_rate: int = 4
    fps: float = 30.0
    mean: tuple[float, float, float] = (0.45, 0.45, 0.45)
    std: tuple[float, float, float] = (0.225, 0.225, 0.225)

    def __post_init__(self) -> None:
        """Check the values that the backbone does not check."""
        if self.num_classes < 1:
            raise ConfigError(f"num_classes must be at least 1, got {self.num_classes}")
        _ = self.clip  # checks the rest

    @property
    def num_frames(self) -> int:
        """Frames of a clip."""
        return self.backbone.num_frames

    @property
    def height(self) -> int:
        """Input height, px."""
        return self.backbone.height

    @property
    def width(self) -> int:
        """Input width, px."""
        return self.backbone.width

    @property
    def clip_shape(self) -> tuple[int, int, int, int, int]:
        """Shape of one clip as the torch model takes it, (1, 3, T, H, W)."""
        return (1, 3, self.num_frames, self.height, self.width)

    @property
    def clip(self) -> ClipSpec:
        """What a clip is for this model, as data sets and bundles say it."""
        return ClipSpec(
            num_frames=self.num_frames, sampling_rate=self.sampling_rate, fps=float(self.fps),
            height=self.height, width=self.width, mean=self.mean, std=self.std,
        )  # fmt: skip


class BMViT(nn.Module):
    """Clips in, one triplet per token out."""

    def __init__(self, config: BMViTConfig) -> None:
        """Build the model with random weights.

        Raises:
            ConfigError: The token selection does not fit the backbone's grid.
        """
        super().__init__()
        self.config = config
        self.backbone = config.backbone.build()
        grid = cast("tuple[int, int, int]", self.backbone.out_grid)
        channels = cast(int, self.backbone.out_channels)
        self.token_selection = check_selection(config.token_selection, grid)
        self.out_grid = grid
        self.num_tokens = num_tokens(self.token_selection, grid)
        slices = num_slices(self.token_selection, grid[0])
        self.heads = DetectionHeads(channels, config.num_classes, grid[1:], config.heads, slices)
        strength = config.heads.suppression_strength
        self.suppression: NeighbourSuppression | PairSuppression | None = None
        if strength:
            if config.heads.suppression == "all":
                self.suppression = PairSuppression(strength)
            else:
                self.suppression = NeighbourSuppression(strength, grid[1:])

    def forward(self, clip_ncthw: Tensor) -> dict[str, Tensor]:
        """Predict a triplet for every token.

        Args:
            clip_ncthw: Normalised RGB clips (B, 3, T, H, W), float32.

        Returns:
            `pred_boxes` (B, N, 4) cxcywh in [0, 1], `pred_actor` (B, N) logits, `pred_actions`
            (B, N, num_classes) logits. Token index = (slice * H' + row) * W' + column.
        """
        return self.triplets(self._slices(clip_ncthw))

    def triplets(self, slices: Sequence[Tensor]) -> dict[str, Tensor]:
        """Turn the backbone's T' temporal slices (B, C, H', W') into what `forward` returns."""
        where, what = select(slices, self.token_selection)
        maps = self.heads(merge_slices(where), merge_slices(what))
        triplets = named_triplets(maps, slices[0].shape[0])
        if self.suppression is not None:
            lowered = self.suppression(triplets["pred_boxes"], triplets["pred_actor"])
            triplets["pred_actor"] = lowered
        return triplets

    def _slices(self, clip_ncthw: Tensor) -> list[Tensor]:
        forward_slices = getattr(self.backbone, "forward_slices", None)
        if forward_slices is not None:
            return list(forward_slices(clip_ncthw))
        return list(self.backbone(clip_ncthw).unbind(2))


def with_overrides(config: BMViTConfig, **overrides: object) -> BMViTConfig:
    """Return a copy with some fields changed; names not found here go to the backbone's config.

    Raises:
        ConfigError: A name is a field of neither, or a value does not fit.
    """
    own = set(BMViTConfig.__dataclass_fields__)
    of_heads = set(HeadConfig.__dataclass_fields__)
    of_backbone = set(getattr(config.backbone, "__dataclass_fields__", ()))
    unknown = sorted(set(overrides) - own - of_heads - of_backbone)
    if unknown:
        known = sorted(own | of_heads | of_backbone)
        raise ConfigError(
            f"variant {config.variant!r} has no option {unknown[0]!r}; it has "
            f"{', '.join(known)}.{did_you_mean(unknown[0], known)}"
        )
    mine: dict[str, object] = {k: v for k, v in overrides.items() if k in own}
    heads = {k: v for k, v in overrides.items() if k in of_heads and k not in own}
    backbone = {k: v for k, v in overrides.items() if k in of_backbone - own - of_heads}
    if heads:
        mine["heads"] = replace(config.heads, **heads)  # type: ignore[arg-type]
    if backbone:
        mine["backbone"] = replace(config.backbone, **backbone)  # type: ignore[type-var]
    return replace(config, **mine)  # type: ignore[arg-type]


def named_triplets(maps: tuple[Tensor, Tensor, Tensor], batch: int) -> dict[str, Tensor]:
    """Turn what the heads give, (B*S, K, H, W) each, into what `BMViT.forward` returns."""
    boxes, actor, actions = maps
    return {
        "pred_boxes": by_token(boxes, batch),
        "pred_actor": by_token(actor, batch).flatten(1),  # a delegate takes no squeeze
        "pred_actions": by_token(actions, batch),
    }


def by_token(maps: Tensor, batch: int) -> Tensor:
    """Turn (B*S, K, H, W) into (B, S*H*W, K)."""
    return maps.permute(0, 2, 3, 1).reshape(batch, -1, maps.shape[1])
