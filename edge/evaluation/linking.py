"""From boxes in frames to scored tubes: the device's on-line linking, class by class."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from edge.data.annotations import BoxTable
from edge.evaluation.boxes import F64, I64
from edge.evaluation.video import FoundTube, suppress
from runtime.errors import ConfigError
from runtime.spans import active_spans
from runtime.tubes import LinkConfig, LinkedTube, TubeLinker

F32 = npt.NDArray[np.float32]
Place = tuple[str, int]
"""Name of a video and number of a frame in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TubeConfig:
    """How the tubes of video-mAP are made.

    Attributes:
        link: The on-line linking; its `max_gap` grows with the distance between keyframes.
        min_score: Boxes of a lower probability are not linked. Where scores are no probabilities,
            one lying outside of 0 to 1, all are.
        max_boxes: How many boxes of a class in a frame are linked, the best.
        min_frames: A tube that spans fewer frames is left out; true tubes have 6 or more.
        trim: Cut each tube where its action is on. For videos that go on before and after it
            (UCF101-24), not for those that were cut to it (JHMDB-21).
        suppress_iou: Leave out tubes that overlap a better one by more; 1 keeps all.
    """

    link: LinkConfig = field(default_factory=LinkConfig)
    min_score: float = 0.01
    max_boxes: int = 50
    min_frames: int = 5
    trim: bool = False
    suppress_iou: float = 0.3

    def __post_init__(self) -> None:
        for name in ("max_boxes", "min_frames"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if not 0.0 < self.suppress_iou <= 1.0:
            raise ConfigError(f"suppress_iou is {self.suppress_iou}, expected above 0, at most 1")


def link_boxes(
    places: Sequence[Place], boxes: BoxTable, config: TubeConfig | None = None
) -> list[FoundTube]:
    """Link detections into tubes, each video and class by itself.

    Args:
        places: Where each frame lies; `boxes.frame` counts in it.
        boxes: Detections with scores, corners in px.
        config: How.

    Returns:
        Tubes with a box at each frame from their first to their last.

    Raises:
        ConfigError: The detections have no scores.
    """
    config = config or TubeConfig()
    if boxes.score is None:
        raise ConfigError("the detections have no scores")
    names = sorted({video for video, _ in places})
    number = {name: i for i, name in enumerate(names)}
    video = np.array([number[name] for name, _ in places], dtype=np.int64)[boxes.frame]
    frame = np.array([at for _, at in places], dtype=np.int64)[boxes.frame]
    score = boxes.score
    probable = not len(score) or bool(score.min() >= 0.0 and score.max() <= 1.0)
    kept = np.flatnonzero(score >= config.min_score) if probable else np.arange(len(score))
    order = kept[np.lexsort((
        *boxes.xyxy[kept].T[::-1], -score[kept], frame[kept], boxes.label[kept], video[kept]
    ))]  # fmt: skip
    if not probable:
        # Well below, since the linker rounds scores to float32.
        lowest = min(config.link.start_score, float(score.min()) - 1.0)
        config = replace(config, link=replace(config.link, start_score=lowest))
    steps = _steps(places, number)
    tubes: list[FoundTube] = []
    for rows in _runs(video[order], boxes.label[order]):
        mine = order[rows]
        which = int(video[mine[0]])
        link = replace(config.link, max_gap=max(config.link.max_gap, 3 * steps[which]))
        linked = _link(frame[mine], boxes.xyxy[mine], score[mine], link, config.max_boxes)
        for tube in linked:
            for part in _parts(tube.filled(), config):
                tubes.append(
                    FoundTube(
                        video=names[which], label=int(boxes.label[mine[0]]), frames=part.frames,
                        boxes=part.boxes, score=part.score,
                    )
                )  # fmt: skip
    return tubes if config.suppress_iou >= 1.0 else suppress(tubes, iou=config.suppress_iou)


def _link(
    frame: I64, xyxy: F64, score: F64, config: LinkConfig, max_boxes: int
) -> list[LinkedTube]:
    """Link the boxes of one class in one video; rows by frame, then by falling score."""
    linker = TubeLinker(config)
    for rows in _runs(frame):
        best = slice(rows.start, min(rows.stop, rows.start + max_boxes))
        boxes, scores = xyxy[best].astype(np.float32), score[best].astype(np.float32)
        linker.update(int(frame[rows.start]), boxes, scores)
    return linker.finish()


def _parts(tube: LinkedTube, config: TubeConfig) -> Iterator[LinkedTube]:
    """Yield a tube, or the parts of it where its action is on."""
    spans = [(0, len(tube) - 1)]
    # Scores may be any numbers, logits too; a span is found in those that are no less than 0.
    if config.trim and tube.scores.min() >= 0:
        spans = active_spans(tube.scores)
    for first, last in spans:
        if last - first + 1 >= config.min_frames:
            yield tube.part(first, last)


def _runs(*columns: I64) -> Iterator[slice]:
    """Yield the runs of rows that are equal in all columns."""
    rows = len(columns[0])
    if rows:
        change = np.zeros(rows - 1, dtype=bool)
        for column in columns:
            change |= column[1:] != column[:-1]
        edges = [0, *(np.flatnonzero(change) + 1).tolist(), rows]
        yield from (slice(a, b) for a, b in itertools.pairwise(edges))


def _steps(places: Sequence[Place], number: dict[str, int]) -> list[int]:
    """Return for each video how many frames lie from one keyframe to the next, in the middle."""
    frames: list[set[int]] = [set() for _ in number]
    for video, frame in places:
        frames[number[video]].add(frame)
    return [
        int(np.median(np.diff(np.array(sorted(each))))) if len(each) > 1 else 1 for each in frames
    ]
