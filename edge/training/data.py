"""The clips of a run, from its flags: training and validation data."""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edge.data.augment import Augmented
from edge.data.cache import DiskCache
from edge.data.concat import ConcatDataset
from edge.data.dataset import ClipDataset
from edge.data.distractors import WithDistractors
from edge.data.problems import several
from edge.data.registry import is_drawn, open_dataset, split_mix
from edge.data.remap import AddPersonClass, joined, judged
from edge.labelling.ignored import (
    LabelledPeople,
    boxes_actors_only,
    ignoring,
    open_labelled,
)
from edge.training.config import TrainOptions
from edge.training.features import FeatureClips
from runtime.errors import ConfigError
from runtime.types import ClipSpec

logger = logging.getLogger(__name__)

# A class that occurs a thousand times as seldom is not to drown all others in noise.
MOST_BALANCE = 10.0

FEATURES = "features:"
"""Begins the name of a folder that `edge features` made."""


def open_training(options: TrainOptions, shape: ClipSpec) -> ClipDataset:
    """Open what `--data` names: one data set, or several as one.

    Raises:
        ConfigError: A word names no data set, or a cache holds other clips.
    """
    words = split_mix(options.clips.data)
    if options.clips.bystanders == "actors" and not any(is_drawn(word) for word, _ in words):
        raise ConfigError(
            f"--bystanders actors is about drawn clips, and --data {options.clips.data} has none; "
            "name synthetic-train beside it, or leave --bystanders away"
        )
    named = [word for word, _ in words]
    # The flag may concern the validation data only.
    judged = [] if options.val_data is None else [options.val_data]
    people = open_labelled(options.clips.ignore_people, [*named, *judged])
    if len(words) == 1 and words[0][1] == 1:
        return _open_part(options, words[0][0], shape, options.run.cache, people)
    parts: list[tuple[ClipDataset, int]] = []
    for word, times in words:
        folder = (
            None if options.run.cache is None else str(Path(options.run.cache) / _folder_of(word))
        )
        dataset = _open_part(options, word, shape, folder, people)
        parts.append((dataset, times))
        logger.info("%s: %d clips, %d times; classes: %s", word, len(dataset), times,
                    several(dataset.class_names, 8))  # fmt: skip
    return ConcatDataset(parts)


def _folder_of(word: str) -> str:
    """Return the name of the folder that keeps a part: readable, and no other part's."""
    readable = re.sub(r"[^A-Za-z0-9]+", "_", word)[-40:].strip("_")
    return f"{readable}-{zlib.crc32(word.encode()):08x}"


def _open_part(
    options: TrainOptions, word: str, shape: ClipSpec, cache: str | None,
    people: LabelledPeople | None,
) -> ClipDataset:  # fmt: skip
    """Open one data set, kept in a folder as it is, and then changed anew in each pass."""
    if word.startswith(FEATURES):
        exclude = excluded_videos(options.exclude_videos)
        features = FeatureClips(Path(word.removeprefix(FEATURES)), exclude)
        return joined(features, features.about.spec, options.clips.classes)
    augments = options.augment.applies_to(word)
    read = _larger(shape, options.augment.read_scale) if augments else shape
    data = open_dataset(word, read, seed=options.seed, part="train")
    data = ignoring(data, word, people)
    if cache is not None and data.changes_by_epoch:
        logger.info("%s changes in each pass: it is not kept in --cache", word)
    elif cache is not None:
        spec = f"{word} (seed {options.seed})"
        data = DiskCache(data, cache, shape=read, spec=spec)
    if options.clips.bystanders == "actors" and is_drawn(word):
        data = AddPersonClass(data)
    data = joined(data, word, options.clips.classes)
    if not augments:
        return data
    if options.augment.distractors is not None:
        folder = Path(options.augment.distractors)
        data = WithDistractors(
            data, folder, share=options.augment.distractor_share, seed=options.seed
        )
    size_hw = (shape.height, shape.width)
    return Augmented(data, options.augment.changes, seed=options.seed, size_hw=size_hw)


def excluded_videos(path: str | None) -> frozenset[str]:
    """Read `--exclude-videos`: a video a line, as the data set calls it.

    Raises:
        ConfigError: The file cannot be read or names nothing.
    """
    if path is None:
        return frozenset()
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"--exclude-videos {path} cannot be read: {error}") from error
    names = frozenset(line.strip() for line in lines if line.strip())
    if not names:
        raise ConfigError(f"--exclude-videos {path} is empty, expected a video a line")
    return names


def _larger(shape: ClipSpec, scale: float) -> ClipSpec:
    return replace(shape, height=round(shape.height * scale), width=round(shape.width * scale))


def open_validation(
    options: TrainOptions, shape: ClipSpec, class_names: Sequence[str]
) -> ClipDataset | None:
    """Open what a run is validated on, if anything.

    Raises:
        ConfigError: It has a class that the model does not learn.
    """
    if options.val_data is None:
        return None
    # The first clips of real videos are those of a few videos: the limit spreads them.
    clips: ClipDataset
    spec = options.val_data
    if spec.startswith(FEATURES):
        clips = FeatureClips(Path(spec.removeprefix(FEATURES)))
        spec = clips.about.spec
    else:
        clips = open_dataset(spec, shape, limit=options.validation.val_clips or None)
    people = options.clips.ignore_people
    if people is not None and boxes_actors_only(options.val_data):
        clips = ignoring(clips, options.val_data, LabelledPeople(Path(people)))
    clips, _ = judged(clips, spec, class_names, options.clips.classes)
    unknown = [name for name in clips.class_names if name not in class_names]
    if unknown:
        raise ConfigError(
            f"--val-data {options.val_data} has other classes than --data {options.clips.data}: "
            f"{several(unknown)}; expected some of {several(class_names, 20)}"
        )
    left_out = [name for name in class_names if name not in clips.class_names]
    if left_out:
        logger.info("%s does not know %s: left out of the validation",
                    options.val_data, several(left_out, 20))  # fmt: skip
    return clips


def class_weights(dataset: ClipDataset, exponent: float) -> tuple[float, ...]:
    """Return what a positive of each class weighs: rare ones more, common ones less.

    (median count / count) ^ exponent, a tenth to ten. A class whose count is not known weighs 1.

    Args:
        dataset: What is learned from.
        exponent: 0 leaves all classes alike, and then nothing is returned.
    """
    if exponent == 0:
        return ()
    counts = dataset.class_counts
    known = sorted(count for count in counts.values() if count > 0)
    if not known:
        logger.warning("--class-balance: how often the classes occur is not known here; all weigh "
                       "alike")  # fmt: skip
        return ()
    middle = (known[(len(known) - 1) // 2] + known[len(known) // 2]) / 2
    weights = [
        min(max((middle / counts[name]) ** exponent, 1 / MOST_BALANCE), MOST_BALANCE)
        if counts.get(name, 0) > 0
        else 1.0
        for name in dataset.class_names
    ]
    logger.info("a positive weighs %s", ", ".join(
        f"{weight:.2f} ({name})" for name, weight in zip(dataset.class_names, weights, strict=True)
    ))  # fmt: skip
    return tuple(weights)
