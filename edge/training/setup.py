"""From flags to the parts of a run: data sets, model, criterion, teacher."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from torch import Tensor

from edge.data.augment import AugmentConfig, Augmented
from edge.data.cached import CachedClips
from edge.data.registry import open_dataset
from edge.data.samples import ClipDataset, ClipShape
from edge.model.bmvit import BMViT, BMViTConfig, with_overrides
from edge.model.checkpoint import load_checkpoint
from edge.model.variants import from_config, variant_config
from edge.training.config import TrainOptions
from edge.training.criterion import CriterionConfig, LossForm, SetCriterion
from edge.training.distill import DistillConfig, Distiller, check_teacher
from edge.training.grow import grow
from edge.training.matcher import ActorCost, HungarianMatcher, MatcherConfig
from edge.training.validate import KeptClips
from runtime.errors import ConfigError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a run is made of, still on the CPU.

    Attributes:
        model: With its first weights.
        data: What it learns from.
        validation: What it is judged by, if anything.
        criterion: Matching and losses.
        distiller: The teacher, if there is one.
    """

    model: BMViT
    data: ClipDataset
    validation: ClipDataset | None
    criterion: SetCriterion
    distiller: Distiller | None


def build_parts(options: TrainOptions) -> Parts:
    """Build everything that the flags name.

    Raises:
        ConfigError: A data set or weights do not fit the model.
        ArtifactError: A checkpoint is missing or broken.
    """
    config = _config(options)
    shape = clip_shape(config)
    data = open_dataset(options.data, shape, seed=options.seed, part="train")
    if options.cache is not None:
        spec = f"{options.data} (seed {options.seed})"
        data = CachedClips(data, options.cache, shape=shape, spec=spec)
    if options.augments:
        changes = AugmentConfig(flip=options.flip, mosaic=options.mosaic)
        data = Augmented(data, changes, seed=options.seed)
    # The first clips of real videos are those of a few videos: the limit spreads them.
    validation = (
        open_dataset(options.validation, shape, limit=options.val_clips or None)
        if options.validation
        else None
    )
    if validation is not None and validation.class_names != data.class_names:
        raise ConfigError(
            f"--val-data {options.validation} has other classes than --data {options.data}"
        )
    model = from_config(
        with_overrides(config, num_classes=len(data.class_names)), seed=options.seed
    )
    if options.init is not None:
        _load_weights(model, options.init, data.class_names)
    matcher = HungarianMatcher(
        MatcherConfig(
            set_cost_class=options.set_cost_class,
            set_cost_bbox=options.set_cost_bbox,
            set_cost_giou=options.set_cost_giou,
            actor_cost=cast(ActorCost, options.actor_cost),
        )
    )
    criterion = SetCriterion(
        matcher,
        CriterionConfig(
            loss_actor=options.loss_actor,
            loss_bbox=options.loss_bbox,
            loss_giou=options.loss_giou,
            loss_action=options.loss_action,
            actor_loss=cast(LossForm, options.actor_loss),
            action_loss=cast(LossForm, options.action_loss),
            eos_coef=options.eos_coef,
            rival_weight=options.rival_weight,
        ),
    )
    return Parts(
        model=model,
        data=data,
        validation=None if validation is None else KeptClips(validation),
        criterion=criterion,
        distiller=_distiller(options, matcher, model.config, data.class_names),
    )


def clip_shape(config: BMViTConfig) -> ClipShape:
    """Return what a model asks of a data set."""
    return ClipShape(
        num_frames=config.num_frames,
        height=config.height,
        width=config.width,
        sampling_rate=config.sampling_rate,
        fps=config.fps,
    )


def _config(options: TrainOptions) -> BMViTConfig:
    config = None if options.init is None else load_checkpoint(options.init).config
    if config is None or config.variant != options.model:  # a smaller one is grown
        config = variant_config(options.model)
    overrides = {
        name: getattr(options, name)
        for name in ("token_selection", "box_reference", "drop_path")
        if getattr(options, name) is not None
    }
    return with_overrides(config, **overrides)


def _load_weights(model: BMViT, path: str, class_names: tuple[str, ...]) -> None:
    """Copy the weights of a checkpoint, but for the action scores where the classes differ."""
    checkpoint = load_checkpoint(path)
    if checkpoint.config.variant != model.config.variant:
        if checkpoint.class_names != class_names:
            raise ConfigError(
                f"--init {path} knows other actions; train a {checkpoint.config.variant} on these "
                f"first, and grow it then"
            )
        grow(checkpoint.model, model)
        return
    weights, mine = checkpoint.model.state_dict(), model.state_dict()
    if checkpoint.class_names != class_names:
        fresh = [n for n in mine if n.startswith("heads.actions") and _last(n, model)]
        _begin_anew(weights, mine, fresh)
        logger.warning(
            "%s knows other actions: the last layer of the action head begins anew", path
        )
    if checkpoint.config.token_selection != model.config.token_selection:
        _begin_anew(weights, mine, [n for n in (*weights, *mine) if n.startswith("heads.slice_")])
        logger.warning(
            "%s has other tokens (%s): what tells slices apart begins anew",
            path,
            checkpoint.config.token_selection,
        )
    if checkpoint.config.heads.box_reference != model.config.heads.box_reference:
        _begin_anew(weights, mine, [n for n in mine if n.startswith("heads.box.")])
        logger.warning("%s has other boxes: the box head begins anew", path)
    model.load_state_dict(weights)


def _begin_anew(
    weights: dict[str, Tensor], mine: Mapping[str, Tensor], names: Iterable[str]
) -> None:
    """Put the model's own first values in the place of some weights; what it lacks goes."""
    for name in names:
        if name in mine:
            weights[name] = mine[name]
        else:
            weights.pop(name, None)


def _last(name: str, model: BMViT) -> bool:
    parameter = dict(model.named_parameters())[name]
    last = model.heads.actions.last
    return parameter is last.weight or parameter is last.bias


def _distiller(
    options: TrainOptions,
    matcher: HungarianMatcher,
    student: BMViTConfig,
    class_names: tuple[str, ...],
) -> Distiller | None:
    if options.teacher is None:
        return None
    teacher = load_checkpoint(options.teacher)
    check_teacher(teacher.config, teacher.class_names, student, class_names)
    if not teacher.trained:
        logger.warning("the teacher %s was never trained", options.teacher)
    config = DistillConfig(
        logits=options.distill_logits,
        boxes=options.distill_boxes,
        features=options.distill_features,
    )
    return Distiller(teacher.model, matcher, config)
