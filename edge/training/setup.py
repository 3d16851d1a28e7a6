"""From flags to the parts of a run: data sets, model, criterion, teacher."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge.data.cache import MemoryCache
from edge.data.dataset import ClipDataset
from edge.model.bmvit import BMViT, BMViTConfig, with_overrides
from edge.model.checkpoint import load_checkpoint
from edge.model.stem_mvit import StemMViT, StemMViTConfig
from edge.model.stem_weights import load_stem, read_stem
from edge.model.variants import from_config, variant_config
from edge.training.config import DistillOptions, TrainOptions
from edge.training.criterion import SetCriterion
from edge.training.data import class_weights, open_training, open_validation
from edge.training.distill import Distiller, check_teacher
from edge.training.features import FeatureAbout, features_of
from edge.training.initial import is_published, load_weights
from edge.training.input_options import DEFAULT_VARIANT, StartOptions
from edge.training.matcher import HungarianMatcher
from runtime.errors import ConfigError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a run is made of, still on the CPU.

    Attributes:
        model: With its first weights.
        data: What it learns from.
        validation: What it is validated on, if anything.
        criterion: Matching and losses.
        distiller: The teacher, if there is one.
        features: What the features are that it learns from; None where it learns from frames.
        first_stem_block: First block of a pretrained stem that learns.
    """

    model: BMViT
    data: ClipDataset
    validation: ClipDataset | None
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
    matcher = HungarianMatcher(options.matcher)
    weights = class_weights(data, options.losses.class_balance)
    return Parts(
        model=model,
        data=data,
        validation=None if validation is None else MemoryCache(validation),
        criterion=SetCriterion(matcher, replace(options.criterion, class_weights=weights)),
        distiller=_distiller(options.distill, matcher, model.config, data.class_names),
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
    if options.start.init is not None:
        load_weights(model, options.start.init, class_names)
    elif isinstance(model.backbone, StemMViT):
        _load_stem(model.backbone, options.start)
    return model


def _load_stem(backbone: StemMViT, options: StartOptions) -> None:
    if options.stem_weights is None:
        raise ConfigError(
            f"{options.name} begins with a pretrained stem: give --stem-weights STEM.pt (made by "
            "`edge pretrained`), or --init MODEL.pt to go on with a model"
        )
    if options.stem_weights == "random":
        logger.warning("the stem begins with random weights, as asked")
        return
    found = load_stem(backbone.stem, Path(options.stem_weights))
    logger.info("stem %s from %s, %s", found.name, found.source, found.licence)


def _stem_of_weights(config: BMViTConfig, start: StartOptions) -> dict[str, object]:
    """Return the network that `--stem-weights` are of; nothing where no file is read."""
    path = start.stem_weights
    if not isinstance(config.backbone, StemMViTConfig) or start.init is not None:
        return {}
    return {} if path is None or path == "random" else {"stem": read_stem(Path(path)).name}


def _first_stem_block(model: BMViT, options: TrainOptions, features: FeatureAbout | None) -> int:
    """Return the first block of the stem that learns; behind the last where none does."""
    if not isinstance(model.backbone, StemMViT):
        return 0
    count = len(model.backbone.stem.blocks)
    if options.optimizer.stem_lr == 0:
        return count
    first = 0 if features is None else features.cut
    if first >= count:
        raise ConfigError(
            f"--stem-lr {options.optimizer.stem_lr:g}: these features are of the whole stem, so "
            "that no block of it can learn; use --stem-lr 0, or features made with --stem-cut"
        )
    return first


def model_config(options: TrainOptions) -> BMViTConfig:
    """Return the configuration of a run's model, but for its classes."""
    start, overrides = options.start, options.model.overrides
    published = start.init is not None and is_published(start.init)
    variant, config = start.model, None
    if start.init is not None and not published:
        config = load_checkpoint(start.init).config
        variant = variant or config.variant
    variant = variant or ("small" if published else DEFAULT_VARIANT)
    if config is None or config.variant != variant:  # a smaller one is grown
        config = variant_config(variant)
    overrides |= _stem_of_weights(config, start)
    if start.picture_hw is not None:
        height, width = start.picture_hw
        overrides |= {"height": height, "width": width}
    return with_overrides(config, **overrides)


def _distiller(
    options: DistillOptions,
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
    return Distiller(teacher.model, matcher, options)
