"""Clips whose frames cannot be decoded: kept as missed, counted, named; too many are refused.

A video that does not open is left out by its reader; damage inside of one shows only when a clip
is read. The people in it count as missed, as those of a keyframe without a row in a file of
detections do.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.data.dataset import ClipDataset
from edge.data.samples import ClipSample
from runtime.errors import CaptureError
from runtime.types import Outputs

logger = logging.getLogger(__name__)

MOST_NAMED = 100  # clips that a report or the log names; the others are counted
MOST_IN_TEN = 1  # of ten clips, so many may be lost before a figure means nothing
_FIRST = 3  # named in the printed report


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalClip:
    """A clip as far as it could be read, and what a model gives for it.

    Attributes:
        index: Of the clip in its data set.
        sample: The clip; without its frames, and without truth, where these are not known.
        reason: Why its frames cannot be decoded; empty where they are there.
        has_truth: Whether its truth is known.
        outputs: The model's, without a batch axis; None where it was not run.
    """

    index: int
    sample: ClipSample
    reason: str = ""
    has_truth: bool = True
    outputs: Outputs | None = None


def read_clip(dataset: ClipDataset, index: int) -> EvalClip:
    """Read a clip; where that fails, its truth alone, or else only its number."""
    try:
        return EvalClip(index=index, sample=dataset[index])
    except CaptureError as error:
        reason = _one_line(str(error)) or type(error).__name__
    blank = dataset.without_frames(index)
    if blank is not None:
        return EvalClip(index=index, sample=blank, reason=reason)
    nobody = np.zeros((0, 4), np.float32)
    sample = ClipSample(
        frames_rgb=np.zeros((0, 0, 0, 3), np.uint8),
        boxes=nobody,
        labels=np.zeros((0, len(dataset.class_names)), np.float32),
        inactive_persons=nobody,
        clip_id=f"clip {index}",
        size_wh=(1, 1),
    )
    return EvalClip(index=index, sample=sample, reason=reason, has_truth=False)


class DecodeErrors:
    """Counts the clips of a run that cannot be decoded, and warns of them while it runs."""

    def __init__(self, clips: int, *, then: str = "run again") -> None:
        """Count among so many clips.

        Args:
            clips: Number of all clips.
            then: What to do when the videos are mended, for the message.
        """
        self._clips, self._then, self._count = clips, then, 0

    def add(self, clip_id: str, reason: str) -> None:
        """Add a clip by its name and the reason.

        Raises:
            CaptureError: They are more than a tenth of all clips by now.
        """
        self._count += 1
        if self._count <= MOST_NAMED:
            logger.warning("clip %s cannot be decoded, the %d. of this run: %s",
                           clip_id, self._count, reason)  # fmt: skip
        elif self._count == MOST_NAMED + 1:
            logger.warning("further clips that cannot be decoded are counted, not named")
        if self._count * 10 > self._clips * MOST_IN_TEN:
            raise CaptureError(
                f"{self._count} of {self._clips} clips cannot be decoded so far, more than a "
                f"tenth, so that a figure would mean nothing; the last: {reason}. Mend the videos "
                f"(`edge data check --decode` finds them), then {self._then}"
            )


def content_of(lost: Sequence[EvalClip]) -> dict[str, Any]:
    """Return what `metrics.json` says of clips that cannot be decoded."""
    return {
        "undecodable_clips": len(lost),
        "undecodable_left_out": sum(not clip.has_truth for clip in lost),
        "undecodable": [
            {"clip_id": _one_line(clip.sample.clip_id), "why": clip.reason}
            for clip in lost[:MOST_NAMED]
        ],
    }


def lines_of(content: dict[str, Any]) -> list[str]:
    """Return the same for a reader, nothing where every clip was decoded."""
    count, left_out = content["undecodable_clips"], content["undecodable_left_out"]
    if not count:
        return []
    counts = "count as missed" if not left_out else f"{left_out} of unknown truth are left out"
    if 0 < left_out < count:
        counts = f"{count - left_out} count as missed, {counts}"
    named = content["undecodable"][:_FIRST]
    rest = [f"  and {count - len(named)} more: see metrics.json"] if count > len(named) else []
    return [
        f"note: clips that cannot be decoded: {count}; {counts}",
        *(f"  {clip['clip_id']}: {clip['why']}" for clip in named),
        *rest,
    ]


def _one_line(text: str) -> str:
    """Return a text that any file and terminal takes; a path may hold bytes that are no UTF-8."""
    return " ".join(text.split()).encode("utf-8", "backslashreplace").decode("utf-8")
