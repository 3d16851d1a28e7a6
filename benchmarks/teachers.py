"""How well detectors see people who move: `python -m benchmarks.teachers --data jhmdb:FOLDER`.

A detector teaches what it sees (`edge label`). Here each is held against true boxes, picture by
picture and without tracks: actors of real videos, evenly chosen frames of them, and everyone in
clips of the benchmark world. Real videos have boxes of their actors only, so recall is what counts
there; boxes beside an actor may be of somebody else.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.labelling import F64, HIT, Tally, as_filmed
from edge.data.dataset import ClipDataset
from edge.data.registry import open_dataset, parse_real
from edge.labelling.detectors import Detector, Image
from edge.labelling.fuse import overlaps
from edge.labelling.looks import LookPlan, find_people
from edge.labelling.tracks import TrackPlan
from runtime.errors import CaptureError, ConfigError
from runtime.options import EXIT_OK, OptionParser, guarded, option
from runtime.report import write_report
from runtime.types import ClipSpec

# A picture and its true boxes, px.
Scene = tuple[Image, F64]

PLANS = {
    "one look": LookPlan(scales=(1.0,), flip=False),
    "and its mirror": LookPlan(scales=(1.0,)),
    "all looks": LookPlan(),
}
_ONE = ClipSpec(num_frames=1, height=480, width=480, sampling_rate=1, fps=30.0)
_HEADER = ("people", "detector", "looks", "recall, any score", "best IoU, mean", "recall",
           "precision", "AP@0.5", "boxes a picture", "ms a picture")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherOptions:
    """Flags."""

    detectors: tuple[str, ...] = option(dataclasses.MISSING, "ONNX files", metavar="ONNX")
    data: str | None = option(None, "real videos with boxes of actors, such as "
                                    "jhmdb:FOLDER:split1:train", metavar="DATA")  # fmt: skip
    frames: int = option(800, "pictures of them, evenly chosen")
    num: int = option(200, "clips of the benchmark world, a picture each; 0 = none")
    conf: float = option(TrackPlan().conf, "score from which a box counts for recall, precision "
                                           "and boxes a picture")  # fmt: skip
    threads: int = option(1, "threads of the detector")
    out: str = option("runs/bench", "folder for teachers.json and teachers.md")
    verbose: bool = option(False, "show tracebacks")

    def __post_init__(self) -> None:
        for name, least in (("frames", 1), ("num", 0), ("threads", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"--{name} is {getattr(self, name)}, expected {least} or more")
        if not 0 <= self.conf <= 1:
            raise ConfigError(f"--conf is {self.conf}, expected 0 to 1")
        if self.data is None and not self.num:
            raise ConfigError("--num 0 without --data leaves nothing to measure")


@dataclass(slots=True)
class Counts:
    """One detector's boxes against the truth, one way of looking."""

    tally: Tally = dataclasses.field(default_factory=Tally)
    best: list[float] = dataclasses.field(default_factory=list)
    sure: list[int] = dataclasses.field(default_factory=list)
    ms: list[float] = dataclasses.field(default_factory=list)

    def row(self, conf: float) -> dict[str, float]:
        """Return the figures."""
        best = np.array(self.best)
        return {
            "pictures": len(self.sure),
            "people": len(best),
            "recall_any": float((best >= HIT).mean()) if len(best) else float("nan"),
            "best_iou": float(best.mean()) if len(best) else float("nan"),
            **self.tally.figures(conf),
            "boxes": float(np.mean(self.sure)),
            "ms": float(np.median(self.ms)),
        }


