"""`edge train`: train a model, on one device or under torchrun on several."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from edge.cli._train_progress import train_progress
from edge.training.config import TrainOptions
from edge.training.run_folder import CONFIG_FILE, check_same_run, clear_folder, read_run
from runtime.errors import BackendUnavailableError
from runtime.options import EXIT_INTERRUPTED, EXIT_OK, OptionParser, flags_from

if TYPE_CHECKING:
    from edge.training.learner import TrainingWrapper
    from edge.training.loop import Outcome


def main(argv: Sequence[str]) -> int:
    """Train until the schedule, a limit or a signal ends it; 130 where it was a signal."""
    options = parse(argv)
    _require_train_extra()
    from edge.training.launch import is_first_process
    from edge.training.loop import Trainer

    first = is_first_process()
    logging.basicConfig(
        level=logging.INFO if first else logging.WARNING, format="%(message)s", stream=sys.stderr
    )
    if options.run.resume is None and first:
        clear_folder(options.folder, overwrite=options.run.overwrite)
    with train_progress(quiet=options.common.quiet or not first) as callback:
        outcome = Trainer(options, wrapper=_wrapper(options), callback=callback).run()
    if first:
        for line in _summary(outcome):
            print(line)
    return EXIT_INTERRUPTED if outcome.reason == "interrupted" else EXIT_OK


def parse(argv: Sequence[str]) -> TrainOptions:
    """Turn flags into options; those of a run that is resumed come from its folder.

    Raises:
        ConfigError: A flag is wrong, or differs from what the run began with.
        ArtifactError: There is no run to resume.
    """
    parser = OptionParser(prog="edge train", description=__doc__)
    folder = _resumed(argv)
    if folder is None:
        return parser.parse_into(TrainOptions, argv)
    begun = read_run(folder)
    # The run's own flags stand in front, so that a wrong one of now is found and refused below.
    flags = flags_from(begun, TrainOptions, str(folder / CONFIG_FILE))
    options = parser.parse_into(TrainOptions, [*flags, *argv])
    check_same_run(options, begun)
    return options


def _resumed(argv: Sequence[str]) -> Path | None:
    for index, word in enumerate(argv):
        if word.startswith("--resume="):
            return Path(word.split("=", 1)[1])
        if word == "--resume" and index + 1 < len(argv):
            return Path(argv[index + 1])
    return None


def _require_train_extra() -> None:
    import importlib.util

    missing = [p for p in ("torch", "scipy") if not importlib.util.find_spec(p)]
    if missing:
        raise BackendUnavailableError(
            f"training needs {', '.join(missing)}, not installed here; run: pip install '.[train]'"
        )


def _wrapper(options: TrainOptions) -> TrainingWrapper | None:
    """Return the form in which the model is trained; None trains it as it is."""
    if not options.qat.qat:
        return None
    # By name, as verbs: the package that trains for int8 lies above this one.
    int8 = importlib.import_module("quantize.training")
    return cast("TrainingWrapper", int8.training_wrapper(
        freeze_ranges=options.qat.qat_freeze_ranges, freeze_norms=options.qat.qat_freeze_norms
    ))  # fmt: skip


def _summary(outcome: Outcome) -> list[str]:
    folder = outcome.folder
    how = "finished" if outcome.reason == "finished" else f"stopped ({outcome.reason})"
    best = "" if outcome.best is None else f", best frame-mAP@0.5 {outcome.best:.4f}"
    lines = [f"{how} at step {outcome.step} of {outcome.steps}{best}: {folder}"]
    if outcome.reason == "finished":
        weights = folder / ("best.pt" if (folder / "best.pt").exists() else "last.pt")
        lines += [
            f"Validate: edge val --model {weights} --data DATA",
            f"Export: edge export --model {weights} --calib-data DATA --out BUNDLE",
        ]
    else:
        lines.append(f"Go on: edge train --resume {folder}")
    return lines
