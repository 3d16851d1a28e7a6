"""The rows of the tables of methods: which model, trained how, and judged by which boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import torch

from edge.model.baselines import Detr, DetrConfig, TwoStage
from edge.model.bmvit import BMViT, BMViTConfig, with_overrides
from edge.model.variants import variant_config
from runtime.errors import ConfigError
from runtime.options import did_you_mean

Kind = Literal["ours", "detr", "two-stage", "yowov2"]
SIDE = 224
BASE: Mapping[str, object] = MappingProxyType(
    {"depths": (2,), "local_kernel": 3, "stem_taps": (16,)}
)
"""The trunk of every row but `nano`: that of `pico`, two blocks on the stem's stride 16 alone, so
that a row trains in minutes on one core."""
PAPER: Mapping[str, object] = MappingProxyType(
    {"token_selection": "halves", "suppression_strength": 0.0}
)
"""The form of the paper: two halves, nothing between tokens and detections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One trained model of a table.

    Attributes:
        name: Of its files.
        words: What the table calls it.
        kind: Which method; `yowov2` has a network and a loop of its own, and no configuration.
        variant: The backbone's variant.
        overrides: Fields of the model's configuration that differ from the variant's.
        detr: The decoder, of `detr`.
        one_to_many: Train a second set of heads with several tokens a person, dropped afterwards.
        picture_hw: Input size.
        features: The option that names the features of this size and stem.
        stem_weights: The option that names the stem's weights.
    """

    name: str
    words: str
    kind: Kind = "ours"
    variant: str = "pico"
    overrides: Mapping[str, object] = field(default_factory=dict)
    detr: DetrConfig | None = None
    one_to_many: bool = False
    picture_hw: tuple[int, int] = (SIDE, SIDE)
    features: str = "features"
    stem_weights: str = "stem_weights"

    def config(self, num_classes: int) -> BMViTConfig:
        """Return the configuration of its model."""
        height, width = self.picture_hw
        base = {} if self.variant == "nano" else BASE
        return with_overrides(
            variant_config(self.variant), num_classes=num_classes, height=height, width=width,
            **{**base, **self.overrides},
        )  # fmt: skip

    def build(self, num_classes: int, seed: int) -> BMViT:
        """Return its model with random weights that depend on the seed alone."""
        assert self.kind != "yowov2", "it is built by `_yowov2_training`"
        config = self.config(num_classes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if self.kind == "detr":
                return Detr(config, self.detr)
            return TwoStage(config) if self.kind == "two-stage" else BMViT(config)


ROWS: dict[str, Row] = {
    row.name: row
    for row in (
        Row(name="halves", words="`halves`: two halves of time", overrides=PAPER),
        Row(name="centre-mean", words="`centre_mean`: one mean of time",
            overrides={**PAPER, "token_selection": "centre_mean"}),
        Row(name="centre", words="`centre`: the keyframe's tokens alone",
            overrides={**PAPER, "token_selection": "centre"}),
        Row(name="all", words="`all`: every token", overrides={**PAPER, "token_selection": "all"}),
        Row(name="stride-32", words="`halves`, last stage at stride 32",
            overrides={**PAPER, "channels": (96, 96), "depths": (1, 1), "kv_strides": (4, 2),
                       "strides": (2,)}),
        Row(name="aspect", words="`halves`, aspect kept: 192x256", picture_hw=(192, 256),
            features="features_aspect", overrides=PAPER),
        Row(name="ours", words="ours, as shipped",
            one_to_many=True),
        Row(name="detr", words="DETR decoder, 16 queries with anchors", kind="detr",
            detr=DetrConfig()),
        Row(name="detr-plain", words="the same without anchors", kind="detr",
            detr=DetrConfig(anchors=False)),
        Row(name="two-stage", words="two-stage", kind="two-stage"),
        Row(name="tsm", words="2D CNN with temporal shift", variant="pico-tsm", one_to_many=True),
        Row(name="efficientnet", words="ours on EfficientNet-Lite0 (ImageNet)", one_to_many=True,
            features="features_efficientnet", stem_weights="efficientnet_weights",
            overrides={"stem": "efficientnet_lite0"}),
        Row(name="nano", words="`nano`", variant="nano", one_to_many=True),
        Row(name="yowov2", words="YOWOv2-Nano, from random weights", kind="yowov2"),
    )
}  # fmt: skip
TABLES: dict[str, tuple[str, ...]] = {
    "1": ("all", "centre", "centre-mean", "halves", "stride-32", "aspect"),
    "2": ("ours", "halves", "detr", "detr-plain", "two-stage", "yowov2"),
    "3": ("ours", "tsm", "efficientnet", "nano"),
}


def rows_of(table: str, only: tuple[str, ...] = ()) -> list[Row]:
    """Return the rows of a table, or some of them.

    Raises:
        ConfigError: The table has no such row.
    """
    names = TABLES[table]
    for name in only:
        if name not in names:
            raise ConfigError(
                f"table {table} has no row {name!r}.{did_you_mean(name, names)} It has "
                f"{', '.join(names)}"
            )
    return [ROWS[name] for name in names if not only or name in only]
