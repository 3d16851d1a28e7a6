"""`edge calibrate --threshold`: fit θ and each action's threshold of a bundle's artifacts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from edge.evaluation.options import ClipChoice
from runtime.cli import say
from runtime.options import LongJobOptions, OptionParser, check_options, option, section


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdOptions:
    """Flags of `edge calibrate --threshold`."""

    model: str = option(dataclasses.MISSING, "bundle folder or zip; changed in place",
                        metavar="BUNDLE")  # fmt: skip
    val_data: str = option(
        dataclasses.MISSING, "labelled clips that the model was not trained on, such as "
                             "synthetic-val:500; A+B joins several", metavar="DATA",
    )  # fmt: skip
    chosen: ClipChoice = section(ClipChoice)
    artifact: str | None = option(None, "only this artifact; else every one that runs here")
    num_threads: int = option(0, "threads of the engine; 0 = one for each processor", least=0)
    common: LongJobOptions = section(LongJobOptions)

    def __post_init__(self) -> None:
        check_options(self)


def main(argv: Sequence[str]) -> int:
    """Fit, write the bundle, and print the old and the new θ of each artifact."""
    parser = OptionParser(prog="edge calibrate --threshold", description=__doc__)
    options = parser.parse_into(ThresholdOptions, argv)
    from calibration.labelled_clips import open_labelled_clips
    from calibration.refit import refit_thresholds
    from edge.cli._progress import progress_bar
    from runtime.bundle import Bundle

    with Bundle.load(options.model) as bundle:
        names = bundle.spec.class_names
    chosen = options.chosen
    with progress_bar(quiet=options.common.quiet) as progress:
        report = refit_thresholds(
            options.model,
            lambda shape: open_labelled_clips(
                options.val_data, shape, names, limit=chosen.clips, people=chosen.ignore_people
            ),
            artifact=options.artifact,
            num_threads=options.num_threads,
            progress=progress,
        )
    for line in report.lines():
        say(line)
    return 0
