"""Frame-mAP and video-mAP side by side, by each published protocol, as figures and tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.data.annotations import BoxTable, Tube
from edge.evaluation.boxes import I64
from edge.evaluation.clip_metrics import plain
from edge.evaluation.frames import FrameMetrics, evaluate_frames, summarise
from edge.evaluation.protocols import PROTOCOLS
from edge.evaluation.video import IOUS, FoundTube, VideoMetrics, evaluate_tubes

SHOWN_IOUS = (0.2, 0.5, 0.75)
MANY = "0.5:0.95"


@dataclass(frozen=True, slots=True, kw_only=True)
class TubeResults:
    """What was found in videos whose every frame is labelled.

    Attributes:
        protocol: The one that the figures are of; the others stand beside.
        class_names: Names of the actions.
        frames: Frame-mAP at an overlap of 0.5, by protocol.
        tubes: Video-mAP, by protocol.
        num_tubes: Found tubes of each class.
        true_tubes: True tubes of each class.
    """

    protocol: str
    class_names: tuple[str, ...]
    frames: Mapping[str, FrameMetrics]
    tubes: Mapping[str, VideoMetrics]
    num_tubes: I64
    true_tubes: I64

    def content(self) -> dict[str, Any]:
        """Return the figures as plain values; NaN is None."""
        frames, tubes = self.frames[self.protocol], self.tubes[self.protocol]
        low, high = frames.tie_bounds
        return {
            "protocol": self.protocol,
            "frame_map": plain(frames.mean_ap),
            "frame_map_tie_bounds": [plain(low), plain(high)],
            "video_map": _video_map(tubes),
            "true_tubes": int(self.true_tubes.sum()),
            "found_tubes": int(self.num_tubes.sum()),
            "ap": {n: plain(a) for n, a in zip(self.class_names, frames.ap, strict=True)},
            "video_ap": {
                name: {key: plain(ap[c]) for key, ap in _columns(tubes).items()}
                for c, name in enumerate(self.class_names)
            },
            "by_protocol": {
                name: {
                    "frame_map": plain(self.frames[name].mean_ap),
                    "video_map": _video_map(self.tubes[name]),
                }
                for name in PROTOCOLS
            },
        }

    def per_class(self) -> list[list[str]]:
        """Return the table of classes."""
        frames, columns = self.frames[self.protocol], _columns(self.tubes[self.protocol])
        rows = [
            ["class", "boxes", "frame-AP@0.5", "tubes", "found",
             *(f"video-AP@{key}" for key in columns)]
        ]  # fmt: skip
        for c, name in enumerate(self.class_names):
            rows.append([
                name, str(int(frames.num_truth[c])), _figure(frames.ap[c]),
                str(int(self.true_tubes[c])), str(int(self.num_tubes[c])),
                *(_figure(ap[c]) for ap in columns.values()),
            ])  # fmt: skip
        return rows

    def by_protocol(self) -> list[list[str]]:
        """Return the table of protocols, the one that counts first."""
        names = [self.protocol, *(name for name in PROTOCOLS if name != self.protocol)]
        header = ["protocol", "frame-mAP@0.5", *(f"video-mAP@{i:g}" for i in SHOWN_IOUS)]
        rows = [[*header, f"video-mAP@{MANY}"]]
        for name in names:
            tubes = self.tubes[name]
            figures = [self.frames[name].mean_ap, *(tubes.mean_ap(iou) for iou in SHOWN_IOUS)]
            rows.append([name, *map(_figure, [*figures, tubes.mean_ap_many])])
        return rows


def tube_results(
    frames: Mapping[str, FrameMetrics],
    found: Sequence[FoundTube],
    truth: Sequence[Tube],
    *,
    class_names: Sequence[str],
    protocol: str,
) -> TubeResults:
    """Evaluate tubes by every protocol and put frame-mAP beside it."""
    classes = len(class_names)
    return TubeResults(
        protocol=protocol,
        class_names=tuple(class_names),
        frames=frames,
        tubes={
            name: evaluate_tubes(found, truth, num_classes=classes, ious=IOUS, rules=each.tubes)
            for name, each in PROTOCOLS.items()
        },
        num_tubes=np.bincount([tube.label for tube in found], minlength=classes),
        true_tubes=np.bincount([tube.label for tube in truth], minlength=classes),
    )


def frames_by_protocol(
    by_class: Iterable[tuple[BoxTable, BoxTable]],
) -> dict[str, FrameMetrics]:
    """Return frame-mAP at an overlap of 0.5 by every protocol.

    Args:
        by_class: For each class its detections and its truth, all labelled 0, in px: one class at
            a time, since all tokens of all classes of a data set are too many at once.
    """
    rankings: dict[str, list[Any]] = {name: [] for name in PROTOCOLS}
    for found, truth in by_class:
        for name, each in PROTOCOLS.items():
            metrics = evaluate_frames(found, truth, num_classes=1, rules=each.frames)
            rankings[name] += metrics.rankings
    return {
        name: summarise(rankings[name], ties="fixed", curve=each.frames.curve)
        for name, each in PROTOCOLS.items()
    }


def one_class(table: BoxTable, label: int) -> BoxTable:
    """Return the rows of one class, labelled 0."""
    rows = np.flatnonzero(table.label == label)
    return BoxTable(
        frame=table.frame[rows],
        label=np.zeros(len(rows), dtype=np.int64),
        xyxy=table.xyxy[rows],
        score=None if table.score is None else table.score[rows],
    )


def _video_map(metrics: VideoMetrics) -> dict[str, float | None]:
    shown = {f"{iou:g}": plain(metrics.mean_ap(iou)) for iou in SHOWN_IOUS}
    return {**shown, MANY: plain(metrics.mean_ap_many)}


def _columns(metrics: VideoMetrics) -> dict[str, Any]:
    columns = {f"{iou:g}": metrics.by_iou[iou].ap for iou in SHOWN_IOUS}
    many = [metrics.by_iou[iou].ap for iou in IOUS if iou >= 0.5]
    return {**columns, MANY: np.mean(many, axis=0)}


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"
