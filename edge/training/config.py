"""Flags of `edge train` in sections, one for each part of a run; no torch here.

Each section is what the code of its part takes. Their names are also the keys of a run's
`config.json` (`run_folder.py`), flat, as on the command line.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.data.augment import AugmentConfig
from edge.data.registry import is_drawn
from edge.training.loss_options import CriterionConfig, LossOptions, MatcherConfig, Section
from runtime.errors import ConfigError
from runtime.options import LongJobOptions, check_options, from_flat, option, section, to_flat

TRAINABLE = ("pico", "nano", "tiny", "pico-scratch", "nano-scratch", "tiny-scratch", "small")


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """Which model, and what it starts from."""

    model: str = option("nano", "variant", choices=TRAINABLE)
    init: str | None = option(
        None, "weights to start from; a larger --model is grown from a smaller one's",
        metavar="MODEL.pt",
    )  # fmt: skip
    stem_weights: str | None = option(
        None, "pretrained weights of the stem, made by `edge pretrained`; without --init",
        metavar="STEM.pt",
    )  # fmt: skip
    imgsz: str | None = option(
        None, "input picture, px: a side, or height,width; by default as --init has it, else the "
        "variant's own", metavar="SIDE",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_options(self)
        if self.picture_hw is not None and min(self.picture_hw) < 1:
            raise ConfigError(f"--imgsz is {self.imgsz}, expected sides above 0")

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
        None, "which tokens become triplets; by default the variant's (halves)",
        choices=("all", "centre", "centre_mean", "halves"),
    )  # fmt: skip
    box_reference: str | None = option(
        None, "boxes as offsets from the token's place, or as they are (the method's ablation); by "
        "default as --init has them, else token", choices=("token", "absolute"),
    )  # fmt: skip
    suppression_strength: float | None = option(
        None, "duplicate suppression in the network: how far a token's actor logit falls below a "
        "higher one with an overlapping box; by default as --init or the variant has it",
        metavar="STRENGTH", former="rivals",
    )  # fmt: skip
    suppression: str | None = option(
        None, "suppression between which tokens: the eight around a token, or all; by default as "
        "--init or the variant has it", choices=("neighbours", "all"),
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
        dataclasses.MISSING, "data set to learn from, such as synthetic-train; several with + "
        "between them, *NUMBER behind one that is to occur so often",
    )  # fmt: skip
    classes: str = option(
        "own", "own: as each data set calls them; joint: those of the default model, which labels "
        "of several data sets are joined to; or a table of your own (.yaml, .json)",
    )  # fmt: skip
    ignore_people: str | None = option(
        None, "folder that `edge label` wrote for the videos of jhmdb:FOLDER or "
        "ucf101-24:FOLDER: people in it who are none of the boxed actors are neither actors nor "
        "background", metavar="DIR",
    )  # fmt: skip
    bystanders: str = option(
        "silent", "people of drawn clips who do none of the actions: silent, no targets, as on the "
        "device; actors, as in labels of a detector of all people", choices=("silent", "actors"),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentOptions(Section):
    """Whether and how clips are changed anew in each pass."""

    augment: str = option(
        "auto", "change clips anew in each pass (flip, size, window, colours, mosaic); auto: real "
        "videos, not the synthetic world", choices=("auto", "on", "off"),
    )  # fmt: skip
    read_scale: float = option(
        1.0, "with --augment: read (and keep) clips so much larger than the model's input",
        least=1, most=4,
    )  # fmt: skip
    changes: AugmentConfig = section(AugmentConfig)

    def applies_to(self, word: str) -> bool:
        """Return whether the clips of a data set, a part of `--data`, are changed."""
        return self.augment == "on" or (self.augment == "auto" and not is_drawn(word))


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerOptions(Section):
    """Length of the schedule, batches, and how weights move."""

    epochs: float = option(100.0, "length of the schedule, passes over the data", above=0)
    steps: int | None = option(
        None, "length of the schedule in steps, in place of --epochs", least=1
    )
    batch: int = option(32, "clips of one step, over all processes and accumulated parts", least=1)
    accumulate: int = option(1, "parts that a process cuts its share of a batch into", least=1)
    optimizer: str = option(
        "adamw", "muon: orthogonal steps for the matrices between channels, AdamW for the rest; it "
        "learns faster from far away", choices=("adamw", "muon"),
    )  # fmt: skip
    lr0: float | None = option(
        None, "highest learning rate; by default 2e-3, with --qat 1e-4", above=0
    )
    lr_final: float = option(0.01, "last learning rate, as a share of --lr0", least=0, most=1)
    lr_hold: float = option(
        0.0, "share of the steps at --lr0 before the rate begins to fall", least=0, most=1
    )
    stem_lr: float = option(
        0.0, "learning rate of the stem, as a share of --lr0; 0 leaves it as it is", least=0
    )
    weight_decay: float = option(
        0.05, "decay of weights; norms, biases and embeddings have none", least=0
    )
    warmup_epochs: float | None = option(
        None, "linear warm-up; by default 3 % of the schedule", least=0
    )
    clip_norm: float = option(1.0, "largest norm of the gradient; 0 leaves it as it is", least=0)
    ema: float = option(
        0.999, "decay of the averaged weights, which are the ones saved", least=0, most=0.999999
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillOptions(Section):
    """A teacher, and the weights of what it says."""

    teacher: str | None = option(None, "larger model to learn from as well", metavar="MODEL.pt")
    distill_logits: float = option(1.0, "weight of the teacher's actor and action scores", least=0)
    distill_boxes: float = option(2.0, "weight of the teacher's boxes", least=0)
    distill_features: float = option(0.5, "weight of the teacher's features", least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class QatOptions(Section):
    """Training for int8."""

    qat: bool = option(False, "train for int8: round as the export will; begins with --init")
    qat_freeze_ranges: float = option(
        0.5, "share of the steps after which int8 ranges stay", least=0, most=1
    )
    qat_freeze_norms: float = option(
        0.0, "share of the steps after which BatchNorm's statistics stay; 0 keeps those of --init",
        least=0, most=1,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationOptions(Section):
    """What a run is validated on, and how often."""

    val_data: str | None = option(
        None, "data set to validate on; by default synthetic-val for synthetic-train, else none"
    )
    val_clips: int = option(500, "clips of a validation; 0 takes all", least=0)
    val_every: int = option(
        1000, "steps from one validation to the next; 0 validates at the end", least=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(Section):
    """Where a run is kept, when a session of it ends, and what it runs on."""

    out: str | None = option(None, "folder of the run; by default runs/train/<model>")
    resume: str | None = option(None, "folder of a run to go on with, as it began", metavar="RUN")
    overwrite: bool = option(False, "replace the run when it exists")
    limit_steps: int | None = option(
        None, "stop after so many steps of this session, and save", least=1
    )
    max_minutes: float | None = option(None, "stop after so many minutes, and save", above=0)
    cache: str | None = option(
        None, "folder to keep the clips of --data in, so that only the first pass makes them",
        metavar="DIR",
    )  # fmt: skip
    precision: str = option(
        "auto", "arithmetic: auto is bf16 on CUDA, fp32 on a CPU", choices=("auto", "fp32", "bf16")
    )
    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    norms: str = option(
        "shared", "several processes: BatchNorm over the batch of all of them, which gives one "
        "process's losses, or over each its own part of it, faster", choices=("shared", "own"),
    )  # fmt: skip
    compile: bool = option(False, "compile the model with torch.compile")
    workers: int | None = option(
        None, "processes that make clips; by default as cores allow", least=0
    )
    save_every: int = option(200, "steps from one saved state to the next", least=1)
    log_every: int = option(10, "steps from one line of the log to the next", least=1)
    tensorboard: bool = option(True, "write TensorBoard logs beside log.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """Flags of `edge train`."""

    start: StartOptions = section(StartOptions)
    clips: ClipOptions
    exclude_videos: str | None = option(
        None, "text file with a video a line: clips of kept features (features:FOLDER) that show "
        "one of them are left out", metavar="FILE",
    )  # fmt: skip
    augment: AugmentOptions = section(AugmentOptions)
    model: ModelOptions = section(ModelOptions)
    optimizer: OptimizerOptions = section(OptimizerOptions)
    matcher: MatcherConfig = section(MatcherConfig)
    criterion: CriterionConfig = section(CriterionConfig)
    losses: LossOptions = section(LossOptions)
    distill: DistillOptions = section(DistillOptions)
    qat: QatOptions = section(QatOptions)
    validation: ValidationOptions = section(ValidationOptions)
    seed: int = option(0, "of weights, order of clips and dropped branches", least=0)
    run: RunOptions = section(RunOptions)
    common: LongJobOptions = section(LongJobOptions)

    @classmethod
    def of(cls, **flags: Any) -> TrainOptions:
        """Return options by the names of the flags, whatever their section.

        Raises:
            ConfigError: A value is out of range.

        Example:
            >>> TrainOptions.of(data="synthetic-train", lr0=1e-3).rate
            0.001
        """
        return from_flat(cls, flags)

    def with_flags(self, **flags: Any) -> TrainOptions:
        """Return a copy in which some flags have other values."""
        return from_flat(type(self), {**to_flat(self), **flags})

    def __post_init__(self) -> None:
        check_options(self)
        if self.qat.qat and self.start.init is None:
            raise ConfigError(
                "--qat adapts weights that float training found; give --init MODEL.pt"
            )
        beside = self.losses.loss_aux > 0 or self.one_to_many > 0
        if self.qat.qat and (self.distill.teacher is not None or beside):
            raise ConfigError(
                "--qat does not go with --teacher, --loss-aux or --loss-one-to-many; leave them out"
            )

    @property
    def rate(self) -> float:
        """The highest learning rate."""
        if self.optimizer.lr0 is not None:
            return self.optimizer.lr0
        return 1e-4 if self.qat.qat else 2e-3

    @property
    def one_to_many(self) -> float:
        """Weight of the losses with several tokens a person."""
        if self.losses.loss_one_to_many is not None:
            return self.losses.loss_one_to_many
        return 0.0 if self.qat.qat else 1.0

    @property
    def folder(self) -> Path:
        """Where the run is kept."""
        return Path(self.run.resume or self.run.out or f"runs/train/{self.start.model}")

    @property
    def val_data(self) -> str | None:
        """The data set to validate on, if any."""
        # Also where it is the first of several.
        chosen = self.validation.val_data
        if chosen is None and re.match("synthetic-train(?![^:+*])", self.clips.data):
            return "synthetic-val"
        return chosen
