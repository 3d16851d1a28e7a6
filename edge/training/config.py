"""Flags of `edge train`, which are also the keys of a run's `config.json`; no torch here."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.data.registry import is_drawn, split_mix
from runtime.errors import ArtifactError, ConfigError
from runtime.options import option

CONFIG_FILE = "config.json"
RUN_FILES = ("state.pt", "last.pt", "best.pt", "log.jsonl")

# Belong to one session, and are not kept with the run.
_NOT_KEPT = frozenset(
    {"limit_steps", "max_minutes", "quiet", "verbose", "config", "resume", "overwrite", "out"}
)
# What a session may choose anew when it goes on with a run; all else decides the loss curve.
_FREE = _NOT_KEPT | {
    "cache", "device", "workers", "compile", "save_every", "log_every", "tensorboard",
}  # fmt: skip


TRAINABLE = ("pico", "nano", "tiny", "pico-scratch", "nano-scratch", "tiny-scratch", "small")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """Flags of `edge train`."""

    model: str = option("nano", "variant to train", choices=TRAINABLE)
    data: str = option(
        dataclasses.MISSING, "data set to learn from, such as synthetic-train; several with + "
        "between them, *NUMBER behind one that is to occur so often",
    )  # fmt: skip
    val_data: str | None = option(
        None, "data set to validate on; by default synthetic-val for synthetic-train, else none"
    )
    cache: str | None = option(
        None, "folder to keep the clips of --data in, so that only the first pass makes them",
        metavar="DIR",
    )  # fmt: skip
    out: str | None = option(None, "folder of the run; by default runs/train/<model>")
    resume: str | None = option(None, "folder of a run to go on with, as it began", metavar="RUN")
    init: str | None = option(
        None, "weights to start from; a larger --model is grown from a smaller one's",
        metavar="MODEL.pt",
    )  # fmt: skip
    stem_weights: str | None = option(
        None, "pretrained weights of the stem, made by `edge pretrained`; without --init",
        metavar="STEM.pt",
    )  # fmt: skip
    stem_lr: float = option(
        0.0, "learning rate of the stem, as a share of --lr0; 0 leaves it as it is"
    )
    overwrite: bool = option(False, "replace the run when it exists")

    augment: str = option(
        "auto", "change clips anew in each pass (flip, size, window, colours, mosaic); auto: real "
        "videos, not the synthetic world", choices=("auto", "on", "off"),
    )  # fmt: skip
    flip: float = option(0.5, "with --augment: probability of a mirror image")
    mosaic: float = option(0.25, "with --augment: probability of four clips side by side")
    scale_low: float = option(0.75, "with --augment: smallest factor on the size of people")
    scale_high: float = option(1.33, "with --augment: largest")
    read_scale: float = option(
        1.0, "with --augment: read (and keep) clips so much larger than the model's input"
    )
    exclude_videos: str | None = option(
        None, "text file with a video a line: clips of kept features (features:FOLDER) that show "
        "one of them are left out", metavar="FILE",
    )  # fmt: skip
    ignore_people: str | None = option(
        None, "folder that `edge label` wrote for the videos of jhmdb:FOLDER or "
        "ucf101-24:FOLDER: people in it who are none of the boxed actors are neither actors nor "
        "background", metavar="DIR",
    )  # fmt: skip
    bystanders: str = option(
        "silent", "people of drawn clips who do none of the actions: nobody, as on the device, or "
        "actors, as a detector's labels have everybody on film", choices=("silent", "actors"),
    )  # fmt: skip
    classes: str = option(
        "own", "own: as each data set calls them; joint: those of the default model, which labels "
        "of several data sets are joined to; or a table of your own (.yaml, .json)",
    )  # fmt: skip
    epochs: float = option(100.0, "length of the schedule, passes over the data")
    steps: int | None = option(None, "length of the schedule in steps, in place of --epochs")
    limit_steps: int | None = option(None, "stop after so many steps of this session, and save")
    max_minutes: float | None = option(None, "stop after so many minutes, and save")
    batch: int = option(32, "clips of one step, over all processes and accumulated parts")
    accumulate: int = option(1, "parts that a process cuts its share of a batch into")
    optimizer: str = option(
        "adamw", "muon: orthogonal steps for the matrices between channels, AdamW for the rest; it "
        "learns faster from far away", choices=("adamw", "muon"),
    )  # fmt: skip
    lr0: float | None = option(None, "highest learning rate; by default 2e-3, with --qat 1e-4")
    lr_final: float = option(0.01, "last learning rate, as a share of --lr0")
    lr_hold: float = option(0.0, "share of the steps at --lr0 before the rate begins to fall")
    weight_decay: float = option(0.05, "decay of weights; norms, biases and embeddings have none")
    warmup_epochs: float | None = option(None, "linear warm-up; by default 3 % of the schedule")
    clip_norm: float = option(1.0, "largest norm of the gradient; 0 leaves it as it is")
    ema: float = option(0.999, "decay of the averaged weights, which are the ones saved")
    drop_path: float | None = option(None, "share of residual branches dropped, growing with depth")
    precision: str = option(
        "auto", "arithmetic: auto is bf16 on CUDA, fp32 on a CPU", choices=("auto", "fp32", "bf16")
    )
    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    norms: str = option(
        "shared", "several processes: BatchNorm over the batch of all of them, which gives one "
        "process's losses, or over each its own part of it, faster", choices=("shared", "own"),
    )  # fmt: skip
    compile: bool = option(False, "compile the model with torch.compile")
    workers: int | None = option(None, "processes that make clips; by default as cores allow")
    seed: int = option(0, "of weights, order of clips and dropped branches")

    imgsz: str | None = option(
        None, "input picture, px: a side, or height,width; by default as --init has it, else the "
        "variant's own", metavar="SIDE",
    )  # fmt: skip
    token_selection: str | None = option(
        None, "which tokens become triplets; by default the variant's (halves)",
        choices=("all", "centre", "centre_mean", "halves"),
    )  # fmt: skip
    box_reference: str | None = option(
        None, "boxes as offsets from the token's place, or as they are (the method's ablation); by "
        "default as --init has them, else token", choices=("token", "absolute"),
    )  # fmt: skip
    rivals: float | None = option(
        None, "how strongly a token yields to a neighbour that bids more for the same person; by "
        "default as --init or the variant has it", metavar="STRENGTH",
    )  # fmt: skip

    suppression: str | None = option(
        None, "between which tokens that is: the eight around a token, or all; by default as "
        "--init or the variant has it", choices=("neighbours", "all"),
    )  # fmt: skip

    set_cost_class: float = option(2.0, "matching: weight of the actor term")
    set_cost_bbox: float = option(5.0, "matching: weight of the L1 distance of boxes")
    set_cost_giou: float = option(2.0, "matching: weight of the generalised overlap")
    actor_cost: str = option("focal", "matching: form of the actor term",
                             choices=("focal", "probability"))  # fmt: skip
    loss_actor: float = option(2.0, "weight of the actor loss")
    loss_bbox: float = option(5.0, "weight of the L1 loss of boxes")
    loss_giou: float = option(2.0, "weight of the overlap loss of boxes")
    loss_action: float = option(1.0, "weight of the action loss")
    actor_loss: str = option("focal", "form of the actor loss", choices=("focal", "bce"))
    action_loss: str = option("bce", "form of the action loss", choices=("focal", "bce"))
    eos_coef: float = option(0.1, "weight of silent tokens where --actor-loss is bce")
    rival_weight: float = option(1.0, "weight of silent tokens on a person who has their token")
    weak_loss: str = option(
        "mil", "labels of whole videos ask that somebody does it (mil), or that everybody does "
        "(copy)", choices=("mil", "copy"),
    )  # fmt: skip
    class_balance: float = option(
        0.0, "how much more positives of rare classes weigh: exponent of median count / count"
    )

    loss_early: float = option(0.0, "weight of all these losses on features before the last stage")
    loss_many: float | None = option(
        None, "weight of the losses of heads that give a person several tokens; by default 1, "
        "with --qat 0", metavar="WEIGHT",
    )  # fmt: skip

    teacher: str | None = option(None, "larger model to learn from as well", metavar="MODEL.pt")
    distill_logits: float = option(1.0, "weight of the teacher's actor and action scores")
    distill_boxes: float = option(2.0, "weight of the teacher's boxes")
    distill_features: float = option(0.5, "weight of the teacher's features")

    qat: bool = option(False, "train for int8: round as the export will; begins with --init")
    qat_freeze_ranges: float = option(0.5, "share of the steps after which int8 ranges stay")
    qat_freeze_norms: float = option(
        0.0, "share of the steps after which BatchNorm's statistics stay; 0 keeps those of --init"
    )

    val_clips: int = option(500, "clips of a validation; 0 takes all")
    val_every: int = option(1000, "steps from one validation to the next; 0 validates at the end")
    save_every: int = option(200, "steps from one saved state to the next")
    log_every: int = option(10, "steps from one line of the log to the next")
    tensorboard: bool = option(True, "write TensorBoard logs beside log.jsonl")
    quiet: bool = option(False, "no progress bar")
    verbose: bool = option(False, "show tracebacks")
    config: str | None = option(None, "YAML or JSON file with these flags", metavar="FILE")

    def __post_init__(self) -> None:
        for name in ("batch", "accumulate", "save_every", "log_every"):
            _at_least(name, getattr(self, name), 1)
        for name in ("steps", "limit_steps"):
            if getattr(self, name) is not None:
                _at_least(name, getattr(self, name), 1)
        for name in ("seed", "val_clips", "val_every", "workers"):
            if getattr(self, name) is not None:
                _at_least(name, getattr(self, name), 0)
        for name in ("lr0", "epochs", "max_minutes"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{_flag(name)} is {value}, expected a number above 0")
        for name in ("weight_decay", "clip_norm", "warmup_epochs", "distill_logits",
                     "distill_boxes", "distill_features", "loss_early", "loss_many",
                     "stem_lr"):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{_flag(name)} is {value}, expected 0 or more")
        for name in ("lr_final", "ema", "drop_path"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= (1 if name == "lr_final" else 0.999999):
                raise ConfigError(f"{_flag(name)} is {value}, expected a share from 0 to 1")
        for name in ("flip", "mosaic", "qat_freeze_ranges", "qat_freeze_norms", "lr_hold",
                     "class_balance"):  # fmt: skip
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(
                    f"{_flag(name)} is {getattr(self, name)}, expected a share from 0 to 1"
                )
        if self.picture_hw is not None and min(self.picture_hw) < 1:
            raise ConfigError(f"--imgsz is {self.imgsz}, expected sides above 0")
        if not 1 <= self.read_scale <= 4:
            raise ConfigError(f"--read-scale is {self.read_scale}, expected 1 to 4")
        if not 0.1 <= self.scale_low <= self.scale_high <= 10:
            raise ConfigError(f"--scale-low is {self.scale_low} and --scale-high {self.scale_high}"
                              ", expected 0.1 <= --scale-low <= --scale-high <= 10")  # fmt: skip
        for name in ("data", "val_data", "cache", "out", "init", "teacher", "resume",
                     "ignore_people", "exclude_videos"):  # fmt: skip
            if getattr(self, name) == "":
                raise ConfigError(f"{_flag(name)} is empty")
        if self.qat and self.init is None:
            raise ConfigError(
                "--qat adapts weights that float training found; give --init MODEL.pt"
            )
        if self.qat and (self.teacher is not None or self.loss_early > 0 or self.many > 0):
            raise ConfigError(
                "--qat does not go with --teacher, --loss-early or --loss-many; leave them out"
            )

    @property
    def rate(self) -> float:
        """The highest learning rate."""
        if self.lr0 is not None:
            return self.lr0
        return 1e-4 if self.qat else 2e-3

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

    def augments(self, word: str) -> bool:
        """Return whether the clips of a data set, a part of `data`, are changed in each pass."""
        return self.augment == "on" or (self.augment == "auto" and not is_drawn(word))

    @property
    def many(self) -> float:
        """Weight of the losses with several tokens a person."""
        if self.loss_many is not None:
            return self.loss_many
        return 0.0 if self.qat else 1.0

    @property
    def folder(self) -> Path:
        """Where the run is kept."""
        return Path(self.resume or self.out or f"runs/train/{self.model}")

    @property
    def validation(self) -> str | None:
        """The data set to validate on, if any."""
        # Also where it is the first of several.
        if self.val_data is None and re.match("synthetic-train(?![^:+*])", self.data):
            return "synthetic-val"
        return self.val_data

    def kept(self) -> dict[str, Any]:
        """Return what is kept with the run, to go on with it or to repeat it by `--config`."""
        plain = {
            **dataclasses.asdict(self),
            "lr0": self.rate,
            "loss_many": self.many,
        }
        if len(split_mix(self.data)) == 1:
            plain["augment"] = "on" if self.augments(self.data) else "off"
        return {name: value for name, value in plain.items() if name not in _NOT_KEPT}


def read_run(folder: Path) -> dict[str, Any]:
    """Return the flags of a run that was begun.

    Raises:
        ArtifactError: There is no run, or its configuration is damaged.
    """
    path = folder / CONFIG_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"no run to resume at {folder}: it has no {CONFIG_FILE}") from None
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{path} is not the configuration of a run")
    return content


def clear_folder(folder: Path, *, overwrite: bool) -> None:
    """Make room for a new run.

    Raises:
        ConfigError: There is a run, and it is not to be replaced.
    """
    if not (folder / CONFIG_FILE).exists():
        return
    if not overwrite:
        raise ConfigError(
            f"there is a run in {folder}; go on with it by --resume {folder}, name another --out, "
            f"or replace it by --overwrite"
        )
    # The configuration goes last: without it there is nothing to go on with.
    for path in [*(folder / name for name in RUN_FILES), *folder.glob("tensorboard/events.*")]:
        path.unlink(missing_ok=True)
    (folder / CONFIG_FILE).unlink()


def check_same_run(options: TrainOptions, begun: dict[str, Any]) -> None:
    """Refuse flags that would bend the loss curve of a run that was begun.

    Raises:
        ConfigError: A flag differs from the run's.
    """
    for name, value in options.kept().items():
        if name not in _FREE and name in begun and begun[name] != value:
            raise ConfigError(
                f"{_flag(name)} is {value}, but the run in {options.folder} began with "
                f"{begun[name]}; a resumed run goes on as it began. Start another with --init "
                f"{options.folder}/last.pt"
            )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"{_flag(name)} is {value}, expected {least} or more")
