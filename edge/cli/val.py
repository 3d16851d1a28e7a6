"""`edge val`: how good a checkpoint or an artifact is on labelled clips."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import ConfigError
from runtime.options import OptionParser, option


@dataclass(frozen=True, slots=True, kw_only=True)
class ValFlags:
    """Flags of `edge val`."""

    model: str = option(dataclasses.MISSING, "checkpoint (.pt), bundle folder or zip, or a program "
                                             "(.pte) in its bundle", metavar="MODEL")  # fmt: skip
    data: str = option(dataclasses.MISSING, "labelled clips, such as synthetic-val or "
                                            "synthetic-val:200", metavar="DATA")  # fmt: skip
    artifact: str | None = option(None, "which program of a bundle; else the best that runs here")
    conf: float | None = option(None, "actor threshold in [0, 1]; else the artifact's own, or for "
                                      "a checkpoint the best F1 on these clips")  # fmt: skip
    frozen: bool = option(False, "repeat the keyframe in place of the clip: what a model loses by "
                                 "that, it sees by motion")  # fmt: skip
    out: str = option("runs/val", "folder for the reports", metavar="DIR")
    workers: int = option(1, "processes")
    num_threads: int = option(0, "threads of each process's engine; 0 = a fair share")
    device: str = option("cpu", "device of torch for a checkpoint, such as cuda:0")
    resume: bool = option(False, "go on with the outputs that are in --out")
    overwrite: bool = option(False, "begin again, whatever is in --out")
    plots: bool = option(True, "draw precision-recall and confusion (needs matplotlib)")
    worst: int = option(12, "how many of the clips with the most errors to draw; 0 = none")
    iou: str | None = option(
        None, "", refused="a box counts from an overlap of 0.5, and there is no NMS to set"
    )
    quiet: bool = option(False, "no progress bar")
    verbose: bool = option(False, "show tracebacks")
    config: str | None = option(None, "YAML or JSON file with these flags", metavar="FILE")

    def __post_init__(self) -> None:
        for name in ("model", "data", "out"):
            if not getattr(self, name):
                raise ConfigError(f"--{name} is empty")
        if self.num_threads < 0:
            raise ConfigError(f"--num-threads is {self.num_threads}, expected 0 or more")


def main(argv: Sequence[str]) -> int:
    """Evaluate, print the table, and write the reports."""
    flags = OptionParser(prog="edge val", description=__doc__).parse_into(ValFlags, argv)
    from edge.cli._progress import progress_bar
    from edge.data.registry import open_dataset
    from edge.evaluation.predictors import ModelChoice
    from edge.evaluation.validate import ValOptions, validate

    options = ValOptions(
        out=Path(flags.out),
        conf=flags.conf,
        frozen=flags.frozen,
        workers=flags.workers,
        resume=flags.resume,
        overwrite=flags.overwrite,
        plots=flags.plots,
        worst=flags.worst,
    )
    choice = ModelChoice(
        model=flags.model,
        artifact=flags.artifact,
        num_threads=flags.num_threads,
        device=flags.device,
    )
    with progress_bar(quiet=flags.quiet) as progress:
        report = validate(
            choice,
            lambda shape: open_dataset(flags.data, shape),
            data=flags.data,
            options=options,
            progress=progress,
        )
    for line in report.lines():
        print(line)
    return 0
