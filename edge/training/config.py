"""Flags of `edge train` in sections, one for each part of a run; no torch here.

Each section is what the code of its part takes. Their names are also the keys of a run's
`config.json` (`run_folder.py`), flat, as on the command line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.training.input_options import (
    AugmentOptions,
    ClipOptions,
    ModelOptions,
    StartOptions,
)
from edge.training.loss_options import CriterionConfig, LossOptions, MatcherConfig, Section
from runtime.errors import ConfigError
from runtime.options import LongJobOptions, check_options, from_flat, option, section, to_flat


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerOptions(Section):
    """Length of the schedule, batches, and how weights move."""

    epochs: float | None = option(
        None, "length of the schedule, passes over the data; by default 4, and as many more as "
        "make 5,000 clips", above=0,
    )  # fmt: skip
    steps: int | None = option(
        None, "length of the schedule in steps, instead of --epochs", least=1
    )
    batch: int = option(32, "clips per step, over all processes and accumulated parts", least=1)
    accumulate: int = option(1, "parts into which a process divides its share of a batch", least=1)
    optimizer: str = option(
        "adamw", "muon: orthogonalised steps for matrices and AdamW for the rest; learns faster",
        choices=("adamw", "muon"),
    )  # fmt: skip
    lr0: float | None = option(
        None, "highest learning rate; by default 2e-3, with --qat 1e-4", above=0
    )
    lr_final: float = option(0.01, "last learning rate, as a share of --lr0", least=0, most=1)
    lr_hold: float = option(
        0.0, "share of the steps at --lr0 before the learning rate falls", least=0, most=1
    )
    stem_lr: float = option(
        0.0, "learning rate of the stem, as a share of --lr0; 0 = frozen", least=0
    )
    weight_decay: float = option(
        0.05, "weight decay; none for norms, biases and embeddings", least=0
    )
    warmup_epochs: float | None = option(
        None, "linear warm-up; by default 3 % of the schedule", least=0
    )
    clip_norm: float = option(1.0, "largest norm of the gradient; 0 = no limit", least=0)
    ema: float = option(
        0.999, "decay of the averaged weights, which are the saved ones", least=0, most=0.999999
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillOptions(Section):
    """A teacher, and the weights of what it says."""

    teacher: str | None = option(None, "larger model for distillation", metavar="MODEL.pt")
    distill_logits: float = option(1.0, "weight of the teacher's actor and action scores", least=0)
    distill_boxes: float = option(2.0, "weight of the teacher's boxes", least=0)
    distill_features: float = option(0.5, "weight of the teacher's features", least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class QatOptions(Section):
    """Training for int8."""

    qat: bool = option(False, "train for int8: round as the export does; needs --init")
    qat_freeze_ranges: float = option(
        0.5, "share of the steps after which int8 ranges are fixed", least=0, most=1
    )
    qat_freeze_norms: float = option(
        0.0, "share of the steps after which BatchNorm's statistics are fixed; 0 keeps those of "
             "--init",
        least=0, most=1,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationOptions(Section):
    """What a run is validated on, and how often."""

    val_data: str | None = option(
        None, "data set to validate on; by default synthetic-val for synthetic-train, else none"
    )
    val_clips: int = option(500, "number of validation clips; 0 = all", least=0)
    val_every: int | None = option(
        None, "steps between two validations; 0 = only at the end; by default a tenth of the run, "
        "at most 1000", least=0,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(Section):
    """Where a run is kept, when a session of it ends, and what it runs on."""

    out: str | None = option(None, "folder of the run; by default runs/train/<model>")
    resume: str | None = option(
        None, "folder of a run to continue with its own flags", metavar="RUN"
    )
    overwrite: bool = option(False, "replace an existing run")
    limit_steps: int | None = option(
        None, "save and stop after this many steps of this session", least=1
    )
    max_minutes: float | None = option(None, "save and stop after this many minutes", above=0)
    cache: str | None = option(
        None, "folder for the clips of --data, so that only the first pass reads or draws them",
        metavar="DIR",
    )  # fmt: skip
    precision: str = option(
        "auto", "arithmetic: auto is bf16 on CUDA, fp32 on a CPU", choices=("auto", "fp32", "bf16")
    )
    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    norms: str = option(
        "shared", "with several processes: BatchNorm over the batch of all, which gives the losses "
                  "of one process, or of each process alone, which is faster",
        choices=("shared", "own"),
    )  # fmt: skip
    compile: bool = option(False, "compile the model with torch.compile")
    workers: int | None = option(
        None, "processes that read clips; by default from the number of cores", least=0
    )
    save_every: int = option(200, "steps between two saved states", least=1)
    save_minutes: float = option(
        10.0, "minutes between two saved states, where steps are slow", above=0
    )
    log_every: int = option(10, "steps between two lines of the log", least=1)
    tensorboard: bool = option(True, "write TensorBoard logs beside log.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """Flags of `edge train`."""

    start: StartOptions = section(StartOptions)
    clips: ClipOptions
    exclude_videos: str | None = option(
        None, "text file with one video per line: leave out their clips of features:FOLDER",
        metavar="FILE",
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
    seed: int = option(0, "seed of weights, order of clips and dropped branches", least=0)
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
        return Path(self.run.resume or self.run.out or f"runs/train/{self.start.name}")

    @property
    def val_data(self) -> str | None:
        """The data set to validate on, if any."""
        # Also where it is the first of several.
        chosen = self.validation.val_data
        if chosen is None and re.match("synthetic-train(?![^:+*])", self.clips.data):
            return "synthetic-val"
        return chosen
