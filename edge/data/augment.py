"""Clips that differ from pass to pass, each a function of its number alone.

Four clips set side by side (`mosaic`) are what is mixed, not two clips blended (mixup). Learning
from random weights, Hungarian matching gives one token a person, of hundreds that stay silent:
a mosaic brings four times the people into a clip, in other sizes, at other places and before other
backgrounds, each of them opaque and with whole labels, as on the device. Blended people are half
transparent, which no camera shows, and want labels between 0 and 1, which the matching does not
know.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import numpy as np

from edge.data.dataset import ClipDataset, WrappedDataset
from edge.data.samples import ClipSample
from edge.data.transforms import (
    Colours,
    Window,
    crop,
    flip,
    mirror_pairs,
    mosaic,
    recolour,
    resize,
    shares_kept,
)
from runtime.errors import ConfigError
from runtime.options import option

# How often another window is tried where one would lose everybody.
_TRIES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """How clips are changed while a model learns.

    Attributes:
        flip: Probability of a mirror image; classes that differ by "left" and "right" change
            places.
        flip_pairs: Further pairs of classes that do, by name.
        scale_low: Smallest factor on the size of people.
        scale_high: Largest.
        aspect: Largest factor between width and height; 1 keeps it.
        keep: A person of whose box less than this share stays in the picture is dropped.
        brightness: Largest change of brightness, as a share.
        contrast: Largest change of contrast, as a share.
        saturation: Largest change of saturation, as a share.
        hue: Largest turn of the colour circle, as a share of it.
        mosaic: Probability that four clips are set side by side.
    """

    flip: float = option(0.5, "with --augment: probability of a mirror image")
    flip_pairs: tuple[tuple[str, str], ...] = ()
    scale_low: float = option(0.75, "with --augment: smallest factor on the size of people")
    scale_high: float = option(1.33, "with --augment: largest factor on the size of people")
    aspect: float = 1.2
    keep: float = 0.4
    brightness: float = 0.25
    contrast: float = 0.25
    saturation: float = 0.25
    hue: float = 0.02
    mosaic: float = option(0.25, "with --augment: probability of a mosaic of four clips")

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "flip_pairs" and not math.isfinite(value):
                raise ConfigError(f"{field.name} is {value}, expected a number")
        for name in ("flip", "mosaic", "keep", "brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 0 to 1")
        if not 0.1 <= self.scale_low <= self.scale_high <= 10:
            raise ConfigError(
                f"scale_low is {self.scale_low} and scale_high {self.scale_high}; expected "
                "0.1 <= scale_low <= scale_high <= 10"
            )
        if not 1 <= self.aspect <= 4:
            raise ConfigError(f"aspect is {self.aspect}, expected 1 to 4")
        if not 0 <= self.hue <= 0.5:
            raise ConfigError(f"hue is {self.hue}, expected 0 to 0.5")

    @staticmethod
    def none() -> AugmentConfig:
        """Return what changes nothing."""
        return AugmentConfig(flip=0, scale_low=1, scale_high=1, aspect=1, brightness=0, contrast=0,
                             saturation=0, hue=0, mosaic=0)  # fmt: skip


class Augmented(WrappedDataset):
    """A data set whose clips are changed, anew in each pass over it."""

    def __init__(
        self, dataset: ClipDataset, config: AugmentConfig, *, seed: int = 0,
        size_hw: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        """Change the clips of a data set.

        Args:
            dataset: The clips.
            config: How they are changed.
            seed: Of all changes.
            size_hw: Rows and columns of the result; those of the clips by default. Larger clips
                leave pixels for windows that enlarge.

        Raises:
            ConfigError: A pair to flip is no pair of classes.
        """
        super().__init__(dataset)
        self.config, self.seed, self.size_hw = config, seed, size_hw
        self.changes_by_epoch = True
        self._pairs = _pairs(config, dataset.class_names)

    def clip(self, index: int, epoch: int = 0) -> ClipSample:
        """Return clip `index` as a pass changes it."""
        index = self.checked(index)
        random = np.random.default_rng([self.seed, epoch, index])
        if random.random() < self.config.mosaic:
            sample = self._mosaic(index, epoch, random)
        else:
            sample = self._one(index, epoch, random)
        if epoch == 0 or self.dataset.changes_by_epoch:
            return sample
        return replace(sample, clip_id=f"{sample.clip_id}@{epoch}")

    def _one(self, index: int, epoch: int, random: np.random.Generator) -> ClipSample:
        """Flip, cut and recolour one clip."""
        sample = self._flipped(self.dataset.clip(index, epoch), random)
        rows, columns = sample.frames_rgb.shape[1:3]
        height, width = self.size_hw or (rows, columns)
        window = self._window(sample, (columns, rows), random)
        if window == Window(x=0, y=0, width=columns, height=rows):
            sample = resize(sample, height, width)
        else:
            sample = crop(sample, window, keep=self.config.keep, height=height, width=width)
        return recolour(sample, self._colours(random))

    def _mosaic(self, index: int, epoch: int, random: np.random.Generator) -> ClipSample:
        """Set a clip beside three others; each has its own flip and colours."""
        others = random.integers(len(self), size=3).tolist()
        samples = [
            recolour(self._flipped(self.dataset.clip(one, epoch), random), self._colours(random))
            for one in (index, *others)
        ]
        shape = samples[0].frames_rgb.shape
        height, width = self.size_hw or shape[1:3]
        if (height, width) != shape[1:3]:
            samples = [resize(sample, height, width) for sample in samples]
        split = (_between(random, 0.35, 0.65, width), _between(random, 0.35, 0.65, height))
        # Cells are about half as wide and high: windows of 0.6 to 1 of a clip make up for a part.
        windows = []
        for sample, cell in zip(samples, _cells(split, width, height), strict=True):
            scale = random.uniform(0.6, 1.0)
            wide = scale * (2 * cell[0] / width) ** 0.5
            high = scale * (2 * cell[1] / height) ** 0.5
            box = (min(1.0, wide) * width, min(1.0, high) * height)
            windows.append(_placed(sample, box, (width, height), self.config.keep, random))
        return mosaic(samples, windows, split, keep=self.config.keep)

    def _flipped(self, sample: ClipSample, random: np.random.Generator) -> ClipSample:
        return flip(sample, self._pairs) if random.random() < self.config.flip else sample

    def _window(
        self, sample: ClipSample, size_wh: tuple[int, int], random: np.random.Generator
    ) -> Window:
        """Draw a window that changes the size of people by the factors asked for."""
        config = self.config
        scale = math.exp(random.uniform(math.log(config.scale_low), math.log(config.scale_high)))
        aspect = math.exp(random.uniform(-1, 1) * math.log(config.aspect) / 2)
        box = (size_wh[0] / scale * aspect, size_wh[1] / scale / aspect)
        return _placed(sample, box, size_wh, config.keep, random)

    def _colours(self, random: np.random.Generator) -> Colours:
        config = self.config
        factors = (config.brightness, config.contrast, config.saturation)
        brightness, contrast, saturation = (1 + random.uniform(-1, 1) * most for most in factors)
        return Colours(brightness=brightness, contrast=contrast, saturation=saturation,
                       hue=random.uniform(-1, 1) * config.hue)  # fmt: skip


def _placed(
    sample: ClipSample, box_wh: tuple[float, float], size_wh: tuple[int, int], keep: float,
    random: np.random.Generator,
) -> Window:  # fmt: skip
    """Place a window at random: inside the frame, or around it where it is larger.

    A window that would lose everybody is drawn again a few times; and, where somebody does what
    nobody knows who, one that would lose anybody, since then nobody knows whether.
    """
    width, height = (max(1, round(side)) for side in box_wh)
    window = None
    whole = bool((sample.bag_id >= 0).any())
    for _ in range(_TRIES):
        left, top = (
            int(random.integers(min(0, free), max(0, free) + 1))
            for free in (size_wh[0] - width, size_wh[1] - height)
        )
        window = Window(x=left, y=top, width=width, height=height)
        shares = shares_kept(sample.boxes, window, size_wh)
        stay = (shares > 0) & (shares >= keep)
        if not len(shares) or (stay.all() if whole else (shares >= keep).any()):
            break
    assert window is not None
    return window


def _cells(split: tuple[int, int], width: int, height: int) -> list[tuple[int, int]]:
    """Return width and height of the four cells, in reading order."""
    x, y = split
    return [(x, y), (width - x, y), (x, height - y), (width - x, height - y)]


def _between(random: np.random.Generator, low: float, high: float, size: int) -> int:
    return min(max(1, round(random.uniform(low, high) * size)), size - 1)


def _pairs(config: AugmentConfig, class_names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Return the classes that change places in a mirror image.

    Raises:
        ConfigError: A named one is no class, or is in two pairs.
    """
    pairs = list(mirror_pairs(class_names))
    for names in config.flip_pairs:
        unknown = [name for name in names if name not in class_names]
        if unknown or len(names) != 2:
            raise ConfigError(f"the pair to flip {names} names {unknown or 'not two'}; expected "
                              "two of the data set's classes")  # fmt: skip
        pair = (class_names.index(names[0]), class_names.index(names[1]))
        if pair not in pairs and pair[::-1] not in pairs:
            pairs.append(pair)
    used = [number for pair in pairs for number in pair]
    if len(set(used)) != len(used):
        raise ConfigError("a class is in two pairs to flip, or its own pair; expected one at most")
    return tuple(pairs)
