"""`edge val --detections --ground-truth`: any model's answers, from files, without the model."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edge.data.annotations import BoxTable, Tube
from edge.data.ava_files import (
    AvaRows,
    read_detections,
    read_excluded,
    read_ground_truth,
    read_label_map,
)
from edge.evaluation.ava import ava_tables, without_videos
from edge.evaluation.boxes import I64
from edge.evaluation.clip_metrics import F32, plain
from edge.evaluation.frames import FrameMetrics, evaluate_frames
from edge.evaluation.linking import Place, link_boxes
from edge.evaluation.options import FileOptions, ReportOptions
from edge.evaluation.plots import check_matplotlib, plot_classes
from edge.evaluation.protocols import KEYFRAMES, PROTOCOLS, TUBES
from edge.evaluation.reports import figure, write_csv
from edge.evaluation.tube_json import is_tube_file, write_tubes
from edge.evaluation.tube_results import TubeResults, frames_by_protocol, one_class, tube_results
from edge.evaluation.tube_truth import is_truth_file, read_found, read_truth
from edge.evaluation.video import FoundTube
from runtime.errors import ConfigError
from runtime.outputs import write_atomically
from runtime.report import markdown_table

FILES = ("metrics.json", "per_class.csv", "precision_recall.png", "tubes.json.gz")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """A finished evaluation of files.

    Attributes:
        content: What `metrics.json` holds.
        per_class: Rows of `per_class.csv`, the header first.
        text: The figures as lines.
        files: Names of the files in the folder.
    """

    content: dict[str, Any]
    per_class: list[list[str]]
    text: list[str]
    files: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the figures as text."""
        return [*markdown_table(self.per_class), *self.text]


def evaluate_files(options: FileOptions, report: ReportOptions) -> FileReport:
    """Hold a file of detections against a file of truth, and write the reports.

    Raises:
        ConfigError: A file cannot be read, they do not fit each other, or `out` holds a report.
        BackendUnavailableError: Plots are asked for and matplotlib is missing.
    """
    if report.plots:
        check_matplotlib()
    there = [name for name in FILES if (report.out / name).exists()]
    if there and not report.overwrite:
        raise ConfigError(
            f"{report.out} holds a report ({there[0]}); pass --overwrite, or another --out"
        )
    by_tubes = is_truth_file(options.ground_truth)
    if is_tube_file(options.detections) and not by_tubes:
        raise ConfigError(
            f"{options.detections} holds tubes and {options.ground_truth} keyframes; give the "
            "truth as tubes, too"
        )
    return _by_tubes(options, report) if by_tubes else _by_keyframes(options, report)


def _by_keyframes(options: FileOptions, report: ReportOptions) -> FileReport:
    """AVA's protocol, or the frames of another."""
    protocol = report.protocol or KEYFRAMES
    excluded = read_excluded(options.excluded) if options.excluded else frozenset()
    names = read_label_map(options.label_map) if options.label_map else None
    truth = read_ground_truth(options.ground_truth)
    found = read_detections(options.detections)
    tables = ava_tables(found, truth, excluded=excluded, label_map=names)
    metrics = evaluate_frames(
        tables.found, tables.truth, num_classes=tables.num_classes, iou=options.min_overlap,
        classes=tables.labels, rules=PROTOCOLS[protocol].frames,
    )  # fmt: skip
    called = {label: (names or {}).get(label, str(label)) for label in tables.labels}
    if len(set(called.values())) < len(called):  # a label map may give one name to two labels
        called = {label: f"{name} ({label})" for label, name in called.items()}
    low, high = metrics.tie_bounds
    content = {
        **_sources(options, protocol),
        "iou": options.min_overlap,
        "keyframes": tables.keyframes,
        "frame_map": plain(metrics.mean_ap),
        "frame_map_tie_bounds": [plain(low), plain(high)],
        "ap": {called[label]: plain(metrics.ap[label]) for label in tables.labels},
    }
    at = f"@{options.min_overlap:g}"
    rows = [["class", "name", "truth", "detections", f"AP{at}", "AP least", "AP most"]]
    for label in tables.labels:
        rows.append([
            str(label), called[label], str(metrics.num_truth[label]),
            str(metrics.num_detections[label]), figure(plain(metrics.ap[label])),
            figure(plain(metrics.ap_least[label])), figure(plain(metrics.ap_most[label])),
        ])  # fmt: skip
    text = [
        f"{options.detections.name} against {options.ground_truth.name}, protocol {protocol}: "
        f"{tables.keyframes} keyframes, {len(tables.truth)} true labels, {len(tables.found)} "
        "detections",
        f"frame-mAP{at}  {metrics.mean_ap:.6f}  ({low:.4f} to {high:.4f} over the orders of equal "
        "scores)",
    ]
    shown = replace(
        metrics,
        **{
            name: getattr(metrics, name)[tables.labels]
            for name in ("ap", "ap_least", "ap_most", "num_truth", "num_detections")
        },
        rankings=tuple(metrics.rankings[label] for label in tables.labels),
    )
    return _write(options, report, content, rows, text, list(called.values()), shown, None)


