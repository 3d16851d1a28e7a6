"""Flags of `edge train` and `edge features` on the model, what it starts from, and its clips."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from edge.data.augment import AugmentConfig
from edge.data.registry import is_drawn
from edge.training.loss_options import Section
from runtime.errors import ConfigError
from runtime.options import check_options, option, section

DEFAULT_VARIANT = "nano"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """Which model, and what it starts from."""

    model: str | None = option(
        None, "variant: pico, nano, tiny, one of these with -scratch, small, or one from "
              "edge/model/backbones; by default that of --init, else nano", metavar="NAME",
    )  # fmt: skip
    init: str | None = option(
        None, "weights to start from; those of a smaller variant are grown to --model, published "
        "Kinetics weights of MViTv2-S (.pyth, .pth) go into small",
        metavar="MODEL.pt",
    )  # fmt: skip
    stem_weights: str | None = option(
        None, "pretrained weights of the stem from `edge pretrained`; not with --init",
        metavar="STEM.pt",
    )  # fmt: skip
    imgsz: str | None = option(
        None, "input size, px: a side, or height,width; by default that of --init or the variant",
        metavar="SIDE",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_options(self)
        if self.picture_hw is not None and min(self.picture_hw) < 1:
            raise ConfigError(f"--imgsz is {self.imgsz}, expected sides above 0")

    @property
    def name(self) -> str:
        """What a run is called that has no name: the variant, else the file of --init."""
        if self.model is not None or self.init is None:
            return self.model or DEFAULT_VARIANT
        return Path(self.init).stem

    @property
    def picture_hw(self) -> tuple[int, int] | None:
        """Height and width of the input picture where `imgsz` names them, px.

        Raises:
            ConfigError: It is neither a side nor height,width.
        """
        if self.imgsz is None:
            return None
        words = str(self.imgsz).split(",")  # a file of flags may have a number there
        try:
            height, width = (int(word) for word in (words * 2 if len(words) == 1 else words))
        except ValueError:
            raise ConfigError(
                f"--imgsz is {self.imgsz!r}, expected a side in px or height,width"
            ) from None
        return height, width


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions(Section):
    """What the model has that its variant leaves open; None is as --init or the variant has it."""

    token_selection: str | None = option(
        None, "which tokens make predictions; by default the variant's (halves)",
        choices=("all", "centre", "centre_mean", "halves"),
    )  # fmt: skip
    box_reference: str | None = option(
        None, "boxes as offsets from the token's position, or absolute; by default as in --init, "
              "else token", choices=("token", "absolute"),
    )  # fmt: skip
    suppression_strength: float | None = option(
        None, "strength of the duplicate suppression in the network; 0 = none; by default as in "
              "--init or the variant",
        metavar="STRENGTH", former="rivals",
    )  # fmt: skip
    suppression: str | None = option(
        None, "tokens that suppress each other: the eight neighbours or all; by default as in "
              "--init or the variant", choices=("neighbours", "all"),
    )  # fmt: skip
    drop_path: float | None = option(
        None, "share of residual branches dropped, growing with depth", least=0, most=0.999999
    )

    @property
    def overrides(self) -> dict[str, object]:
        """The values that are not None, by the names of the model's configuration."""
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipOptions(Section):
    """Which clips, and what their labels mean."""

    data: str = option(
        dataclasses.MISSING, "data set, such as synthetic-train; A+B joins several, A*8 repeats one"
                             " eight times",
    )  # fmt: skip
    classes: str = option(
        "own", "own: each data set's classes by name; joint: the default model's classes, to which "
               "labels are mapped; or a table of your own (.yaml, .json)",
    )  # fmt: skip
    ignore_people: str | None = option(
        None, "folder written by `edge label` for the videos of jhmdb:FOLDER or ucf101-24:FOLDER: "
              "people in it who are not annotated actors are neither actors nor background",
        metavar="DIR",
    )  # fmt: skip
    bystanders: str = option(
        "silent", "drawn people who do none of the actions: silent, no targets, as on the device; "
                  "actors, as if labelled by a person detector", choices=("silent", "actors"),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentOptions(Section):
    """Whether and how clips are changed anew in each pass."""

    augment: str = option(
        "auto", "augment clips anew in each pass (flip, scale, crop, colours, mosaic); auto: real "
                "videos, not the drawn world", choices=("auto", "on", "off"),
    )  # fmt: skip
    read_scale: float = option(
        1.0, "with --augment: factor by which clips are read larger than the model's input",
        least=1, most=4,
    )  # fmt: skip
    distractors: str | None = option(
        None, "with --augment: folder of .png cut-outs of things that are no people, such as "
              "animals; pasted into clips", metavar="DIR",
    )  # fmt: skip
    distractor_share: float = option(
        0.3, "with --distractors: share of the clips that get one or two", least=0, most=1
    )
    changes: AugmentConfig = section(AugmentConfig)

    def applies_to(self, word: str) -> bool:
        """Return whether the clips of a data set, a part of `--data`, are changed."""
        return self.augment == "on" or (self.augment == "auto" and not is_drawn(word))
