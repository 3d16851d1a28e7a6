"""The named variants, and the one function that builds a model from a name.

| variant | backbone | for |
|---|---|---|
| `pico`, `nano`, `tiny` | `stem_mvit.py`, MViT on a pretrained per-frame stem | int8 engines |
| the same with `-scratch` | `compact.py`, without a pretrained stem | int8 engines |
| `small` | `mvit.py`, MViTv2-S 16x4, last stage kept at stride 16 | published weights |
| `pico-tsm`, `nano-tsm` | `backbones/tsm.py`, a 2D CNN with temporal shift | comparison |
| `x3d-s` | `backbones/x3d.py`, X3D-S | comparison |
"""

from __future__ import annotations

import torch

from edge.model.backbones import BACKBONES
from edge.model.bmvit import BMViT, BMViTConfig, with_overrides
from edge.model.selection import TokenSelection
from runtime.errors import ConfigError
from runtime.options import did_you_mean

VARIANTS: dict[str, BMViTConfig] = {
    name: config for row in BACKBONES.values() for name, config in row.variants.items()
}


def variant_config(variant: str) -> BMViTConfig:
    """Return the configuration of a named variant (with one class, to be overridden).

    Raises:
        ConfigError: No variant has that name.
    """
    if variant not in VARIANTS:
        raise ConfigError(
            f"unknown variant {variant!r}; expected one of "
            f"{', '.join(VARIANTS)}.{did_you_mean(variant, VARIANTS)}"
        )
    return VARIANTS[variant]


def build_model(
    variant: str,
    *,
    num_classes: int,
    token_selection: TokenSelection | None = None,
    seed: int | None = None,
    **overrides: object,
) -> BMViT:
    """Build a model with random weights.

    Args:
        variant: `pico`, `nano`, `tiny` or `small`.
        num_classes: Actions.
        token_selection: Which tokens become triplets; None keeps the variant's own (`halves`).
        seed: Makes the weights the same each time; the global random state stays untouched.
        **overrides: Any field of `BMViTConfig`, `HeadConfig` or the backbone's configuration.

    Raises:
        ConfigError: The name or an option is unknown, or the values do not fit together.

    Example:
        >>> import torch
        >>> model = build_model("pico", num_classes=4, seed=0).eval()
        >>> with torch.inference_mode():
        ...     outputs = model(torch.zeros(model.config.clip_shape))
        >>> {name: tuple(value.shape) for name, value in outputs.items()}
        {'pred_boxes': (1, 144, 4), 'pred_actor': (1, 144), 'pred_actions': (1, 144, 4)}
    """
    overrides["num_classes"] = num_classes
    if token_selection is not None:
        overrides["token_selection"] = token_selection
    return from_config(with_overrides(variant_config(variant), **overrides), seed=seed)


def from_config(config: BMViTConfig, *, seed: int | None = None) -> BMViT:
    """Build a model from its configuration, with random weights; `seed` as in `build_model`."""
    if seed is None:
        return BMViT(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BMViT(config)


def with_suppression(model: BMViT, strength: float) -> BMViT:
    """Return a model with the same weights and another strength of suppression."""
    changed = from_config(with_overrides(model.config, suppression_strength=strength))
    changed.load_state_dict(model.state_dict())
    return changed
