"""From flags to the parts of a run: data sets, model, criterion, teacher."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import cast

from edge.data.samples import ClipDataset, ClipShape
from edge.model.bmvit import BMViT, BMViTConfig, with_overrides
from edge.model.checkpoint import load_checkpoint
from edge.model.variants import from_config, variant_config
from edge.training.config import TrainOptions
from edge.training.criterion import CriterionConfig, LossForm, SetCriterion, WeakLoss
from edge.training.data import Validation, class_weights, open_training, open_validation
from edge.training.distill import DistillConfig, Distiller, check_teacher
from edge.training.initial import load_weights
from edge.training.matcher import ActorCost, HungarianMatcher, MatcherConfig
from edge.training.validate import KeptClips

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
    validation: Validation | None
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
    data = open_training(options, shape)
    validation = open_validation(options, shape, data.class_names)
    model = from_config(
        with_overrides(config, num_classes=len(data.class_names)), seed=options.seed
    )
    if options.init is not None:
        load_weights(model, options.init, data.class_names)
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
        else replace(validation, clips=KeptClips(validation.clips)),
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
    overrides: dict[str, object] = {
        name: getattr(options, name)
        for name in ("token_selection", "box_reference", "rivals", "drop_path")
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
