"""Bring a result and the frames around its keyframe together again.

The boxes of a result belong to its keyframe, which lies half a clip before the newest frame. For a
file the frames wait until the result nearest to them is known. For a live picture nobody wants to
wait: each frame shows the newest result.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from runtime.results import FrameStatus, KeyframeResult
from runtime.sources import Frame
from runtime.types import ClipSpec

# Frames that wait are whole pictures: half a clip of 1080p at 30 fps is 150 MB.
MAX_WAITING_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """A frame, its state, and the result to draw on it, if any."""

    frame: Frame
    status: FrameStatus
    result: KeyframeResult | None


class Pairing:
    """Pair the frames of one run with its results; memory is bounded.

    A frame takes the result whose keyframe is nearest, if it is within three quarters of the time
    between two decisions. It waits until no nearer one can come, but never while more than 256 MB
    of frames wait: then the oldest goes with what is known.
    """

    def __init__(self, clip: ClipSpec, stride: int, *, max_bytes: int = MAX_WAITING_BYTES) -> None:
        """Set the times.

        Args:
            clip: The bundle's sampling.
            stride: Frames, at the bundle's fps, between two decisions.
            max_bytes: Bound on the pixels that wait.
        """
        stride_s = stride / clip.fps
        lag_s = (clip.num_frames - 1 - clip.keyframe_index) * clip.period_s
        self.hold_s = 0.75 * stride_s + 1e-6  # time stamps are sums of fractions
        # The clip that holds a frame at its keyframe ends `lag_s` later; its neighbour a stride
        # later still. One period is for the sampling, which takes the nearest frame.
        self.wait_s = lag_s + stride_s + clip.period_s
        self._max_bytes = max_bytes
        self._bytes = 0
        self._frames: deque[tuple[Frame, FrameStatus]] = deque()
        self._results: deque[KeyframeResult] = deque(maxlen=64)

    def __len__(self) -> int:
        """Return how many frames wait."""
        return len(self._frames)

    def add_result(self, result: KeyframeResult) -> None:
        """Take a result; frames that it settles come with the next `add_frame`."""
        self._results.append(result)

    def add_frame(self, frame: Frame, status: FrameStatus) -> list[Paired]:
        """Take a frame and return those that are settled, oldest first."""
        if status.live:
            newest = self._results[-1] if self._results else None
            if newest is not None and not abs(frame.t - newest.t) <= self.hold_s + self.wait_s:
                newest = None
            return [Paired(frame=frame, status=status, result=newest)]
        self._frames.append((frame, status))
        self._bytes += frame.image_bgr.nbytes
        ready = []
        while self._frames and self._settled(self._frames[0][0], frame.t):
            ready.append(self._pop())
        return ready

    def rest(self) -> list[Paired]:
        """Return all frames that still wait, at the end of a run."""
        return [self._pop() for _ in range(len(self._frames))]

    def _settled(self, oldest: Frame, now: float) -> bool:
        if self._bytes > self._max_bytes or not 0 <= now - oldest.t <= self.wait_s:
            return True
        return bool(self._results) and self._results[-1].keyframe_t >= oldest.t

    def _pop(self) -> Paired:
        frame, status = self._frames.popleft()
        self._bytes -= frame.image_bgr.nbytes
        # What lies behind this frame by more than it may show is behind all that follow, too.
        while self._results and self._results[0].keyframe_t < frame.t - self.hold_s:
            self._results.popleft()
        near = [r for r in self._results if abs(r.keyframe_t - frame.t) <= self.hold_s]
        nearest = min(near, key=lambda r: abs(r.keyframe_t - frame.t), default=None)
        return Paired(frame=frame, status=status, result=nearest)
