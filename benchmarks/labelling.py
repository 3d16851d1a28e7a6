"""How good the labels of `edge label` are: `python -m benchmarks.labelling --detectors D.onnx`.

Clips of the benchmark world have true boxes: one look of the detector is held against all looks,
and each without and with tracks. Real clips have none: there the labels of two detectors are held
against each other.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.data.dataset import ClipDataset
from edge.data.registry import open_dataset
from edge.data.samples import ClipSample
from edge.labelling.detectors import Detector, Image
from edge.labelling.frames import sampled_frames
from edge.labelling.fuse import Boxes, overlaps
from edge.labelling.looks import LookPlan, find_people
from edge.labelling.tracks import Track, TrackPlan, make_tracks
from runtime.errors import ConfigError
from runtime.options import EXIT_OK, OptionParser, guarded, option
from runtime.report import write_report
from runtime.types import ClipSpec

F64 = npt.NDArray[np.float64]
# Samples of a clip, and the boxes of everyone at its keyframe, px.
Scene = tuple[list[Image], F64]

HIT = 0.5
# A clip of the world: so many samples, every fourth frame of 30 a second, the keyframe between.
_SAMPLES, _RATE, _FPS, _SIDE = 9, 4, 30.0, 480
_SHAPE = ClipSpec(num_frames=_SAMPLES, height=_SIDE, width=_SIDE, sampling_rate=_RATE, fps=_FPS)
_GRID, _TILE, _FOUR_BY_THREE = 3, (320, 240), ((640, 480), (1024, 768))
_EVERY_S = _RATE / _FPS
_FIGURES = ("precision", "recall", "f1", "ap50", "iou")
_HEADER = ("detector", "people", "boxes from", "precision", "recall", "F1", "AP@0.5",
           "mean IoU of hits", "ms a frame")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LabellingOptions:
    """Flags."""

    detectors: tuple[str, ...] = option(dataclasses.MISSING, "ONNX files", metavar="ONNX")
    num: int = option(80, "clips of the benchmark world")
    small: int = option(8, "pictures of nine such clips each, whose people are small")
    real: str | None = option(None, "folder of real videos, on which the first two detectors are "
                                    "held against each other", metavar="DIR")  # fmt: skip
    scales: tuple[float, ...] = option(LookPlan().scales, "magnifications of all looks, as of "
                                                          "`edge label`")  # fmt: skip
    clips: int = option(24, "how many of those, evenly chosen")
    threads: int = option(1, "threads of the detector")
    out: str = option("runs/bench", "folder for labelling.json and labelling.md")
    verbose: bool = option(False, "show tracebacks")

    def __post_init__(self) -> None:
        for name, least in (("num", 0), ("small", 0), ("clips", 1), ("threads", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"--{name} is {getattr(self, name)}, expected {least} or more")
        if self.real is not None and len(self.detectors) < 2:
            raise ConfigError("--real needs two --detectors to hold against each other")


@dataclass(slots=True)
class Tally:
    """Boxes held against the truth, sample by sample."""

    scores: list[float] = dataclasses.field(default_factory=list)
    hits: list[bool] = dataclasses.field(default_factory=list)
    ious: list[float] = dataclasses.field(default_factory=list)
    truth: int = 0

    def add(self, boxes: F64, scores: F64, truth: F64) -> None:
        """Give each true box the surest box that covers it; one box is one hit at most."""
        self.truth += len(truth)
        free = np.ones(len(truth), bool)
        over = overlaps(boxes, truth) if len(boxes) and len(truth) else np.zeros((len(boxes), 0))
        for index in np.argsort(-scores, kind="stable").tolist():
            row = np.where(free, over[index], 0.0)
            best = int(row.argmax()) if len(row) else -1
            hit = best >= 0 and row[best] >= HIT
            if hit:
                free[best] = False
                self.ious.append(float(row[best]))
            self.hits.append(bool(hit))
            self.scores.append(float(scores[index]))

    def figures(self, conf: float) -> dict[str, float]:
        """Return precision, recall and F1 of boxes of at least `conf`, and AP of all."""
        order = np.argsort(-np.array(self.scores), kind="stable")
        hits = np.array(self.hits, np.float64)[order]
        sure = np.array(self.scores)[order] >= conf
        precision = float(hits[sure].sum()) / max(int(sure.sum()), 1)
        recall = float(hits[sure].sum()) / max(self.truth, 1)
        curve = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        best = np.maximum.accumulate(curve[::-1])[::-1] if len(curve) else curve
        return {
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / max(precision + recall, 1e-9),
            "ap50": float((best * hits).sum()) / max(self.truth, 1),
            "iou": float(np.mean(self.ious)) if self.ious else float("nan"),
        }


def run(options: LabellingOptions) -> str:
    """Measure and return the report's text; both files are written."""
    detectors = [Detector(Path(path), threads=options.threads) for path in options.detectors]
    rows, found = [], []
    for people, scenes in (("large", _clips(options.num)), ("small", _grids(options.small))):
        for row in _against_truth(detectors, people, scenes, options.scales):
            found.append(row)
            rows.append((str(row["detector"]), people, str(row["from"]),
                         *(f"{row[key]:.3f}" for key in _FIGURES), f"{row['ms']:.0f}"))  # fmt: skip
    notes = [
        f"Truth: everyone at the keyframes of {options.num} clips of synthetic-val, actors and "
        f"bystanders; {_SAMPLES} samples {_EVERY_S:.3f} s apart, which tracks may use. Small: "
        f"{options.small} pictures of nine such clips each, a third as large. Precision and "
        f"recall: boxes of a score from {TrackPlan().conf:g}, and all boxes of tracks. The world's "
        "people are drawn: the figures compare ways of labelling, not detectors.",
        "",
    ]
    content: dict[str, object] = {"world": found}
    if options.real is not None:
        plan = LookPlan(scales=options.scales)
        agreement = _on_real(detectors[:2], Path(options.real), options.clips, plan)
        content["real"] = agreement
        notes += _told(agreement, detectors), ""
    detectors_told = " ".join(Path(path).name for path in options.detectors)
    return write_report(
        Path(options.out), "labelling", title="Labels of `edge label` against the truth",
        table=[_HEADER, *rows], notes=notes, content=content,
        command=f"python -m benchmarks.labelling --detectors {detectors_told} --num "
                f"{options.num} --small {options.small} --scales "
                + " ".join(f"{scale:g}" for scale in options.scales)
                + (" --real DIR" if options.real is not None else ""),
    )  # fmt: skip


