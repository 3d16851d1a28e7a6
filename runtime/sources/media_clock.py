"""When the frames of a file were recorded, and when they are due if it is played."""

from __future__ import annotations

import math

# Stamps out of order by B-frames go back by fewer intervals.
_JUMP_INTERVALS = 5
# A step forward that is longer, in seconds and in intervals, is a jump of the clock.
_LONGEST_STEP_S, _LONGEST_STEP_INTERVALS = 5.0, 2.0


class MediaClock:
    """Give each frame of a file its media time: the file's own clock, repaired where it is silent.

    Containers without time stamps, and the last frames of some with B-frames, report nothing, the
    same time again, or one that is a little older; such a frame comes one interval after the one
    before it. A clock that goes back further has jumped: what follows was recorded at another time,
    and keeps the times that the file gives it.

    Attributes:
        stopped_at: Where the file's clock stood still for several frames, seconds; None if it never
            did.
    """

    def __init__(self, fps: float) -> None:
        """Set the rate that serves where the container gives no time."""
        self._interval_s = 1.0 / fps
        self._last: float | None = None
        self._position = math.nan  # of the frame before, as reported
        self._same = 0
        self._begin = 0.0  # of a recording behind a jump, where that is before the file's first
        self.stopped_at: float | None = None

    @property
    def last(self) -> float:
        """Return the time of the newest frame, seconds; 0 before the first."""
        return self._last or 0.0

    def stamp(self, position: float) -> tuple[float, str | None]:
        """Return the time of the next frame, seconds, and how far the clock jumped, in words.

        Args:
            position: What the container reports, seconds; NaN where it reports nothing.
        """
        position = self._unless_it_stands(position)
        last, most_back_s = self._last, _JUMP_INTERVALS * self._interval_s
        if last is None:
            self._begin = position if position < -most_back_s else 0.0
            self._last = max(0.0, position) if math.isfinite(position) else 0.0
            return self._last, None
        jump = None
        if position - self._begin < last - most_back_s:
            jump = f"the file's clock jumps from {last + self._begin:.2f} s to {position:.2f} s"
            self._begin = min(0.0, position)
        t = position - self._begin
        self._last = t if jump or t > last else last + self._interval_s
        return self._last, jump

    def _unless_it_stands(self, position: float) -> float:
        """Return the position; NaN where it says nothing: it is none, or that of the frame before.

        Without this, a clock that stands still would go back to the same time again and again.
        """
        if not math.isfinite(position):
            return math.nan
        stands = position == self._position
        self._position = position
        self._same = self._same + 1 if stands else 0
        if self._same == _JUMP_INTERVALS and self.stopped_at is None:
            self.stopped_at = position
        return math.nan if stands else position


class Pace:
    """When each frame of a file is due, if the file stands for a camera."""

    def __init__(self, fps: float) -> None:
        """Begin with the first frame that is asked about."""
        self._longest_s = max(_LONGEST_STEP_S, _LONGEST_STEP_INTERVALS / fps)
        self._last_t = math.inf
        self._origin_s = 0.0

    def wait_s(self, t: float, now: float) -> float:
        """Return how long to hold back a frame; 0 where it is late.

        Args:
            t: Media time of the frame, seconds. One that goes back, or forward by more than
                five seconds and two intervals, is the beginning of another recording.
            now: The time, seconds of any monotonic clock.
        """
        if not 0 <= t - self._last_t <= self._longest_s:
            self._origin_s = now - t
        self._last_t = t
        return max(0.0, self._origin_s + t - now)
