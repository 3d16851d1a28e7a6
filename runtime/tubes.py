"""Link the boxes of following keyframes into tubes: who is who from one result to the next.

On-line: each keyframe is looked at once, in order, and what was linked stays linked. The same rule
serves a live stream (a number for each person, `PersonTracks`) and evaluation (whole tubes for
video-mAP, `TubeLinker`). It is the greedy linking that ROAD and the ACT-detector made common, with
pairs in place of tubes as what is put in order:

1. A tube whose newest box is more than `max_gap` old ends.
2. Every live tube and every box that overlap by `link_iou` or more (the tube's newest box counts)
   are a pair, and pairs are joined by falling score + IoU, each tube and each box once. A tube
   whose own box is missing this time therefore does not take its neighbour's.
3. A box that is left, has `start_score` or more, and overlaps none of the boxes that have a tube
   now by `start_iou` or more, starts a tube. One that does overlap is a second opinion on the same
   person: it belongs to no tube (number -1) and is left out; nothing else is suppressed.

The order in which boxes are given does not matter. Gaps in a tube are filled by straight lines
(`LinkedTube.filled`). Where in a tube an action begins and ends is found afterwards, from its
scores along the tube (`runtime/spans.py`): that needs the whole tube and is for evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from runtime.errors import ConfigError
from runtime.results import KeyframeResult

Floats = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

NO_TUBE = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    """How boxes become tubes.

    Attributes:
        link_iou: Least overlap with a tube's newest box, in (0, 1]. ACT takes 0.5, ROAD 0.1; the
            true tubes of JHMDB-21 go down to 0.22 from one frame to the next, and those of
            UCF101-24 to 0.11 where they do not jump.
        start_iou: From this overlap with a box that has a tube on, in (0, 1], a box starts none.
        start_score: Least score of a box that starts a tube.
        max_gap: A tube ends when its newest box is older than this: frames, or whatever the
            positions count.
    """

    link_iou: float = 0.1
    start_iou: float = 0.5
    start_score: float = 0.0
    max_gap: int = 15

    def __post_init__(self) -> None:
        for name in ("link_iou", "start_iou"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected above 0, at most 1")
        if not np.isfinite(self.start_score):
            raise ConfigError(f"start_score is {self.start_score}, expected a finite number")
        if self.max_gap < 1:
            raise ConfigError(f"max_gap is {self.max_gap}, expected 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedTube:
    """The boxes of one person, or of one person's action.

    Attributes:
        number: Counts the tubes of one linker from 0.
        frames: (K,) int64, ascending positions.
        boxes: (K, 4) float32 corners.
        scores: (K,) float32.
    """

    number: int
    frames: I64
    boxes: Floats
    scores: Floats

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def score(self) -> float:
        """Mean of the scores."""
        return float(self.scores.mean(dtype=np.float64))

    def filled(self) -> LinkedTube:
        """Return the tube with a box at each position from its first to its last.

        Between two boxes, box and score change evenly.
        """
        frames = np.arange(self.frames[0], self.frames[-1] + 1, dtype=np.int64)
        if len(frames) == len(self.frames):
            return self
        columns = [
            np.interp(frames, self.frames, column) for column in (*self.boxes.T, self.scores)
        ]
        return LinkedTube(
            number=self.number,
            frames=frames,
            boxes=np.stack(columns[:4], axis=1).astype(np.float32),
            scores=columns[4].astype(np.float32),
        )

    def part(self, first: int, last: int) -> LinkedTube:
        """Return rows `first` to `last`, both included."""
        rows = slice(first, last + 1)
        return LinkedTube(
            number=self.number, frames=self.frames[rows], boxes=self.boxes[rows],
            scores=self.scores[rows],
        )  # fmt: skip


@dataclass(slots=True, eq=False)
class _Live:
    """A tube that may go on; without a history its memory does not grow."""

    number: int
    newest: int
    box: F64
    frames: list[int] = field(default_factory=list)
    boxes: list[F64] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)


class TubeLinker:
    """Links the boxes of one video, or of one class in it, keyframe by keyframe."""

    def __init__(self, config: LinkConfig | None = None, *, history: bool = True) -> None:
        """Begin without tubes.

        Args:
            config: How to link.
            history: Keep every box, for `ended` and `finish`. Without, memory stays flat and there
                are numbers only.
        """
        self.config = config or LinkConfig()
        self.history = history
        self._live: list[_Live] = []
        self._ended: list[_Live] = []
        self._count = 0
        self._position: int | None = None

    def update(self, position: int, boxes: Floats, scores: Floats) -> I64:
        """Link the boxes of the next keyframe.

        Args:
            position: Frame number, or any whole number that grows with time.
            boxes: (K, 4) corners, in the same unit all the time; K may be 0.
            scores: (K,).

        Returns:
            (K,) the tube of each box; -1 for none.

        Raises:
            ConfigError: A shape differs, a number is not finite, or the position does not grow.
        """
        xyxy, score = _checked(boxes, scores)
        if self._position is not None and position <= self._position:
            raise ConfigError(
                f"position {position} after {self._position}: keyframes come in order; call "
                "restart() where a stream begins again"
            )
        self._position = position
        self._end_before(position - self.config.max_gap)
        numbers = np.full(len(xyxy), NO_TUBE, dtype=np.int64)
        if not len(xyxy):
            return numbers
        # By score, then by place: the order in which boxes come must not matter.
        order = np.lexsort((*xyxy.T[::-1], -score))
        for tube, box in self._pairs(xyxy, score, order):
            numbers[box] = self._live[tube].number
            self._extend(self._live[tube], position, xyxy[box], float(score[box]))
        for box in order:
            if numbers[box] == NO_TUBE and score[box] >= self.config.start_score:
                taken = xyxy[numbers != NO_TUBE]
                overlap = iou_matrix(xyxy[box : box + 1], taken)
                if not (overlap >= self.config.start_iou).any():
                    numbers[box] = self._start(position, xyxy[box], float(score[box]))
        return numbers

    def restart(self) -> None:
        """End all tubes: what comes next has nothing to do with what came before."""
        self._end_before(None)
        self._position = None

    def ended(self) -> list[LinkedTube]:
        """Return the tubes that ended since the last call, in the order of their numbers.

        Raises:
            ConfigError: There is no history.
        """
        if not self.history:
            raise ConfigError("this linker keeps no history; make it with history=True")
        ended, self._ended = self._ended, []
        return [
            LinkedTube(
                number=tube.number,
                frames=np.array(tube.frames, dtype=np.int64),
                boxes=np.array(tube.boxes, dtype=np.float32),
                scores=np.array(tube.scores, dtype=np.float32),
            )
            for tube in sorted(ended, key=lambda tube: tube.number)
        ]

    def finish(self) -> list[LinkedTube]:
        """End all tubes and return those that `ended` has not returned yet."""
        self.restart()
        return self.ended()

    def _pairs(self, xyxy: F64, score: F64, order: I64) -> list[tuple[int, int]]:
        """Return which tube goes on with which box."""
        if not self._live:
            return []
        overlap = iou_matrix(np.stack([tube.box for tube in self._live]), xyxy)
        tubes, boxes = np.nonzero(overlap >= self.config.link_iou)
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        gain = score[boxes] + overlap[tubes, boxes]
        pairs: list[tuple[int, int]] = []
        free_tube, free_box = np.ones(len(self._live), bool), np.ones(len(xyxy), bool)
        for pair in np.lexsort((place[boxes], tubes, -gain)):
            tube, box = int(tubes[pair]), int(boxes[pair])
            if free_tube[tube] and free_box[box]:
                free_tube[tube] = free_box[box] = False
                pairs.append((tube, box))
        return pairs

    def _start(self, position: int, box: F64, score: float) -> int:
        tube = _Live(number=self._count, newest=position, box=box)
        self._count += 1
        self._live.append(tube)
        self._extend(tube, position, box, score)
        return tube.number

    def _extend(self, tube: _Live, position: int, box: F64, score: float) -> None:
        tube.newest, tube.box = position, box
        if self.history:
            tube.frames.append(position)
            tube.boxes.append(box)
            tube.scores.append(score)

    def _end_before(self, oldest: int | None) -> None:
        """End the tubes whose newest box is older; None ends all."""
        going = []
        for tube in self._live:
            if oldest is not None and tube.newest >= oldest:
                going.append(tube)
            elif self.history:
                self._ended.append(tube)
        self._live = going


class PersonTracks:
    """A number for each person of a live stream, from one result to the next.

    People are linked whatever they do: by p(actor) and place. Memory stays flat.
    """

    def __init__(self, config: LinkConfig | None = None) -> None:
        """Begin without people.

        Args:
            config: How to link; `max_gap` counts milliseconds here. By default 2 s, since a result
                may be dropped and a person missed.
        """
        self._linker = TubeLinker(config or LinkConfig(max_gap=2000), history=False)
        self._newest_ms: int | None = None

    def update(self, result: KeyframeResult) -> I64:
        """Return (K,) the number of each detection of the next result; -1 for a second opinion.

        A result that is not later than the one before begins a new stream; numbers go on.
        """
        at_ms = round(result.keyframe_t * 1000.0)
        if self._newest_ms is not None and at_ms <= self._newest_ms:
            self.restart()
        self._newest_ms = at_ms
        return self._linker.update(at_ms, result.detections.xyxy, result.detections.actor)

    def restart(self) -> None:
        """Forget everybody: after a gap in the stream. Numbers go on."""
        self._linker.restart()
        self._newest_ms = None


def iou_matrix(a: F64, b: F64) -> F64:
    """Return the IoU (M, N) of boxes (M, 4) and (N, 4); 0 where both are empty."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(box[:, 2:] - box[:, :2], axis=1) for box in (a, b)]
    union = areas[0][:, None] + areas[1][None, :] - inter
    result: F64 = np.divide(inter, union, out=np.zeros(inter.shape), where=union > 0)
    return result


def _checked(boxes: Floats, scores: Floats) -> tuple[F64, F64]:
    xyxy, score = np.asarray(boxes, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if score.ndim != 1 or xyxy.shape != (len(score), 4):
        raise ConfigError(
            f"got boxes {xyxy.shape} and scores {score.shape}, expected (K, 4) and (K,)"
        )
    if not (np.isfinite(xyxy).all() and np.isfinite(score).all()):
        raise ConfigError("a box or a score is not finite")
    return xyxy, score