def _by_tubes(options: FileOptions, report: ReportOptions) -> FileReport:
    """Frame-mAP and video-mAP, by every protocol."""
    if options.label_map or options.excluded:
        raise ConfigError("--label-map and --excluded are for keyframes; tubes name their classes")
    if options.min_overlap != 0.5:
        raise ConfigError("--min-overlap is for keyframes; tubes are measured at 0.2 to 0.95")
    truth = read_truth(options.ground_truth, split=options.split)
    names = truth.class_names
    first: int | None = None
    if is_truth_file(options.detections):
        read = read_found(options.detections, split=options.split)
        tubes = [
            replace(tube, label=_class_of(options, read.class_names, names, tube.label))
            for tube in read.tubes
        ]
        counts = [tube.video not in truth.others for tube in tubes]
        tubes = list(itertools.compress(tubes, counts))
        places, boxes = _boxes_of(tubes, list(itertools.compress(read.scores, counts)))
    else:
        rows = without_videos(read_detections(options.detections), truth.others)
        first = _first_frame(options, rows, truth.tubes)
        places, boxes = _boxes_of_rows(options, rows, len(names), first)
        tubes = link_boxes(places, boxes, options.tubes)
    frames = frames_by_protocol(_by_class(places, boxes, truth.tubes, len(names)))
    results = tube_results(
        frames, tubes, truth.tubes, class_names=names, protocol=report.protocol or TUBES
    )
    videos = len({tube.video for tube in truth.tubes})
    content = {**_sources(options, results.protocol), "videos": videos, **results.content()}
    if first is not None:
        content["first_frame"] = first
    text = [
        f"{options.detections.name} against {options.ground_truth.name}: {videos} videos, "
        f"{len(truth.tubes)} true tubes, {len(tubes)} found; classes by protocol "
        f"{results.protocol}",
        *markdown_table(results.by_protocol()),
    ]
    if first == 1 and options.first_frame is None:
        text.append("note: the CSV never has frame 0, so its frames are counted from 1")
    shown = results.frames[results.protocol]
    return _write(
        options, report, content, results.per_class(), text, list(names), shown, results, tubes
    )


