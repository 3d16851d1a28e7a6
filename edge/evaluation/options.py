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
class ReportOptions:
    """What is written, and by whose rules."""

    out: Path = option(Path("runs/val"), "folder for the reports", metavar="DIR")
    protocol: str | None = option(
        None, "whose rules count; else ava for keyframes and act for tubes",
        choices=PROTOCOL_NAMES,
    )  # fmt: skip
    plots: bool = option(True, "draw precision-recall and confusion (needs matplotlib)")
    overwrite: bool = option(False, "begin again, whatever is in --out")

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
        None, "own: the data set's; joint or a table (.yaml): these, which its labels are joined "
        "to. By default joint where the model has these", metavar="CLASSES",
    )  # fmt: skip
    frozen: bool = option(
        False, "repeat the keyframe in place of the clip: what a model loses by that, it sees by "
        "motion",
    )  # fmt: skip
    workers: int = option(1, "processes", least=1, most=256)
    resume: bool = option(False, "go on with the outputs that are in --out")
    shard: tuple[int, int] | None = option(
        None, "I/N: compute the outputs of this share of the clips only; shares fill one --out, in "
        "any order or at once, and a last run with --resume in place of the flag counts them all",
        metavar="I/N", parse=parse_share,
    )  # fmt: skip
    worst: int = option(12, "how many of the clips with the most errors to draw; 0 = none", least=0)
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
        NO_FILE, "in place of a model: a file of its detections, AVA's CSV or tubes as JSON",
        metavar="FILE",
    )  # fmt: skip
    ground_truth: Path = option(
        NO_FILE, "the truth for --detections: AVA's CSV, tubes as JSON, or the .pkl of JHMDB-21 or "
        "UCF101-24", metavar="FILE",
    )  # fmt: skip
    label_map: Path | None = option(
        None, "classes that count (.pbtxt), for --detections", metavar="FILE"
    )
    excluded: Path | None = option(
        None, "CSV of keyframes that do not count, for --detections", metavar="FILE"
    )
    min_overlap: float = option(
        0.5, "least IoU of a hit, for --detections on keyframes", above=0, most=1
    )
    first_frame: int | None = option(
        None, "what a CSV for --detections calls a video's first frame, 0 or 1; else 1 where the "
        "truth has frame 0 and the CSV never has", least=0, most=1,
    )  # fmt: skip
    split: int = option(1, "which split of a .pkl counts, from 1")
    tubes: TubeConfig | None = None

    def __post_init__(self) -> None:
        check_options(self)
