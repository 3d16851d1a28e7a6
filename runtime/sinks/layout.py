"""Where labels go: inside the frame, near their box, and not over one another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# A label may hide this share of another one before it is left out.
MAX_OVERLAP = 0.02


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle in whole pixels: left, top, width, height."""

    x: int
    y: int
    w: int
    h: int

    @property
    def area(self) -> int:
        """Return the number of pixels."""
        return self.w * self.h

    def overlap(self, other: Rect) -> int:
        """Return how many pixels two rectangles share."""
        w = min(self.x + self.w, other.x + other.w) - max(self.x, other.x)
        h = min(self.y + self.h, other.y + other.h) - max(self.y, other.y)
        return max(0, w) * max(0, h)


def place(
    size_wh: tuple[int, int], box: Rect, frame_wh: tuple[int, int], taken: Sequence[Rect]
) -> Rect | None:
    """Find a place for a label.

    Args:
        size_wh: Width and height of the label, pixels.
        box: The box it belongs to.
        frame_wh: Width and height of the frame; the label never leaves it.
        taken: Labels that are placed already.

    Returns:
        The first candidate that covers none of them, else the one that covers least; None when
        even that would hide more than 2 % of a label.
    """
    best: Rect | None = None
    least = MAX_OVERLAP
    for x, y in _candidates(size_wh, box):
        spot = _inside(x, y, size_wh, frame_wh)
        hidden = _hidden(spot, taken)
        if hidden == 0:
            return spot
        if hidden < least:
            best, least = spot, hidden
    return best


def _candidates(size_wh: tuple[int, int], box: Rect) -> Iterable[tuple[int, int]]:
    w, h = size_wh
    right, bottom = box.x + box.w, box.y + box.h
    yield box.x, box.y - h  # above, left-aligned
    yield right - w, box.y - h  # above, right-aligned
    yield box.x, box.y  # inside, at the top
    yield right, box.y  # beside it
    yield box.x - w, box.y
    yield box.x, bottom  # below
    yield right - w, bottom
    yield box.x, bottom - h  # inside, at the bottom
    yield box.x, box.y + h


def _inside(x: int, y: int, size_wh: tuple[int, int], frame_wh: tuple[int, int]) -> Rect:
    w, h = min(size_wh[0], frame_wh[0]), min(size_wh[1], frame_wh[1])
    return Rect(max(0, min(x, frame_wh[0] - w)), max(0, min(y, frame_wh[1] - h)), w, h)


def _hidden(spot: Rect, taken: Sequence[Rect]) -> float:
    """Return the largest share of the new or of any placed label that would be covered."""
    worst = 0.0
    for other in taken:
        shared = spot.overlap(other)
        worst = max(worst, shared / max(1, min(spot.area, other.area)))
    return worst
