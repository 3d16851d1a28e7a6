"""When the frames of a file were recorded, and when they are due if it is played."""

from __future__ import annotations

import math

# Stamps out of order by B-frames go back by fewer intervals.
_JUMP_INTERVALS = 5
# A step forward that is longer, in seconds and in intervals, is a jump of the clock.
_LONGEST_STEP_S, _LONGEST_STEP_INTERVALS = 5.0, 2.0


class MediaClock:
    """Give each frame of a file its media time: the file's own clock, repaired where it is silent.

    Containers without time stamps, and the last frames of some with B-frames, report 0 or a time
    that is a little older; such a frame comes one interval after the one before it. A clock that
    goes back further has jumped: what follows was recorded at another time, and keeps the times
    that the file gives it.
    """

    def __init__(self, fps: float) -> None:
        """Set the rate that serves where the container gives no time."""
        self._interval_s = 1.0 / fps
        self._last: float | None = None

    @property
    def last(self) -> float:
        """Return the time of the newest frame, seconds; 0 before the first."""
        return self._last or 0.0

    def stamp(self, position: float) -> tuple[float, str | None]:
        """Return the time of the next frame, seconds, and how far the clock jumped, in words.

        Args:
            position: What the container reports, seconds; NaN where it reports nothing.
        """
        usable = math.isfinite(position) and position >= 0
        last = self._last
        if last is None:
            self._last = position if usable else 0.0
            return self._last, None
        jump = None
        # OpenCV says 0 where it knows no time: a new beginning shows in the frame behind it.
        if usable and 0 < position < last - _JUMP_INTERVALS * self._interval_s:
            jump = f"the file's clock jumps from {last:.2f} s to {position:.2f} s"
        self._last = position if usable and (jump or position > last) else last + self._interval_s
        return self._last, jump


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