def run(options: TeacherOptions) -> str:
    """Measure and return the report's text; both files are written."""
    detectors = [Detector(Path(path), threads=options.threads) for path in options.detectors]
    found: list[dict[str, float | str]] = []
    if options.data is not None:
        scenes = _real(open_dataset(options.data, _ONE, limit=options.frames))
        found += _measured(detectors, "real actors", scenes, options.conf)
    if options.num:
        found += _measured(detectors, "drawn, everyone", _drawn(options.num), options.conf)
    rows = [(str(row["set"]), str(row["detector"]), str(row["looks"]), _three(row["recall_any"]),
             _three(row["best_iou"]), _three(row["recall"]), _three(row["precision"]),
             _three(row["ap50"]), f"{row['boxes']:.2f}", f"{row['ms']:.0f}")
            for row in found]  # fmt: skip
    counts = {str(row["set"]): (row["pictures"], row["people"]) for row in found}
    told = "; ".join(f"{name}: {pictures} pictures, {people} people"
                     for name, (pictures, people) in counts.items())  # fmt: skip
    notes = [
        f"{told}. A person is found where a box overlaps them by {HIT:g} or more. Recall, "
        f"precision and boxes a picture: boxes of a score from {options.conf:g}. Real videos have "
        "boxes of their actors only: a box of somebody else counts as wrong in their precision and "
        "AP. Drawn people are no test of a detector of people on film. Times are the processor's, "
        "which other work on the machine changes little.",
        "",
    ]
    names = " ".join(Path(path).name for path in options.detectors)
    real = None if options.data is None else parse_real(options.data)
    data = "" if real is None else f" --data {options.data}".replace(str(real.root), "FOLDER")
    return write_report(
        Path(options.out), "teachers", title="Detectors as teachers, against true boxes",
        table=[_HEADER, *rows], notes=notes, content={"rows": found, "conf": options.conf},
        command=f"python -m benchmarks.teachers --detectors {names}{data} --frames "
                f"{options.frames} --num {options.num}",
    )  # fmt: skip


def _three(value: float | str) -> str:
    return f"{value:.3f}"


def _measured(
    detectors: Sequence[Detector], name: str, scenes: Iterator[Scene], conf: float
) -> list[dict[str, float | str]]:
    """Look at scenes in all ways; return a row for each detector and way."""
    counts = {(d.path.name, what): Counts() for d in detectors for what in PLANS}
    for number, (picture, true) in enumerate(scenes, 1):
        for detector in detectors:
            for what, plan in PLANS.items():
                count = counts[detector.path.name, what]
                start = time.process_time()
                boxes = find_people(detector, picture, plan)
                count.ms.append((time.process_time() - start) * 1e3)
                xyxy, scores = boxes.xyxy.astype(np.float64), boxes.scores.astype(np.float64)
                count.tally.add(xyxy, scores, true)
                over = overlaps(true, xyxy) if len(xyxy) else np.zeros((len(true), 1))
                count.best += over.max(axis=1).tolist()
                count.sure.append(int((scores >= conf).sum()))
        if number % 100 == 0:
            print(f"{name} {number}", file=sys.stderr)
    return [
        {"set": name, "detector": detector, "looks": what, **count.row(conf)}
        for (detector, what), count in counts.items()
    ]


def _real(clips: ClipDataset) -> Iterator[Scene]:
    """Yield keyframes as they were filmed, with their actors; broken ones are left out."""
    for index in range(len(clips)):
        place = clips.where(index)
        truth = clips.without_frames(index)
        if place is None or truth is None:
            raise ConfigError("--data names clips that lie in no video, expected real videos")
        media = clips.media[place.video]
        try:
            (frame,) = media.read_at_frame(place.frame, _ONE)
        except CaptureError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        size = np.array([frame.shape[1], frame.shape[0]] * 2, np.float64)
        yield frame, truth.boxes.astype(np.float64) * size


def _drawn(count: int) -> Iterator[Scene]:
    """Yield keyframes of the benchmark world in the shape of film, with everyone in them."""
    world = open_dataset(f"synthetic-val:{count}", _ONE)
    for index in range(len(world)):
        sample = world[index]
        size = np.array(sample.size_wh * 2, np.float64)
        true = np.concatenate([sample.boxes, sample.inactive_persons]).astype(np.float64)
        yield as_filmed(sample.frames_rgb[0], sample.size_wh), true * size


def main(argv: Sequence[str]) -> int:
    """Read the flags, measure, print the report."""
    parser = OptionParser(prog="python -m benchmarks.teachers", description=__doc__)
    print(run(parser.parse_into(TeacherOptions, argv)))
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
