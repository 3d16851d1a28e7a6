"""From flags to the parts of a run: data sets, model, criterion, teacher."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from edge.data.cache import MemoryCache
from edge.data.samples import ClipDataset
from edge.model.bmvit import BMViT, BMViTConfig, with_overrides
from edge.model.checkpoint import load_checkpoint
from edge.model.stem_mvit import StemMViT
from edge.model.stem_weights import load_stem
from edge.model.variants import from_config, variant_config
from edge.training.config import TrainOptions
from edge.training.criterion import CriterionConfig, LossForm, SetCriterion, WeakLoss
from edge.training.data import Validation, class_weights, open_training, open_validation
from edge.training.distill import DistillConfig, Distiller, check_teacher
from edge.training.features import FeatureAbout, features_of
from edge.training.initial import load_weights
from edge.training.matcher import ActorCost, HungarianMatcher, MatcherConfig
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
        features: What the features are that it learns from; None where it learns from frames.
        first_stem_block: First block of a pretrained stem that learns.
    """

    model: BMViT
    data: ClipDataset
    validation: Validation | None
    criterion: SetCriterion
    distiller: Distiller | None
    features: FeatureAbout | None
    first_stem_block: int


def build_parts(options: TrainOptions) -> Parts:
    """Build everything that the flags name.

    Raises:
        ConfigError: A data set or weights do not fit the model.
        ArtifactError: A checkpoint is missing or broken.
    """
    shape = model_config(options).clip
    data = open_training(options, shape)
    validation = open_validation(options, shape, data.class_names)
    model = initial_model(options, data.class_names)
    features = features_of(data)
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
            weak_loss=cast(WeakLoss, options.weak_loss),
            class_weights=class_weights(data, options.class_balance),
        ),
    )
    return Parts(
        model=model,
        data=data,
        validation=validation
        if validation is None
        else replace(validation, clips=MemoryCache(validation.clips)),
        criterion=criterion,
        distiller=_distiller(options, matcher, model.config, data.class_names),
        features=features,
        first_stem_block=_first_stem_block(model, options, features),
    )


def initial_model(options: TrainOptions, class_names: Sequence[str]) -> BMViT:
    """Return the model of a run with its first weights.

    Raises:
        ConfigError: Weights do not fit the model, or the stem has none.
        ArtifactError: A file is missing or broken.
    """
    config = with_overrides(model_config(options), num_classes=len(class_names))
    model = from_config(config, seed=options.seed)
    if options.init is not None:
        load_weights(model, options.init, class_names)
    elif isinstance(model.backbone, StemMViT):
        _load_stem(model.backbone, options)
    return model


def _load_stem(backbone: StemMViT, options: TrainOptions) -> None:
    if options.stem_weights is None:
        raise ConfigError(
            f"{options.model} begins with a pretrained stem: give --stem-weights STEM.pt (made by "
            "`edge pretrained`), or --init MODEL.pt to go on with a model"
        )
    if options.stem_weights == "random":
        logger.warning("the stem begins with random weights, as asked")
        return
    found = load_stem(backbone.stem, Path(options.stem_weights))
    logger.info("stem %s from %s, %s", found.name, found.source, found.licence)


def _first_stem_block(model: BMViT, options: TrainOptions, features: FeatureAbout | None) -> int:
    """Return the first block of the stem that learns; behind the last where none does."""
    if not isinstance(model.backbone, StemMViT):
        return 0
    count = len(model.backbone.stem.blocks)
    if options.stem_lr == 0:
        return count
    first = 0 if features is None else features.cut
    if first >= count:
        raise ConfigError(
            f"--stem-lr {options.stem_lr:g}: these features are of the whole stem, so that no "
            "block of it can learn; use --stem-lr 0, or features made with --stem-cut"
        )
    return first


def model_config(options: TrainOptions) -> BMViTConfig:
    """Return the configuration of a run's model, but for its classes."""
    config = None if options.init is None else load_checkpoint(options.init).config
    if config is None or config.variant != options.model:  # a smaller one is grown
        config = variant_config(options.model)
    overrides: dict[str, object] = {
        name: getattr(options, name)
        for name in ("token_selection", "box_reference", "rivals", "suppression", "drop_path")
        if getattr(options, name) is not None
    }
    if options.picture_hw is not None:
        height, width = options.picture_hw
        overrides |= {"height": height, "width": width}
    return with_overrides(config, **overrides)


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
