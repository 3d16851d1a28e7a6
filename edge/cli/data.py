"""`edge data preview | check`: show labelled clips, or check a data set."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.data.dataset import ClipDataset, RepeatKeyframe
from edge.data.samples import ClipSample
from runtime.errors import ConfigError
from runtime.options import EXIT_FAILED, EXIT_OK, OptionParser, did_you_mean, option
from runtime.outputs import why_no_output
from runtime.types import ClipSpec

VERBS = ("preview", "check")
SHEET_SUFFIXES = (".png", ".jpg")
VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi")
_MAX_CLIPS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewOptions:
    """Flags of `edge data preview`."""

    data: str = option("synthetic-val", "data set, such as synthetic-val, synthetic-train:500, "
                                        "ava:FOLDER:train, or a folder of your own")  # fmt: skip
    out: str = option(dataclasses.MISSING, "contact sheet (.png, .jpg) or video (.mp4, .avi)",
                      metavar="FILE")  # fmt: skip
    num: int = option(16, "number of clips")
    start: int = option(0, "index of the first clip")
    seed: int = option(0, "seed of the drawn world")
    columns: int = option(4, "frames of a clip on a sheet")
    num_frames: int = option(8, "samples of a clip")
    sampling_rate: int = option(4, "frames between two samples")
    fps: float = option(30.0, "frame rate for --sampling-rate")
    size: int = option(160, "side of the input, px")
    ignore_people: str | None = option(None, "as for edge train; ignored people are grey",
                                       metavar="DIR")  # fmt: skip
    classes: str = option("own", "classes to show: own, joint, or a table, as for edge train")
    frozen: bool = option(False, "every sample is the keyframe (control without motion)")
    overwrite: bool = option(False, "replace an existing file")
    verbose: bool = option(False, "show tracebacks")
    config: str | None = option(None, "YAML or JSON file with these flags", metavar="FILE")

    def __post_init__(self) -> None:
        for name, least, most in (("num", 1, _MAX_CLIPS), ("columns", 1, 64)):
            value = getattr(self, name)
            if not least <= value <= most:
                raise ConfigError(f"--{name} is {value}, expected {least} to {most}")
        for name in ("start", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"--{name} is {getattr(self, name)}, expected 0 or more")
        _check_out(self.out, overwrite=self.overwrite)

    @property
    def shape(self) -> ClipSpec:
        """What the clips look like."""
        return ClipSpec(num_frames=self.num_frames, height=self.size, width=self.size,
                         sampling_rate=self.sampling_rate, fps=self.fps)  # fmt: skip


def _check_out(out: str, *, overwrite: bool) -> None:
    """Refuse a name that nothing can be written under, before a clip is made.

    Raises:
        ConfigError: The name is empty, of another kind of file, taken, or in no folder.
    """
    if not out:
        raise ConfigError("--out is empty, expected the name of a file to write")
    path = Path(out)
    known = (*SHEET_SUFFIXES, *VIDEO_SUFFIXES)
    if path.suffix.lower() not in known:
        raise ConfigError(f"--out {out} ends in {path.suffix or 'nothing'}; choose from: "
                          f"{' '.join(known)}")  # fmt: skip
    reason = why_no_output(path)
    if reason:
        raise ConfigError(reason)
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} exists; add --overwrite to replace it, or name another file")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}; make it first")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """Flags of `edge data check`."""

    data: str = option(dataclasses.MISSING, "what to check: a folder of your own data, ava:FOLDER, "
                                            "ucf101-24:FOLDER, jhmdb:FOLDER, stills:FOLDER, "
                                            "gmdcsa24:FOLDER, davis:FOLDER, or one table (.csv); "
                                            "the word --data may be omitted",
                       metavar="PATH")  # fmt: skip
    decode: bool = option(False, "also decode every frame of every video (slow)")
    most: int = option(50, "largest number of faults to print; all are counted")
    json: bool = option(False, "print one JSON object instead of the tables")
    quiet: bool = option(False, "no progress bar")
    verbose: bool = option(False, "show tracebacks")
    config: str | None = option(None, "YAML or JSON file with these flags", metavar="FILE")

    def __post_init__(self) -> None:
        if not self.data:
            raise ConfigError("the path to check is empty")
        if self.most < 0:
            raise ConfigError(f"--most is {self.most}, expected 0 or more")


def main(argv: Sequence[str]) -> int:
    """Run `edge data <verb> ...`."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print("usage: edge data preview --out FILE [flags]   (edge data preview --help lists them)")
        print("       edge data check PATH [flags]           (edge data check --help lists them)")
        raise SystemExit(EXIT_OK)  # as argparse does for its own --help
    if argv[0] not in VERBS:
        raise ConfigError(
            f"unknown verb 'data {argv[0]}'.{did_you_mean(argv[0], VERBS)} "
            f"Choose from: {', '.join(VERBS)}"
        )
    return preview(argv[1:]) if argv[0] == "preview" else check(argv[1:])


