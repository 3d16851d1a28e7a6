"""`edge label`: detect and track people in unlabelled videos, and write a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import ConfigError
from runtime.options import EXIT_OK, OptionParser, option, parse_share

_MANY = ("--present", "--absent")
_OF_VIDEOS = ("present", "absent", "groups", "val_share", "every_s", "keyframe_every_s",
              "low_conf", "keep_conf", "max_gap_s", "min_track_s", "smooth_s", "fps", "copy",
              "review", "page_tracks", "shard", "seed")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFlags:
    """Flags of `edge label`."""

    source: str = option(dataclasses.MISSING, "folder of videos, or one video", metavar="PATH")
    detector: str = option(dataclasses.MISSING, "person detector as ONNX: MoveNet "
                                                "MultiPose, YOLOX or FastestDet layout",
                           metavar="ONNX")  # fmt: skip
    out: str = option(dataclasses.MISSING, "folder of the data set; a second run continues with the"
                                           " unfinished videos", metavar="DIR")  # fmt: skip
    pictures: bool = option(False, "--source is a folder of photographs: write boxes.csv with "
                                   "scores, for stills:FOLDER:boxes.csv")  # fmt: skip
    person_class: str = option("person", "the detector's class for people: person, or its number, "
                                         "counted from 0", metavar="CLASS")  # fmt: skip
    present: tuple[str, ...] | None = option(None, "in videos whose path matches PATTERN, somebody "
                                                   "does CLASS; several may be given",
                                      metavar="CLASS=PATTERN")  # fmt: skip
    absent: tuple[str, ...] | None = option(None, "in videos whose path matches PATTERN, nobody "
                                                  "does CLASS",
                                     metavar="CLASS=PATTERN")  # fmt: skip
    groups: str | None = option(None, "CSV clip,source with the recording of each clip: none is in "
                                      "both parts of a split; clips without one go to train",
                                metavar="CSV")  # fmt: skip
    val_share: float = option(
        0.0, "share of the clips for annotations_val.csv; 0 = no validation part"
    )
    every_s: float = option(0.125, "seconds between two detections")
    keyframe_every_s: float = option(0.25, "seconds between two labelled keyframes")
    conf: float = option(0.4, "lowest score of a box that starts a track")
    low_conf: float = option(0.1, "lowest score of a box that continues a track")
    keep_conf: float = option(0.25, "lowest mean score of a track that is kept")
    scales: tuple[float, ...] = option((1.0, 1.6), "magnifications at which the detector runs on "
                                                   "each frame; 1 is the whole frame")  # fmt: skip
    flip: bool = option(True, "run the detector on the mirror image, too")
    max_gap_s: float = option(0.75, "longest gap in a track that is filled, seconds")
    min_track_s: float = option(0.5, "shortest track that is kept, seconds")
    smooth_s: float = option(0.625, "window for smoothing boxes, seconds; 0 = none")
    fps: float = option(30.0, "frames per second of folders of images")
    copy: bool = option(False, "copy the videos instead of linking to them")
    review: str | None = option(None, "review.csv from review.html: remove the rejected tracks and "
                                      "videos",
                                metavar="CSV")  # fmt: skip
    page_tracks: int = option(600, "most tracks on review.html, least certain first; 0 = no page")
    threads: int = option(1, "threads of the detector")
    seed: int = option(0, "seed of the split")
    overwrite: bool = option(False, "start again and replace what is in --out")
    shard: str | None = option(None, "I/N: label only this share of the videos and write no tables;"
                                     " shares may run at the same time into one --out; a last run "
                                     "without --shard writes the tables",
                               metavar="I/N")  # fmt: skip
    quiet: bool = option(False, "no progress bar")
    verbose: bool = option(False, "show tracebacks")
    config: str | None = option(None, "YAML or JSON file with these flags", metavar="FILE")

    def __post_init__(self) -> None:
        for name in ("source", "detector", "out", "person_class"):
            if not getattr(self, name):
                raise ConfigError(f"{_flag(name)} is empty")
        for name in ("conf", "low_conf", "keep_conf"):
            self._within(name, 0.0, 1.0)
        self._within("val_share", 0.0, 0.9)
        self._within("every_s", 0.01, 10.0)
        self._within("keyframe_every_s", 0.01, 3600.0)
        self._within("fps", 0.01, 1000.0)
        for name in ("max_gap_s", "min_track_s", "smooth_s"):
            self._within(name, 0.0, 60.0)
        self._within("threads", 1, 1024)
        self._within("page_tracks", 0, 20_000)
        if self.pictures:
            self._has_none(_OF_VIDEOS)
        if self.shard is not None:
            parse_share(self.shard)
            if self.overwrite or self.review is not None:
                raise ConfigError("--shard goes with neither --overwrite nor --review: other "
                                  "shares may be at work in the folder")  # fmt: skip
        if self.low_conf > self.conf:
            raise ConfigError(f"--low-conf {self.low_conf:g} is above --conf {self.conf:g}: boxes "
                              "that continue a track may be less sure, never more")  # fmt: skip
        bad = [scale for scale in self.scales if not 1.0 <= scale <= 8.0]
        if bad or not self.scales:
            raise ConfigError(f"--scales {bad[0] if bad else ''}: expected magnifications from 1 "
                              "to 8")  # fmt: skip

    def _has_none(self, names: Sequence[str]) -> None:
        fields = type(self).__dataclass_fields__
        for name in names:
            if getattr(self, name) != fields[name].default:
                raise ConfigError(f"{_flag(name)} is about videos, and --pictures is given")

    def _within(self, name: str, least: float, most: float) -> None:
        value = getattr(self, name)
        if not least <= value <= most:
            raise ConfigError(f"{_flag(name)} is {value}, expected {least:g} to {most:g}")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _gathered(argv: Sequence[str]) -> list[str]:
    """Let `--present A --present B` mean `--present A B`; argparse would keep the last one."""
    rest: list[str] = []
    values: dict[str, list[str]] = {}
    taking: str | None = None
    for word in argv:
        name, has_value, value = word.partition("=")
        if name in _MANY:
            taking = name
            values.setdefault(name, []).extend([value] if has_value else [])
        elif word.startswith("-") or taking is None:
            taking = None
            rest.append(word)
        else:
            values[taking].append(word)
    for name, words in values.items():
        rest += [name, *words]
    return rest


def main(argv: Sequence[str]) -> int:
    """Label, write the data set, and say what is in it."""
    parser = OptionParser(prog="edge label", description=__doc__)
    flags = parser.parse_into(LabelFlags, _gathered(argv))
    from edge.cli._progress import progress_bar
    from edge.labelling.job import label
    from edge.labelling.pictures import label_pictures
    from edge.labelling.plan import LabelJob
    from edge.labelling.tracks import TrackPlan
    from edge.labelling.tta import ViewPlan

    job = LabelJob(
        source=Path(flags.source),
        detector=Path(flags.detector),
        out=Path(flags.out),
        person_class=flags.person_class,
        present=flags.present or (),
        absent=flags.absent or (),
        groups=None if flags.groups is None else Path(flags.groups),
        val_share=flags.val_share,
        every_s=flags.every_s,
        keyframe_every_s=flags.keyframe_every_s,
        views=ViewPlan(scales=flags.scales, flip=flags.flip),
        tracks=TrackPlan(
            conf=flags.conf,
            low_conf=flags.low_conf,
            keep_conf=flags.keep_conf,
            max_gap_s=flags.max_gap_s,
            min_track_s=flags.min_track_s,
            smooth_s=flags.smooth_s,
        ),
        fps=flags.fps,
        copy=flags.copy,
        review=None if flags.review is None else Path(flags.review),
        page_tracks=flags.page_tracks,
        threads=flags.threads,
        seed=flags.seed,
        overwrite=flags.overwrite,
        shard=None if flags.shard is None else parse_share(flags.shard),
    )
    with progress_bar(quiet=flags.quiet) as progress:
        lines = (label_pictures if flags.pictures else label)(job, progress)
    for line in lines:
        print(line)
    return EXIT_OK
