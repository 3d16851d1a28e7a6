"""First weights of a run: those of a checkpoint, as far as they fit."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from edge.data.problems import several
from edge.model.bmvit import BMViT, with_overrides
from edge.model.checkpoint import load_checkpoint
from edge.model.pretrained import load_pretrained
from edge.model.variants import from_config
from edge.training.grow import grow
from runtime.errors import ConfigError

logger = logging.getLogger(__name__)


PUBLISHED_SUFFIXES = (".pyth", ".pth")


def is_published(path: str) -> bool:
    """Tell whether a file is of PySlowFast or torchvision, and not one of our own, by its name."""
    return Path(path).suffix in PUBLISHED_SUFFIXES


def load_weights(model: BMViT, path: str, class_names: Sequence[str]) -> None:
    """Copy the weights of a checkpoint, grown where it is of a smaller variant.

    Published Kinetics weights (.pyth, .pth) go into the backbone; the heads begin anew.

    Of the last layer of the action head, the rows of classes that both know by the same name are
    kept; those of other classes begin anew, as do the parts that tokens and boxes of another kind
    need.

    Raises:
        ConfigError: A larger model cannot be grown from it.
        ArtifactError: The checkpoint is missing or broken.
    """
    if is_published(path):
        load_pretrained(model, path)
        return
    checkpoint = load_checkpoint(path)
    source = checkpoint.model
    if checkpoint.config.variant != model.config.variant:
        classes = checkpoint.config.num_classes
        source = from_config(with_overrides(model.config, num_classes=classes))
        grow(checkpoint.model, source)
    weights, mine = source.state_dict(), model.state_dict()
    if tuple(checkpoint.class_names) != tuple(class_names):
        _choose_rows(weights, mine, _last_layer(model), checkpoint.class_names, class_names, path)
    if source.config.token_selection != model.config.token_selection:
        _begin_anew(weights, mine, [n for n in (*weights, *mine) if n.startswith("heads.slice_")])
        logger.warning(
            "%s has other tokens (%s): what tells slices apart begins anew",
            path,
            source.config.token_selection,
        )
    if source.config.heads.box_reference != model.config.heads.box_reference:
        _begin_anew(weights, mine, [n for n in mine if n.startswith("heads.box.")])
        logger.warning("%s has other boxes: the box head begins anew", path)
    _check_shapes(weights, mine, source, model, path)
    model.load_state_dict(weights)


def _check_shapes(
    weights: Mapping[str, Tensor], mine: Mapping[str, Tensor], source: BMViT, model: BMViT,
    path: str,
) -> None:  # fmt: skip
    """Refuse weights that are made for pictures of one size, where the model's has another.

    Those of the compact variants are not; `small` has a table of relative positions.
    """
    before, after = source.config, model.config
    bound = [name for name in weights if weights[name].shape != mine[name].shape]
    if bound and (before.height, before.width) != (after.height, after.width):
        raise ConfigError(
            f"{path} has weights ({bound[0]}) for pictures of {before.height}x{before.width} "
            f"alone, and --imgsz asks for {after.height}x{after.width}; leave --imgsz away"
        )


def _choose_rows(
    weights: dict[str, Tensor],
    mine: Mapping[str, Tensor],
    layer: Iterable[str],
    before: Sequence[str],
    after: Sequence[str],
    path: str,
) -> None:
    """Put a layer's rows in the order of other classes, new ones with the model's first values."""
    kept = [name for name in after if name in before]
    rows = [list(after).index(name) for name in kept]
    sources = [list(before).index(name) for name in kept]
    for name in layer:
        chosen = mine[name].clone()
        chosen[rows] = weights[name][sources]
        weights[name] = chosen
    fresh = [name for name in after if name not in before]
    gone = [name for name in before if name not in after]
    logger.warning(
        "%s knows other actions; in the last layer of the action head %s%s%s", path,
        f"{len(kept)} are kept" if kept else "none is kept",
        f", anew begin: {several(fresh, 20)}" if fresh else "",
        f", left out are: {several(gone, 20)}" if gone else "",
    )  # fmt: skip


def _last_layer(model: BMViT) -> list[str]:
    """Return the names of the weights of the action head's last layer."""
    last = model.heads.actions.last
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter is last.weight or parameter is last.bias
    ]


def _begin_anew(
    weights: dict[str, Tensor], mine: Mapping[str, Tensor], names: Iterable[str]
) -> None:
    """Put the model's own first values in the place of some weights; what it lacks goes."""
    for name in names:
        if name in mine:
            weights[name] = mine[name]
        else:
            weights.pop(name, None)
