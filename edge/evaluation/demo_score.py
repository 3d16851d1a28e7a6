"""How well the boxes of a short video fit what is true in it: a few counts, for people to read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.world.video import VideoFrame
from runtime.errors import ConfigError
from runtime.tubes import iou_matrix

MIN_IOU = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoScore:
    """Counts over the keyframes of a video.

    Attributes:
        keyframes: Keyframes that have results.
        actors: People who act in them.
        found: Of these, how many have a box of their own (IoU of at least a half).
        named: Of the found, how many have one of their actions as the box's likeliest one.
        bystanders: People who do nothing of interest.
        disturbed: Boxes on a bystander.
        elsewhere: Boxes on nobody, or the second on an actor.
    """

    keyframes: int
    actors: int
    found: int
    named: int
    bystanders: int
    disturbed: int
    elsewhere: int

    def lines(self) -> list[str]:
        """Return what to print."""
        share = f" ({self.found / self.actors:.0%})" if self.actors else ""
        return [
            f"truth of this clip, at IoU {MIN_IOU}, over {self.keyframes} keyframes:",
            f"  people who act: {self.actors}, found {self.found}{share}, action rightly named "
            f"{self.named}",
            f"  boxes on bystanders: {self.disturbed} of {self.bystanders}; on nobody, or twice on "
            f"somebody: {self.elsewhere}",
        ]


def score_demo(
    results: Iterable[Mapping[str, Any]],
    truth: Sequence[VideoFrame],
    size_wh: tuple[int, int],
    *,
    actions: Collection[str] | None = None,
) -> DemoScore:
    """Compare results with the truth.

    Args:
        results: Objects as `edge run --save-json` writes them.
        truth: The frames of the video.
        size_wh: Its width and height, px.
        actions: Those that the video may show; None takes all. A model may know others, too.

    Raises:
        ConfigError: A result names a frame that the video does not have.
    """
    counts = np.zeros(7, np.int64)
    scale = np.array([*size_wh, *size_wh], np.float64)
    for result in results:
        index = int(result["keyframe"])
        if not 0 <= index < len(truth):
            raise ConfigError(f"keyframe {index} of a video of {len(truth)} frames")
        frame = truth[index]
        boxes = np.array([d["xyxy"] for d in result["detections"]], np.float64).reshape(-1, 4)
        actors = np.array([box for box, _ in frame.actors], np.float64).reshape(-1, 4)
        others = np.array(frame.inactive_persons, np.float64).reshape(-1, 4)
        pairs = _pairs(iou_matrix(boxes, actors * scale))
        named = sum(
            _likeliest(result["detections"][box]["actions"], actions) in frame.actors[actor][1]
            for box, actor in pairs
        )
        left = np.delete(boxes, [box for box, _ in pairs], axis=0)
        disturbed = len(_pairs(iou_matrix(left, others * scale)))
        counts += (
            1, len(actors), len(pairs), named, len(others), disturbed, len(left) - disturbed,
        )  # fmt: skip
    return DemoScore(
        **dict(
            zip(
                ("keyframes", "actors", "found", "named", "bystanders", "disturbed", "elsewhere"),
                counts.tolist(),
                strict=True,
            )
        )
    )


def _likeliest(scores: Mapping[str, float], among: Collection[str] | None) -> str | None:
    names = [name for name in scores if among is None or name in among]
    return max(names, key=lambda name: scores[name]) if names else None


def _pairs(overlaps: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """Return the pairs of at least `MIN_IOU`, the closest first, each box and person once."""
    overlaps = overlaps.copy()
    pairs: list[tuple[int, int]] = []
    while overlaps.size and overlaps.max() >= MIN_IOU:
        box, person = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
        pairs.append((int(box), int(person)))
        overlaps[box], overlaps[:, person] = -1.0, -1.0
    return pairs
