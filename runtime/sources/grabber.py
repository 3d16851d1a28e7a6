"""The one thread that takes frames from a driver, stamps them, and opens a lost stream again."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np

from runtime.errors import CameraLostError, CaptureError, EdgeError
from runtime.sources.frames import Frame, Gap, Image, SourceConfig
from runtime.sources.mailbox import Mailbox
from runtime.sources.media_clock import MediaClock, Pace
from runtime.sources.opencv import Capture, damaged_frames, frame_count, position_s
from runtime.sources.uri import SourceUri

if TYPE_CHECKING:
    from runtime.sampler import Sample, Sampler

logger = logging.getLogger(__name__)

MAX_BACKLOG_S = 5.0
# A stream is at its camera's pace when this many frames took this many intervals: cameras that send
# in pairs or threes pass, and those of up to three times the rate that they announce.
_PACE_FRAMES, _PACE_WAIT = 5, 1.5

Opener: TypeAlias = Callable[[SourceUri, SourceConfig], Capture]


class Grabber(threading.Thread):
    """Read one capture until it ends, fails, or is told to stop."""

    def __init__(
        self,
        uri: SourceUri,
        config: SourceConfig,
        capture: Capture,
        *,
        opener: Opener,
        live: bool,
        fps: float,
        sampler: Sampler | None,
    ) -> None:
        """Take over an open capture; `start()` begins reading."""
        super().__init__(name=f"grab {uri.shown}", daemon=True)
        drop = live and not config.stream_buffer
        self.mailbox = Mailbox(capacity=config.live_queue if live else config.file_queue, drop=drop)
        self.error: EdgeError | None = None
        self.grabbed = 0
        self.damaged = 0
        self._damaged_here = 0  # of the capture that is open
        self.reconnects = 0
        self.newest_arrival: float | None = None
        self.end_note: str | None = None
        self.keep_all = config.keep_all
        self._uri, self._config, self._live = uri, config, live
        self._opener, self._sampler = opener, sampler
        self._capture: Capture | None = capture
        self._clock = MediaClock(fps)
        self._pace = Pace(fps) if config.real_time and not live else None
        self._interval_s = 1.0 / fps
        self._backlog = 0
        self._expect_backlog()
        self._opened_at = time.perf_counter()
        self._size: tuple[int, int] | None = None
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Ask the thread to end; it does after the driver call it is in, which has a time-out."""
        self._stopping.set()
        self.mailbox.close(discard=True)

    def run(self) -> None:
        """Read until the end; an error is kept for the reader."""
        try:
            self._read_all()
        except EdgeError as error:
            self.error = error.with_traceback(None)  # which would lead back here: a circle
        except (cv2.error, MemoryError) as error:
            text = " ".join(str(error).split())
            self.error = CaptureError(f"{self._uri.shown}: OpenCV failed while reading: {text}")
        finally:
            self._release()
            self.mailbox.close()

    def _read_all(self) -> None:
        while not self._stopping.is_set():
            capture = self._capture
            if capture is None or not self._grab(capture):
                if self._stopping.is_set():
                    return
                if not self._live:
                    if capture is not None:
                        self._new_damage(capture)  # behind the last whole frame
                    self._end_of_file()
                    return
                self._reconnect()
            self._deliver()

    def _grab(self, capture: Capture) -> bool:
        """Take the next frame; a network stream's backlog is passed over.

        While a stream is opened, FFmpeg keeps about a second of it, and then hands it out at once.
        Those frames are old, and their times of arrival say nothing about when they were taken.
        It is through when the last few had to be waited for as frames of a camera are; no single
        one is enough: on a busy machine an old one is slow, too, and many more may be behind it.
        """
        waits: deque[float] = deque(maxlen=_PACE_FRAMES)  # in intervals, of one at most one
        while self._backlog > 0:
            start = time.perf_counter()
            if not capture.grab():
                return False
            waits.append(min(1.0, (time.perf_counter() - start) / self._interval_s))
            if sum(waits) >= _PACE_WAIT:
                self._backlog = 0
                return True
            self._backlog -= 1
            self.grabbed += 1
            self.newest_arrival = time.perf_counter()
        return capture.grab()

    def _expect_backlog(self) -> None:
        # Bounded: a server that sends faster than real time for ever is not a camera.
        network = self._live and self._uri.kind in ("stream", "http")
        self._backlog = round(MAX_BACKLOG_S / self._interval_s) if network else 0

    def _deliver(self) -> None:
        """Stamp the frame just grabbed, and convert and hand it over if somebody wants it."""
        capture = self._capture
        if capture is None:
            return
        arrival = time.perf_counter()
        index, self.grabbed = self.grabbed, self.grabbed + 1
        self.newest_arrival = arrival
        reasons = [self._new_damage(capture)]
        if self._live:
            # Whether a live clip misses a frame is for the sampler to say.
            reasons, t = [], arrival - self._opened_at
        else:
            t, jump = self._stamp(capture)
            reasons.insert(0, jump)
            if self._pace is not None:
                self._stopping.wait(self._pace.wait_s(t, arrival))
                arrival = self.newest_arrival = time.perf_counter()
        sample = self._offer(t, restart=any(reasons))
        if sample is not None:
            reasons.append(sample.gap)
            if not sample.wanted and not self.keep_all:
                self._gap_at(t, reasons)
                return
        small, wh = self._reduced(capture)
        full = small is None or self._config.full_frames
        image = self._retrieve(capture, index) if full or small is None else small
        wh = wh or (image.shape[1], image.shape[0])
        changed = self._changed_size(wh)
        if changed:
            reasons.append(changed)
            sample = self._offer(t, restart=True)
        self._gap_at(t, reasons)
        self.mailbox.put(
            Frame(
                image_bgr=image, index=index, t=t, arrival=arrival, sample=sample, clip_bgr=small,
                source_wh=None if full else wh,
            )
        )  # fmt: skip

    def _stamp(self, capture: Capture) -> tuple[float, str | None]:
        """Return the media time of a file's frame, seconds, and how far its clock jumped."""
        known = self._clock.stopped_at is not None
        t, jump = self._clock.stamp(position_s(capture))
        if not known and self._clock.stopped_at is not None:
            logger.warning(
                "%s: the file's clock stands still at %.2f s; times behind it by %.4g frames per "
                "second", self._uri.shown, self._clock.stopped_at, 1.0 / self._interval_s,
            )  # fmt: skip
        return t, jump

    def _offer(self, t: float, *, restart: bool) -> Sample | None:
        """Ask the sampler what a frame means for the clip, a new one if frames do not belong."""
        if self._sampler is None:
            return None
        if restart:
            self._sampler.restart()
        return self._sampler.offer(t)

    def _gap_at(self, t: float, reasons: list[str | None]) -> None:
        """Say, once for all reasons, that the next frame does not belong to those before it."""
        reason = "; ".join(filter(None, reasons))
        if reason:
            self.mailbox.put(Gap(reason=reason, t=t))

    def _new_damage(self, capture: Capture) -> str | None:
        """Count damaged frames that the reader left out before this one."""
        count = damaged_frames(capture) - self._damaged_here
        self._damaged_here += count
        self.damaged += count
        return f"{count} damaged frame{'s' * (count > 1)} left out" if count else None

    def _reduced(self, capture: Capture) -> tuple[Image | None, tuple[int, int] | None]:
        """Return a large frame reduced by its decoder, and its own size; None for each if not."""
        reduce = getattr(capture, "reduced", None)
        if reduce is None or self._config.clip_wh is None:
            return None, None
        found: tuple[Image, tuple[int, int]] | None = reduce(self._config.clip_wh)
        return found or (None, None)

    def _retrieve(self, capture: Capture, index: int) -> Image:
        ok, image = capture.retrieve()
        if not ok or image is None:
            raise CaptureError(
                f"{self._uri.shown}: frame {index} was taken but cannot be decoded; "
                "the stream is damaged or in a pixel format OpenCV does not know"
            )
        pixels: Image = np.ascontiguousarray(image)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise CaptureError(
                f"{self._uri.shown}: frame {index} is {pixels.dtype} {pixels.shape}; "
                "8-bit BGR (height, width, 3) is needed"
            )
        return pixels

    def _changed_size(self, size: tuple[int, int]) -> str | None:
        before, self._size = self._size, size
        if before is None or before == size:
            return None
        return f"frame size changed from {before[0]}x{before[1]} to {size[0]}x{size[1]}"

    def _end_of_file(self) -> None:
        announced = frame_count(self._capture) if self._capture else None
        if self.grabbed == 0:
            said = f"{announced} frames are announced, " if announced else ""
            raise CaptureError(
                f"{self._uri.shown}: {said}none can be decoded; the file is damaged or its "
                "codec is not in this OpenCV"
            )
        # Matroska and AVI announce an estimate that is often one or two frames too high.
        if announced and announced - self.grabbed - self.damaged > max(2.0, 0.02 * announced):
            # AVI counts chunks without a picture as well: the last frame tells where it ends.
            end_s = self._clock.last * (1 + 1 / max(1, self.grabbed - 1))
            whole = end_s / self._interval_s >= 0.98 * announced - 2
            self.end_note = (
                f"{self._uri.shown}: ended after {self.grabbed} of {announced} announced frames; "
                + ("the others were left out when it was written, or are lost" if whole
                   else "the file is cut off or damaged")
            )  # fmt: skip
            logger.warning("%s", self.end_note)

    def _reconnect(self) -> None:
        """Open a lost live source again, and take its first frame.

        Raises:
            CameraLostError: All attempts failed, or their common time is over.
        """
        config, lost_at = self._config, time.perf_counter()
        deadline = lost_at + config.reconnect_deadline_s
        self._release()
        tried, last = 0, "the stream ended"
        for attempt in range(config.reconnect_attempts):
            wait_s = min(config.reconnect_backoff_s * 2**attempt, deadline - time.perf_counter())
            logger.warning(
                "%s: no frame; opening it again in %.1f s (attempt %d of %d)",
                self._uri.shown, max(wait_s, 0.0), attempt + 1, config.reconnect_attempts,
            )  # fmt: skip
            if wait_s < 0 or self._stopping.wait(wait_s):
                break
            tried += 1
            left_s = max(0.1, deadline - time.perf_counter())
            try:
                capture = self._opener(
                    self._uri,
                    replace(config, open_timeout_s=min(config.open_timeout_s, left_s)),
                )
            except CaptureError as error:
                last = str(error)
                continue
            self._capture, self._damaged_here = capture, 0
            self._expect_backlog()
            if self._grab(capture):
                self._after_reconnect(time.perf_counter() - lost_at, tried)
                return
            last = "it opened, but gave no frame"
            self._release()
        if not self._stopping.is_set():
            seen = f"lost after {self.grabbed} frames" if self.grabbed else "gave no frame"
            raise CameraLostError(
                f"{self._uri.shown}: {seen} and did not come back in {tried} attempts "
                f"({time.perf_counter() - lost_at:.1f} s); last: {last}"
            )

    def _after_reconnect(self, away_s: float, attempts: int) -> None:
        self.reconnects += 1
        reason = f"reconnected after {away_s:.1f} s (attempt {attempts})"
        if self._sampler:
            self._sampler.restart()
        self.mailbox.put(Gap(reason=reason, t=time.perf_counter() - self._opened_at))

    def _release(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None