def _write(
    options: FileOptions,
    report: ReportOptions,
    content: dict[str, Any],
    rows: list[list[str]],
    text: list[str],
    names: Sequence[str],
    shown: FrameMetrics,
    results: TubeResults | None,
    tubes: Sequence[FoundTube] = (),
) -> FileReport:
    """Write the reports."""
    out = report.out
    out.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (out / name).unlink(missing_ok=True)
    files = ["metrics.json", "per_class.csv"]
    write_csv(out / "per_class.csv", rows)
    if results is not None and not is_tube_file(options.detections):
        write_tubes(out / "tubes.json.gz", names, tubes)
        files.append("tubes.json.gz")
    if report.plots:
        title = f"{options.detections.name} against {options.ground_truth.name}"
        plot_classes(
            out / "precision_recall.png", title=title, class_names=names, frames=shown,
            what=f"frame-mAP@{options.min_overlap:g}",
        )  # fmt: skip
        files.append("precision_recall.png")
    write_atomically(out / "metrics.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    text = [*text, f"wrote {', '.join(files)} to {out}"]
    return FileReport(content=content, per_class=rows, text=text, files=tuple(files))


def _sources(options: FileOptions, protocol: str) -> dict[str, Any]:
    return {
        "detections": options.detections.name,
        "ground_truth": options.ground_truth.name,
        "protocol": protocol,
    }


def _class_of(options: FileOptions, mine: Sequence[str], truth: Sequence[str], label: int) -> int:
    """Return the truth's number of a class that the detections name."""
    if mine[label] not in truth:
        raise ConfigError(
            f"{options.detections} says {mine[label]!r}, which {options.ground_truth} does not "
            f"know; it has {', '.join(truth[:8])}{' ...' if len(truth) > 8 else ''}"
        )
    return list(truth).index(mine[label])


def _first_frame(options: FileOptions, rows: AvaRows, truth: Sequence[Tube]) -> int:
    """Return what the rows call the first frame of a video."""
    if options.first_frame is not None:
        return options.first_frame
    least = min((frame for _, frame in rows.keyframes), default=0)
    return int(least == 1 and any(tube.frames[0] == 0 for tube in truth))


def _boxes_of_rows(
    options: FileOptions, rows: AvaRows, classes: int, first: int
) -> tuple[list[Place], BoxTable]:
    """Return detections by frame; labels count from 1 in AVA's files, frames from `first`."""
    places = [(video, frame - first) for video, frame in rows.keyframes]
    before = [place for place in places if place[1] < 0]
    if before:
        raise ConfigError(
            f"{options.detections} has frame {before[0][1] + first} of {before[0][0]}; with tubes "
            f"the second column is the frame's number, from {first}"
        )
    boxes = rows.boxes
    if len(boxes) and not 1 <= boxes.label.min() <= boxes.label.max() <= classes:
        raise ConfigError(
            f"{options.detections} has labels {boxes.label.min()} to {boxes.label.max()}, expected "
            f"1 to {classes}: the classes of {options.ground_truth}, counted from 1"
        )
    if len(boxes) and np.abs(boxes.xyxy).max() <= 2.0:
        raise ConfigError(
            f"{options.detections} has boxes from {boxes.xyxy.min():g} to {boxes.xyxy.max():g}, "
            "shares of the frame; expected px, as the tubes have"
        )
    return places, replace(boxes, label=boxes.label - 1)


def _boxes_of(found: Sequence[FoundTube], scores: Sequence[F32]) -> tuple[list[Place], BoxTable]:
    """Return the boxes of tubes by frame, each with its score."""
    places, frame = _places(found)
    return places, BoxTable(
        frame=frame,
        label=np.repeat([t.label for t in found], [len(t) for t in found]).astype(np.int64),
        xyxy=np.concatenate([np.empty((0, 4)), *(t.boxes for t in found)]),
        score=np.concatenate([np.empty(0), *scores]),
    )


def _places(tubes: Sequence[Tube]) -> tuple[list[Place], I64]:
    rows = [(tube.video, frame) for tube in tubes for frame in tube.frames.tolist()]
    places = sorted(set(rows))
    number = {place: i for i, place in enumerate(places)}
    return places, np.array([number[row] for row in rows], dtype=np.int64)


def _by_class(
    places: Sequence[Place], boxes: BoxTable, truth: Sequence[Tube], classes: int
) -> Iterator[tuple[BoxTable, BoxTable]]:
    """Yield for each class its detections and its truth, their frames numbered alike."""
    true_places, true_frame = _places(truth)
    number = {place: i for i, place in enumerate(places)}
    for place in true_places:
        number.setdefault(place, len(number))
    renumber = np.array([number[place] for place in true_places], dtype=np.int64)
    table = BoxTable(
        frame=renumber[true_frame],
        label=np.repeat([t.label for t in truth], [len(t) for t in truth]).astype(np.int64),
        xyxy=np.concatenate([np.empty((0, 4)), *(t.boxes for t in truth)]),
    )
    for c in range(classes):
        yield one_class(boxes, c), one_class(table, c)