def _clips(count: int) -> Iterator[Scene]:
    """Yield clips of the world as they are: samples, and who is at the keyframe."""
    world = _world()
    for number in range(count):
        yield _scene(world[number], world[number].size_wh)


def _grids(count: int) -> Iterator[Scene]:
    """Yield pictures of nine clips each, so that everyone is a third as large."""
    world = _world()
    tiles: list[Scene] = []
    for number in range(len(world)):
        if count == 0:
            return
        if world[number].size_wh not in _FOUR_BY_THREE:
            continue
        tiles.append(_scene(world[number], _TILE))
        if len(tiles) == _GRID * _GRID:
            frames = []
            for sample in range(_SAMPLES):
                pictures = [frames_of[sample] for frames_of, _ in tiles]
                rows = [np.hstack(pictures[i : i + _GRID]) for i in range(0, len(pictures), _GRID)]
                frames.append(np.vstack(rows))
            moved = [true + np.tile([i % _GRID * _TILE[0], i // _GRID * _TILE[1]], 2)
                     for i, (_, true) in enumerate(tiles)]  # fmt: skip
            yield frames, np.concatenate(moved)
            tiles, count = [], count - 1


def _world() -> ClipDataset:
    return open_dataset("synthetic-val", _SHAPE)


def _scene(sample: ClipSample, size_wh: tuple[int, int]) -> Scene:
    frames = [as_filmed(frame, size_wh) for frame in sample.frames_rgb]
    true = np.concatenate([sample.boxes, sample.inactive_persons]).astype(np.float64)
    return frames, true * np.tile(np.array(size_wh, np.float64), 2)


def _against_truth(
    detectors: Sequence[Detector], people: str, scenes: Iterator[Scene], scales: tuple[float, ...]
) -> list[dict[str, float | str]]:
    """Label scenes in all ways; return a row of figures for each."""
    plans = {"one look": LookPlan(scales=(1.0,), flip=False), "all looks": LookPlan(scales=scales)}
    tallies: dict[tuple[str, str], Tally] = {}
    times: dict[tuple[str, str], list[float]] = {}
    for number, (frames, true) in enumerate(scenes, 1):
        for detector, (what, plan) in itertools.product(detectors, plans.items()):
            key = (detector.path.name, what)
            start = time.perf_counter()
            samples = [find_people(detector, frame, plan) for frame in frames]
            times.setdefault(key, []).append((time.perf_counter() - start) / len(frames) * 1e3)
            boxes = samples[_SHAPE.keyframe_index]
            tallies.setdefault(key, Tally()).add(
                boxes.xyxy.astype(np.float64), boxes.scores.astype(np.float64), true
            )
            tracks = make_tracks(samples, _EVERY_S, TrackPlan())
            tallies.setdefault((key[0], f"{what}, tracks"), Tally()).add(
                *_of_tracks(tracks, _SHAPE.keyframe_index), true
            )
        print(f"{people} {number}", file=sys.stderr)
    return [
        {
            "detector": name,
            "people": people,
            "from": what,
            "ms": float(np.median(times[name, what.removesuffix(", tracks")])),
            **tally.figures(0.0 if "tracks" in what else TrackPlan().conf),
        }
        for (name, what), tally in tallies.items()
    ]


def as_filmed(frame_rgb: Image, size_wh: tuple[int, int]) -> Image:
    """Undo the network's square: the shape of the film, and BGR, as a file would give it."""
    resized = cv2.resize(frame_rgb, size_wh, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(resized[:, :, ::-1])


def _of_tracks(tracks: Sequence[Track], sample: int) -> tuple[F64, F64]:
    here = [(track.at(sample), track.score) for track in tracks]
    boxes = [box for box, _ in here if box is not None]
    scores = [score for box, score in here if box is not None]
    return np.array(boxes, np.float64).reshape(-1, 4), np.array(scores, np.float64)


def _on_real(
    detectors: Sequence[Detector], folder: Path, clips: int, plan: LookPlan
) -> dict[str, object]:
    """Label real clips with both detectors; return how far the labels agree."""
    from edge.data.clips import find_videos
    from edge.data.media import open_media

    videos = find_videos(folder)
    chosen = [videos[i] for i in np.linspace(0, len(videos) - 1, min(clips, len(videos))).round()
              .astype(int)]  # fmt: skip
    rows, agreed = [0, 0], [0, 0]
    tracks_found = [0, 0]
    ious: list[float] = []
    for number, path in enumerate(chosen):
        media = open_media(path)
        frames = list(sampled_frames(media, _EVERY_S))
        both = [make_tracks(_samples(detector, frames, plan), _EVERY_S, TrackPlan())
                for detector in detectors]  # fmt: skip
        for index in (0, 1):
            tracks_found[index] += len(both[index])
        for sample in range(len(frames)):
            first, second = (_of_tracks(tracks, sample)[0] for tracks in both)
            over = overlaps(first, second) if len(first) and len(second) else np.zeros((1, 1))
            rows[0] += len(first)
            rows[1] += len(second)
            agreed[0] += int((over.max(axis=1) >= HIT).sum())
            agreed[1] += int((over.max(axis=0) >= HIT).sum())
            ious += over.max(axis=1)[over.max(axis=1) >= HIT].tolist()
        print(f"real {number + 1}/{len(chosen)}", file=sys.stderr)
    return {
        "clips": len(chosen),
        "boxes": rows,
        "agreed": agreed,
        "tracks": tracks_found,
        "iou": float(np.mean(ious)) if ious else float("nan"),
    }


def _samples(
    detector: Detector, frames: Sequence[npt.NDArray[np.uint8]], plan: LookPlan
) -> list[Boxes]:
    return [find_people(detector, frame, plan) for frame in frames]


def _told(agreement: dict[str, object], detectors: Sequence[Detector]) -> str:
    rows, agreed, tracks = (agreement[key] for key in ("boxes", "agreed", "tracks"))
    assert isinstance(rows, list)
    assert isinstance(agreed, list)
    assert isinstance(tracks, list)
    parts = [
        f"{detectors[i].path.name}: {tracks[i]} tracks, {rows[i]} boxes, of which "
        f"{agreed[i] / max(rows[i], 1):.0%} lie over one of the other's (IoU {HIT:g} or more)"
        for i in (0, 1)
    ]
    return (f"{agreement['clips']} real clips, without truth: {'; '.join(parts)}; mean IoU of "
            f"these {agreement['iou']:.2f}.")  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Read the flags, measure, print the report."""
    parser = OptionParser(prog="python -m benchmarks.labelling", description=__doc__)
    print(run(parser.parse_into(LabellingOptions, argv)))
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
