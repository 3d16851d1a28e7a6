"""Video-mAP of a model on a data set of labelled videos: from its tokens to tubes and figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from edge.data.annotations import BoxTable, ClipPlace, Tube
from edge.evaluation.decode_errors import EvalClip
from edge.evaluation.linking import Place, TubeConfig, link_boxes
from edge.evaluation.tube_results import TubeResults, frames_by_protocol, tube_results
from edge.evaluation.video import FoundTube
from runtime.decode import Detections

# Truth that fills this share of its videos' frames belongs to videos that were cut to it.
_WHOLE = 0.9


def clip_tubes(
    clips: Sequence[EvalClip],
    found: Sequence[Detections],
    places: Sequence[ClipPlace],
    truth: Sequence[Tube],
    *,
    class_names: Sequence[str],
    protocol: str,
    config: TubeConfig | None = None,
) -> tuple[TubeResults, list[FoundTube], TubeConfig]:
    """Link what a model says of each keyframe into tubes, and evaluate them.

    Args:
        clips: The clips with their truth.
        found: All tokens of each clip, boxes in [0, 1].
        places: Where each clip lies.
        truth: The true tubes.
        class_names: Names of the actions.
        protocol: Whose figures count.
        config: How tubes are made; by default trimmed where the truth does not fill its videos.

    Returns:
        The results, the tubes, and how they were made.
    """
    sizes = np.array([clip.sample.size_wh for clip in clips], dtype=np.float64)
    scales = np.tile(sizes, 2)
    if config is None:
        config = TubeConfig(trim=_needs_trimming(places, truth))
    where: list[Place] = [(place.video, place.frame) for place in places]
    tubes = link_boxes(where, _likely(found, scales, config, len(class_names)), config)
    frames = frames_by_protocol(_by_class(clips, found, scales, len(class_names)))
    results = tube_results(frames, tubes, truth, class_names=class_names, protocol=protocol)
    return results, tubes, config


def _needs_trimming(places: Sequence[ClipPlace], truth: Sequence[Tube]) -> bool:
    """Return whether the videos go on before or after the truth, as UCF101-24's do."""
    frames: dict[str, set[int]] = {}
    for place in places:
        frames.setdefault(place.video, set()).add(place.frame)
    covered = [
        len(frames[tube.video].intersection(tube.frames.tolist())) / len(frames[tube.video])
        for tube in truth
        if tube.video in frames
    ]
    return bool(covered) and float(np.mean(covered)) < _WHOLE


def _likely(
    found: Sequence[Detections], scales: np.ndarray, config: TubeConfig, classes: int
) -> BoxTable:
    """Return the boxes that linking looks at: the best of each class and clip, in px."""
    frames, labels, boxes, scores = [], [], [], []
    for index, tokens in enumerate(found):
        score = tokens.actions.astype(np.float64) * tokens.actor[:, None].astype(np.float64)
        best = np.argsort(-score, axis=0, kind="stable")[: config.max_boxes]
        token, label = best.ravel(), np.tile(np.arange(classes), len(best))
        kept = score[token, label] >= config.min_score
        token, label = token[kept], label[kept]
        frames.append(np.full(len(token), index))
        labels.append(label)
        boxes.append(tokens.xyxy[token].astype(np.float64) * scales[index])
        scores.append(score[token, label])
    return BoxTable(
        frame=np.concatenate([np.empty(0, np.int64), *frames]).astype(np.int64),
        label=np.concatenate([np.empty(0, np.int64), *labels]).astype(np.int64),
        xyxy=np.concatenate([np.empty((0, 4)), *boxes]),
        score=np.concatenate([np.empty(0), *scores]),
    )


def _by_class(
    clips: Sequence[EvalClip], found: Sequence[Detections], scales: np.ndarray, classes: int
) -> Iterator[tuple[BoxTable, BoxTable]]:
    """Yield for each class all tokens as its detections, and its truth, in px."""
    frame = np.repeat(np.arange(len(found)), [len(tokens) for tokens in found])
    xyxy = np.concatenate([tokens.xyxy for tokens in found]).astype(np.float64) * scales[frame]
    actor = np.concatenate([tokens.actor for tokens in found]).astype(np.float64)
    actions = np.concatenate([tokens.actions for tokens in found])
    true_frame = np.repeat(np.arange(len(clips)), [len(clip.sample.boxes) for clip in clips])
    true_xyxy = np.concatenate([clip.sample.boxes for clip in clips]).astype(np.float64)
    true_xyxy = true_xyxy * scales[true_frame]
    acts = np.concatenate([clip.sample.labels for clip in clips]) > 0.5
    none = np.zeros(len(frame), dtype=np.int64)
    for c in range(classes):
        rows = np.flatnonzero(acts[:, c])
        yield (
            BoxTable(frame=frame, label=none, xyxy=xyxy, score=actor * actions[:, c]),
            BoxTable(
                frame=true_frame[rows], label=np.zeros(len(rows), np.int64), xyxy=true_xyxy[rows]
            ),
        )
