"""`edge val`: evaluate a model, or a file of detections, on labelled clips."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge.evaluation.options import NO_FILE, ClipChoice, FileOptions, ModelChoice, ValOptions
from runtime.errors import ConfigError
from runtime.options import (
    LongJobOptions,
    OptionParser,
    check_options,
    defaults_of,
    flag_of,
    option,
    section,
    to_flat,
)

if TYPE_CHECKING:
    from edge.data.dataset import ClipDataset
    from runtime.types import ClipSpec

_OF_MODELS = ("data", "clips", "artifact", "conf", "frozen", "device", "resume", "shard",
              "ignore_people", "classes")  # fmt: skip
_OF_FILES = ("label_map", "excluded", "min_overlap", "first_frame", "split")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValFlags:
    """Flags of `edge val`."""

    model: ModelChoice = section(ModelChoice)
    data: str | None = option(
        None, "labelled clips: synthetic-val, synthetic-val:200, ava:FOLDER, ucf101-24:FOLDER, "
        "jhmdb:FOLDER, or your own folder", metavar="DATA",
    )  # fmt: skip
    chosen: ClipChoice = section(ClipChoice)
    val: ValOptions = section(ValOptions)
    files: FileOptions = section(FileOptions)
    iou: str | None = option(
        None, "", refused="a box counts from an overlap of 0.5, and there is no NMS to set; for "
                          "files of detections there is --min-overlap",
    )  # fmt: skip
    common: LongJobOptions = section(LongJobOptions)

    def __post_init__(self) -> None:
        check_options(self)
        if self.files.detections == self.files.ground_truth == NO_FILE:
            self._needs("model", "data", "or, for a file of detections, --detections and "
                        "--ground-truth")  # fmt: skip
            self._has_none(_OF_FILES, "--detections")
        elif self.model.model:
            raise ConfigError("give either --model or --detections, not both")
        else:
            self._needs("detections", "ground_truth", "one is nothing without the other")
            self._has_none(_OF_MODELS, "--model")

    def _needs(self, one: str, other: str, why: str) -> None:
        values, defaults = to_flat(self), defaults_of(ValFlags)
        for name in (one, other):
            if values[name] == defaults[name]:
                raise ConfigError(
                    f"{flag_of(name)} is missing; give {flag_of(one)} and {flag_of(other)}, {why}"
                )

    def _has_none(self, names: Iterable[str], owner: str) -> None:
        values, defaults = to_flat(self), defaults_of(ValFlags)
        for name in names:
            if values[name] != defaults[name]:
                raise ConfigError(f"{flag_of(name)} is of use with {owner} only")


def main(argv: Sequence[str]) -> int:
    """Evaluate, print the table, and write the reports."""
    flags = OptionParser(prog="edge val", description=__doc__).parse_into(ValFlags, argv)
    for line in _of_model(flags) if flags.files.detections == NO_FILE else _of_files(flags):
        print(line)
    return 0


def _of_files(flags: ValFlags) -> list[str]:
    from edge.evaluation.file_reports import evaluate_files

    return evaluate_files(flags.files, flags.val).lines()


def _of_model(flags: ValFlags) -> list[str]:
    from edge.cli._progress import progress_bar
    from edge.data.registry import open_dataset
    from edge.evaluation.validate import compute_share, validate
    from edge.labelling.ignored import ignoring, open_labelled

    data = flags.data
    assert data is not None
    clips, ignored = flags.chosen.clips, flags.chosen.ignore_people
    people = open_labelled(ignored, [data])
    options = replace(flags.val, spec=data)

    def open_clips(spec: ClipSpec) -> ClipDataset:
        return ignoring(open_dataset(data, spec, limit=clips or None), data, people)

    called = data if people is None else f"{data}, others in {ignored} ignored"
    if clips:
        called += f", at most {clips} clips of it"
    with progress_bar(quiet=flags.common.quiet) as progress:
        if options.shard is not None:
            return compute_share(
                flags.model, open_clips, data=called, options=options, progress=progress
            )
        report = validate(flags.model, open_clips, data=called, options=options, progress=progress)
    return report.lines()
