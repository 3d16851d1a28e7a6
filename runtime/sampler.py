"""Choose by time which frames of a source become the samples of a clip.

A clip wants one sample each `period_s = sampling_rate / fps` seconds, whatever rate the source has.
The rule below looks at time stamps only and never waits for a later frame. `edge_runner` (C++) does
the same in the same order of operations, all in float64, so that both choose the same frames.

State: `origin` (time of the first frame), `filled` (grid points filled so far), `prev` (time of the
previous frame, sampled or not), `last_d` (the previous interval, infinite at first), `newest` (time
of the newest sampled frame). For a frame at time `t`:

1. No frame came before (or `restart()` was called): `origin = prev = newest = t`, `filled = 1`,
   `last_d = inf`; the frame is the first sample. Done.
2. `t == prev`: the frame is ignored. Done.
3. `t < prev` or `t - prev > max_gap_s`: a gap. The clip so far is void; go on as in 1.
4. `d = t - prev`; `reach = t + 0.5 * min(d, last_d)`; then `last_d = d`; `prev = t`.
   (A frame is nearest to the grid points up to half an interval ahead of it; the smaller of two
   intervals is taken, so that one late frame does not make the source look slow.)
5. While `g = origin + filled * period_s` is `<= reach`: the point takes the nearer of the newest
   sample and this frame: if `g - newest < t - g` the newest sample is repeated, else this frame is
   taken; `filled += 1`. Points taken by this frame always come after the repeated ones.
   Afterwards, if this frame was taken, `newest = t`.

The grid is a multiplication, not a running sum: 29.97 fps does not drift.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from runtime.errors import ConfigError

MIN_GAP_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one frame means for the clip.

    Attributes:
        repeats: How often the newest sample is put in again, before this frame.
        takes: How often this frame is put in (more than once where the source is slow).
        filled: Grid points filled since the last restart, after this frame.
        gap: Why the clip so far is void, or None where it is not; flush before anything else.
    """

    repeats: int
    takes: int
    filled: int
    gap: str | None = None

    @property
    def wanted(self) -> bool:
        """Tell whether the frame changes the clip at all."""
        return self.takes > 0 or self.repeats > 0 or self.gap is not None


class Sampler:
    """Apply the rule of this module to one source, frame by frame."""

    def __init__(self, *, sampling_rate: int, fps: float, max_gap_s: float | None = None) -> None:
        """Set the grid.

        Args:
            sampling_rate: Frames, at `fps`, from one sample to the next.
            fps: Rate at which the model was trained, frames per second.
            max_gap_s: Longest time between two frames of one clip; by default the larger of
                0.5 s and two periods.

        Raises:
            ConfigError: A value is not a positive finite number.
        """
        values = {"sampling_rate": float(sampling_rate), "fps": fps}
        if max_gap_s is not None:
            values["max_gap_s"] = max_gap_s
        for name, value in values.items():
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} is {value}; it must be a number above 0")
        self.period_s = sampling_rate / fps
        self.max_gap_s = max(MIN_GAP_S, 2 * self.period_s) if max_gap_s is None else max_gap_s
        self.repeated = 0
        self.gaps = 0
        self._filled = 0
        self._origin = self._prev = self._newest = 0.0
        self._last_d = self._interval_s = math.inf

    @property
    def slow(self) -> bool:
        """Tell whether frames come further apart than the clip's samples; one late frame is not."""
        return math.isfinite(self.interval_s) and self.interval_s > self.period_s * (1 + 1e-6)

    @property
    def interval_s(self) -> float:
        """Return the smaller of the last two intervals, seconds; infinite before there are any."""
        return self._interval_s

    def restart(self) -> None:
        """Forget the frames so far; the next one is the first sample of a new clip."""
        self._filled = 0

    def offer(self, t: float) -> Sample:
        """Say what the next frame means for the clip.

        Args:
            t: Time of the frame, seconds, on the source's own clock.

        Returns:
            How often to repeat the newest sample and to take this frame.

        Raises:
            ConfigError: `t` is not finite.
        """
        if not math.isfinite(t):
            raise ConfigError(f"a frame has time {t}; a finite number of seconds is needed")
        if self._filled == 0:
            return self._first(t, None)
        d = t - self._prev
        if d < 0:
            self.gaps += 1
            return self._first(t, f"time went back by {-d:.3f} s")
        if d > self.max_gap_s:
            self.gaps += 1
            return self._first(t, f"no frame for {d:.2f} s (limit {self.max_gap_s:.2f} s)")
        if d == 0:
            return Sample(repeats=0, takes=0, filled=self._filled)
        self._interval_s = min(d, self._last_d)
        reach = t + 0.5 * self._interval_s
        self._last_d = d
        self._prev = t
        return self._fill(t, reach)

    def _first(self, t: float, gap: str | None) -> Sample:
        self._origin = self._prev = self._newest = t
        self._last_d = self._interval_s = math.inf
        self._filled = 1
        return Sample(repeats=0, takes=1, filled=1, gap=gap)

    def _fill(self, t: float, reach: float) -> Sample:
        repeats = takes = 0
        while (g := self._origin + self._filled * self.period_s) <= reach:
            if g - self._newest < t - g:
                repeats += 1
            else:
                takes += 1
            self._filled += 1
        if takes:
            self._newest = t
        self.repeated += repeats + max(0, takes - 1)
        return Sample(repeats=repeats, takes=takes, filled=self._filled)
