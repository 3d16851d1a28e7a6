"""Options of an evaluation: which model or which files, how they are measured, what is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.evaluation.linking import TubeConfig
from runtime.errors import ConfigError
from runtime.options import check_options, option, parse_share

NO_FILE = Path()
PROTOCOL_NAMES = ("ava", "act", "road", "yowo")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which model to evaluate, and how it runs; small enough to send to another process."""

    model: str = option("", "checkpoint (.pt), bundle folder or zip, or a program (.pte, .onnx) in "
                            "its bundle", metavar="MODEL")  # fmt: skip
    artifact: str | None = option(None, "which program of a bundle; else the best that runs here")
    num_threads: int = option(
        0, "threads of each process's engine or of torch; 0 = a fair share", least=0
    )
    device: str = option("cpu", "device of torch for a checkpoint, such as cuda:0")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipChoice:
    """Which of the labelled clips count, and which people in them do not."""

    clips: int = option(
        0, "take so many clips of each data set only, evenly spread over real videos; 0 = all",
        least=0,
    )  # fmt: skip
    ignore_people: str | None = option(
        None, "folder written by `edge label` for the videos of jhmdb:FOLDER or ucf101-24:FOLDER: a"
              " box on a person in it who is not an annotated actor is not a false alarm",
        metavar="DIR",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """What is written, and by whose rules."""

    out: Path = option(Path("runs/val"), "folder for the reports", metavar="DIR")
    protocol: str | None = option(
        None, "evaluation protocol; else ava for keyframes and act for tubes",
        choices=PROTOCOL_NAMES,
    )  # fmt: skip
    plots: bool = option(True, "draw precision-recall and confusion (needs matplotlib)")
    overwrite: bool = option(False, "start again and replace what is in --out")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValOptions(ReportOptions):
    """How a model is evaluated on a data set.

    Attributes:
        spec: What names the data set, where reports call it otherwise.
    """

    conf: float | None = option(
        None, "actor threshold in [0, 1]; else the artifact's own, or for a checkpoint the best F1 "
        "on these clips", least=0, most=1,
    )  # fmt: skip
    classes: str | None = option(
        None, "own: the data set's classes; joint or a table (.yaml): map its labels to these. By "
              "default joint where the model has the joint classes", metavar="CLASSES",
    )  # fmt: skip
    frozen: bool = option(
        False, "repeat the keyframe as the whole clip; the loss shows what motion contributes",
    )  # fmt: skip
    workers: int = option(1, "processes", least=1, most=256)
    resume: bool = option(False, "continue with the outputs in --out")
    shard: tuple[int, int] | None = option(
        None, "I/N: compute only this share of the clips; shares may run at the same time into one "
              "--out; a last run with --resume instead of --shard combines them",
        metavar="I/N", parse=parse_share,
    )  # fmt: skip
    worst: int = option(12, "number of clips with the most errors to draw; 0 = none", least=0)
    spec: str | None = None

    def __post_init__(self) -> None:
        check_options(self)
        if self.resume and self.overwrite:
            raise ConfigError("--resume and --overwrite contradict each other; give one of them")
        if self.shard is not None and self.overwrite:
            raise ConfigError(
                "--shard goes without --overwrite: other shares may be at work in the folder; "
                "delete it, or give another --out"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """Which files to compare, in place of a model.

    Attributes:
        tubes: How boxes of a CSV become tubes.
    """

    detections: Path = option(
        NO_FILE, "evaluate a file of detections instead of a model: AVA's CSV, or tubes as JSON",
        metavar="FILE",
    )  # fmt: skip
    ground_truth: Path = option(
        NO_FILE, "ground truth for --detections: AVA's CSV, tubes as JSON, or the .pkl of JHMDB-21 "
                 "or UCF101-24", metavar="FILE",
    )  # fmt: skip
    label_map: Path | None = option(
        None, "classes that count (.pbtxt), for --detections", metavar="FILE"
    )
    excluded: Path | None = option(
        None, "CSV of keyframes that do not count, for --detections", metavar="FILE"
    )
    min_overlap: float = option(
        0.5, "lowest IoU of a hit, for --detections on keyframes", above=0, most=1
    )
    first_frame: int | None = option(
        None, "number of a video's first frame in the CSV of --detections, 0 or 1; else detected "
              "from the numbers", least=0, most=1,
    )  # fmt: skip
    split: int = option(1, "split of a .pkl, from 1")
    tubes: TubeConfig | None = None

    def __post_init__(self) -> None:
        check_options(self)
