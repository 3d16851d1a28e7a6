"""`edge calibrate`: choose calibration clips and record activation ranges.

With `--threshold` it fits the actor threshold of a finished bundle's artifacts instead.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.cli import say
from runtime.errors import BackendUnavailableError
from runtime.options import LongJobOptions, OptionParser, check_options, option, section


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateOptions:
    """Flags of `edge calibrate`."""

    model: str = option(dataclasses.MISSING, "checkpoint", metavar="MODEL.pt")
    calib_data: str = option(
        dataclasses.MISSING,
        "folder of videos, one video, or a data set such as synthetic-train or labelled:train",
    )
    calib_clips: int = option(256, "number of clips", least=1)
    out: str = option(dataclasses.MISSING, "calibration file to write", metavar="FILE.npz")
    seed: int = option(0, "seed for choosing the clips", least=0)
    overwrite: bool = option(False, "replace an existing file")
    common: LongJobOptions = section(LongJobOptions)

    def __post_init__(self) -> None:
        check_options(self)


def require_export_extra() -> None:
    """Refuse early, with the command that installs what is missing."""
    import importlib.util

    missing = [p for p in ("torch", "torchao", "executorch") if not importlib.util.find_spec(p)]
    if missing:
        raise BackendUnavailableError(
            f"this verb needs {', '.join(missing)}, not installed here; "
            "run: pip install '.[export]'"
        )
    # torchao registers a constant in a way that torch warns of, and misses libraries for GPUs that
    # nothing here uses; no user can do anything about either.
    for name in ("torch.utils._pytree", "torchao"):
        logging.getLogger(name).setLevel(logging.ERROR)


def main(argv: Sequence[str]) -> int:
    """Choose clips through the runtime's own preprocess and write the calibration file."""
    if "--threshold" in argv:
        from calibration import threshold_cli

        return threshold_cli.main([word for word in argv if word != "--threshold"])
    parser = OptionParser(
        prog="edge calibrate", description=__doc__,
        epilog="edge calibrate --threshold --model BUNDLE --val-data synthetic-val: fit the actor "
               "threshold of each artifact again (--threshold --help lists its flags)",
    )  # fmt: skip
    options = parser.parse_into(CalibrateOptions, argv)
    require_export_extra()
    from calibration.calibrate import calibrate
    from edge.cli._progress import progress_bar

    with progress_bar(quiet=options.common.quiet) as progress:
        report = calibrate(
            options.model,
            options.calib_data,
            options.calib_clips,
            options.out,
            seed=options.seed,
            overwrite=options.overwrite,
            progress=progress,
        )
    for line in report.lines():
        say(line)
    return 0