def check(argv: Sequence[str]) -> int:
    """List the faults of a data set, row by row; the exit code is 1 if there are any."""
    parser = OptionParser(prog="edge data check", description=check.__doc__)
    options = parser.parse_into(CheckOptions, _with_flag(argv))
    from edge.cli._progress import progress_bar
    from edge.data.check import check_data

    with progress_bar(quiet=options.quiet or not options.decode) as progress:
        reports = check_data(options.data, decode=options.decode, progress=progress)
    good = all(report.good for report in reports)
    if options.json:
        content = {"data": options.data, "good": good, "parts": [r.as_dict() for r in reports]}
        print(json.dumps(content, indent=1, ensure_ascii=False))
        return EXIT_OK if good else EXIT_FAILED
    for report in reports:
        for line in report.lines(options.most):
            print(line)
    return EXIT_OK if good else EXIT_FAILED


def _with_flag(argv: Sequence[str]) -> list[str]:
    """Put `--data` before the first word that is neither a flag nor the value of one."""
    words = list(argv)
    for index, word in enumerate(words):
        valued = index > 0 and words[index - 1] in ("--data", "--most", "--config")
        if not word.startswith("-") and not valued:
            return [*words[:index], "--data", *words[index:]]
    return words


def preview(argv: Sequence[str]) -> int:
    """Write a contact sheet or a video of labelled clips."""
    parser = OptionParser(prog="edge data preview", description=preview.__doc__)
    options = parser.parse_into(PreviewOptions, argv)
    from edge.data.preview import contact_sheet, write_sheet, write_video
    from edge.data.registry import open_dataset
    from edge.data.remap import joined
    from edge.labelling.ignored import ignoring, open_labelled

    people = open_labelled(options.ignore_people, [options.data])
    dataset: ClipDataset = open_dataset(options.data, options.shape, seed=options.seed)
    dataset = joined(dataset, options.data, options.classes)
    dataset = ignoring(dataset, options.data, people)
    if options.frozen:
        dataset = RepeatKeyframe(dataset)
    if options.start >= len(dataset):
        raise ConfigError(f"--start {options.start}: {options.data} has {len(dataset)} clips")
    last = min(options.start + options.num, len(dataset))
    seen = _Tally()
    samples = seen.watch(dataset[index] for index in range(options.start, last))
    path, names = Path(options.out), dataset.class_names
    if path.suffix.lower() in SHEET_SUFFIXES:
        write_sheet(path, contact_sheet(samples, names, columns=options.columns))
    else:
        write_video(path, samples, names, period_s=options.shape.period_s,
                    overwrite=options.overwrite)  # fmt: skip
    print(f"{options.data}: clips {options.start} to {last - 1}, {seen.actors} actors, "
          f"{seen.inactive_persons} bystanders (grey)"
          + (f", {seen.ignored} ignored (grey)" if people is not None else ""))  # fmt: skip
    print(f"written to {path}")
    return EXIT_OK


@dataclass(slots=True)
class _Tally:
    """Counts people while samples pass by."""

    actors: int = 0
    inactive_persons: int = 0
    ignored: int = 0

    def watch(self, samples: Iterator[ClipSample]) -> Iterator[ClipSample]:
        for sample in samples:
            self.actors += len(sample.boxes)
            self.inactive_persons += len(sample.inactive_persons)
            self.ignored += len(sample.ignored)
            yield sample
