"""`edge val`: how good a model is on labelled clips, or what a file of detections scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli._shard import parse_shard
from runtime.errors import ConfigError
from runtime.options import OptionParser, option
from runtime.types import ClipSpec

if TYPE_CHECKING:
    from edge.data.samples import ClipDataset

PROTOCOL_NAMES = ("ava", "act", "road", "yowo")
_OF_MODELS = ("data", "artifact", "conf", "frozen", "device", "resume", "shard",
              "ignore_people", "classes")  # fmt: skip
_OF_FILES = ("detections", "ground_truth", "label_map", "excluded", "min_overlap", "first_frame",
             "split")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ValFlags:
    """Flags of `edge val`."""

    model: str | None = option(None, "checkpoint (.pt), bundle folder or zip, or a program (.pte, "
                                     ".onnx) in its bundle", metavar="MODEL")  # fmt: skip
    data: str | None = option(None, "labelled clips: synthetic-val, synthetic-val:200, ava:FOLDER, "
                                    "ucf101-24:FOLDER, jhmdb:FOLDER, or your own folder",
                              metavar="DATA")  # fmt: skip
    detections: str | None = option(None, "in place of a model: a file of its detections, AVA's "
                                          "CSV or tubes as JSON", metavar="FILE")  # fmt: skip
    ground_truth: str | None = option(None, "the truth for --detections: AVA's CSV, tubes as JSON, "
                                            "or the .pkl of JHMDB-21 or UCF101-24",
                                      metavar="FILE")  # fmt: skip
    label_map: str | None = option(None, "classes that count (.pbtxt), for --detections",
                                   metavar="FILE")  # fmt: skip
    excluded: str | None = option(None, "CSV of keyframes that do not count, for --detections",
                                  metavar="FILE")  # fmt: skip
    protocol: str | None = option(None, "whose rules count; else ava for keyframes and act for "
                                        "tubes", choices=PROTOCOL_NAMES)  # fmt: skip
    min_overlap: float = option(0.5, "least IoU of a hit, for --detections on keyframes")
    first_frame: int | None = option(None, "what a CSV for --detections calls a video's first "
                                           "frame, 0 or 1; else seen from the file")  # fmt: skip
    split: int = option(1, "which split of a .pkl counts, from 1")
    artifact: str | None = option(None, "which program of a bundle; else the best that runs here")
    conf: float | None = option(None, "actor threshold in [0, 1]; else the artifact's own, or for "
                                      "a checkpoint the best F1 on these clips")  # fmt: skip
    ignore_people: str | None = option(None, "folder that `edge label` wrote for the videos of "
                                             "jhmdb:FOLDER or ucf101-24:FOLDER: a box on somebody "
                                             "in it who is no boxed actor is no false alarm",
                                       metavar="DIR")  # fmt: skip
    classes: str | None = option(
        None, "own: the data set's; joint or a table (.yaml): these, which its labels are joined "
        "to. By default joint where the model has these", metavar="CLASSES",
    )  # fmt: skip
    frozen: bool = option(False, "repeat the keyframe in place of the clip: what a model loses by "
                                 "that, it sees by motion")  # fmt: skip
    out: str = option("runs/val", "folder for the reports", metavar="DIR")
    workers: int = option(1, "processes")
    num_threads: int = option(0, "threads of each process's engine; 0 = a fair share")
    device: str = option("cpu", "device of torch for a checkpoint, such as cuda:0")
    resume: bool = option(False, "go on with the outputs that are in --out")
    overwrite: bool = option(False, "begin again, whatever is in --out")
    shard: str | None = option(None, "I/N: compute the outputs of this share of the clips only; "
                                     "shares fill one --out, in any order or at once, and a last "
                                     "run with --resume in place of the flag counts them all",
                               metavar="I/N")  # fmt: skip
    plots: bool = option(True, "draw precision-recall and confusion (needs matplotlib)")
    worst: int = option(12, "how many of the clips with the most errors to draw; 0 = none")
    iou: str | None = option(
        None, "", refused="a box counts from an overlap of 0.5, and there is no NMS to set; for "
                          "files of detections there is --min-overlap",
    )  # fmt: skip
    quiet: bool = option(False, "no progress bar")
    verbose: bool = option(False, "show tracebacks")
    config: str | None = option(None, "YAML or JSON file with these flags", metavar="FILE")

    def __post_init__(self) -> None:
        for name in ("model", "data", "detections", "ground_truth", "out", "ignore_people",
                     "classes"):  # fmt: skip
            if getattr(self, name) == "":
                raise ConfigError(f"{_flag(name)} is empty")
        if self.num_threads < 0:
            raise ConfigError(f"--num-threads is {self.num_threads}, expected 0 or more")
        if self.shard is not None:
            parse_shard(self.shard)
            if self.overwrite:
                raise ConfigError("--shard goes without --overwrite: other shares may be at work "
                                  "in the folder; delete it, or give another --out")  # fmt: skip
        if self.detections is None and self.ground_truth is None:
            self._needs("model", "data", "or, for a file of detections, --detections and "
                        "--ground-truth")  # fmt: skip
            self._has_none(_OF_FILES, "--detections")
        elif self.model is not None:
            raise ConfigError("give either --model or --detections, not both")
        else:
            self._needs("detections", "ground_truth", "one is nothing without the other")
            self._has_none(_OF_MODELS, "--model")

    def _needs(self, one: str, other: str, why: str) -> None:
        for name in (one, other):
            if getattr(self, name) is None:
                raise ConfigError(f"{_flag(name)} is missing; give {_flag(one)} and {_flag(other)},"
                                  f" {why}")  # fmt: skip

    def _has_none(self, names: Sequence[str], owner: str) -> None:
        fields = type(self).__dataclass_fields__
        for name in names:
            if getattr(self, name) != fields[name].default:
                raise ConfigError(f"{_flag(name)} is of use with {owner} only")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def main(argv: Sequence[str]) -> int:
    """Evaluate, print the table, and write the reports."""
    flags = OptionParser(prog="edge val", description=__doc__).parse_into(ValFlags, argv)
    lines = _of_files(flags) if flags.detections is not None else _of_model(flags)
    for line in lines:
        print(line)
    return 0


def _of_files(flags: ValFlags) -> list[str]:
    from edge.evaluation.file_reports import FileOptions, evaluate_files

    assert flags.detections is not None
    assert flags.ground_truth is not None
    options = FileOptions(
        detections=Path(flags.detections),
        ground_truth=Path(flags.ground_truth),
        out=Path(flags.out),
        label_map=None if flags.label_map is None else Path(flags.label_map),
        excluded=None if flags.excluded is None else Path(flags.excluded),
        protocol=flags.protocol,
        iou=flags.min_overlap,
        first_frame=flags.first_frame,
        split=flags.split,
        plots=flags.plots,
        overwrite=flags.overwrite,
    )
    return evaluate_files(options).lines()


def _of_model(flags: ValFlags) -> list[str]:
    from edge.cli._progress import progress_bar
    from edge.data.registry import open_dataset
    from edge.evaluation.predictors import ModelChoice
    from edge.evaluation.validate import ValOptions, compute_share, validate
    from edge.labelling.ignored import ignoring, open_labelled

    assert flags.model is not None
    data = flags.data
    assert data is not None
    people = open_labelled(flags.ignore_people, [data])
    options = ValOptions(
        out=Path(flags.out),
        conf=flags.conf,
        frozen=flags.frozen,
        protocol=flags.protocol,
        workers=flags.workers,
        resume=flags.resume,
        overwrite=flags.overwrite,
        shard=None if flags.shard is None else parse_shard(flags.shard),
        plots=flags.plots,
        worst=flags.worst,
        classes=flags.classes,
        spec=data,
    )
    choice = ModelChoice(
        model=flags.model,
        artifact=flags.artifact,
        num_threads=flags.num_threads,
        device=flags.device,
    )

    def open_clips(shape: ClipSpec) -> ClipDataset:
        return ignoring(open_dataset(data, shape), data, people)

    called = data if people is None else f"{data}, others in {flags.ignore_people} ignored"
    with progress_bar(quiet=flags.quiet) as progress:
        if options.shard is not None:
            return compute_share(
                choice, open_clips, data=called, options=options, progress=progress
            )
        report = validate(choice, open_clips, data=called, options=options, progress=progress)
    return report.lines()
