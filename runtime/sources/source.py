"""Open a camera, stream, file or folder, and read its frames one by one."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from runtime.errors import CameraLostError, StaleFrameError
from runtime.sources.frames import Frame, Gap, SourceConfig
from runtime.sources.grabber import Grabber, Opener
from runtime.sources.opencv import Capture, frame_count, frames_per_second, open_capture
from runtime.sources.uri import SourceUri, parse_uri

if TYPE_CHECKING:
    from runtime.sampler import Sampler

logger = logging.getLogger(__name__)


class Source:
    """Frames of one camera, stream, file or folder, in order; a context manager.

    Reading gives a `Frame`, or a `Gap` between frames that do not belong to one clip. A live source
    gives the newest frames and counts those it dropped; a file gives every frame and waits for the
    reader. No frame is ever made up.
    """

    def __init__(
        self,
        uri: SourceUri,
        config: SourceConfig,
        capture: Capture,
        *,
        opener: Opener,
        sampler: Sampler | None,
    ) -> None:
        """Start reading an open capture; use `open_source` instead."""
        self.uri = uri
        self.config = config
        self.fps = frames_per_second(capture)
        self.frame_count = frame_count(capture)
        # An http address may be a file on a server (it announces its length) or a camera.
        self.live = uri.live and not (uri.kind == "http" and self.frame_count)
        if self.live:
            self.frame_count = None
        elif self.fps is None:
            logger.warning("%s: states no frame rate; %g fps taken", uri.shown, config.image_fps)
        self._grabber = Grabber(
            uri,
            config,
            capture,
            opener=opener,
            live=self.live,
            fps=self.fps or config.image_fps,
            sampler=sampler,
        )
        self._stale_since: float | None = None
        self._grabber.start()

    def __str__(self) -> str:
        """Return the source as messages name it."""
        return self.uri.shown

    def __enter__(self) -> Source:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the source."""
        self.close()

    def __iter__(self) -> Iterator[Frame | Gap]:
        """Read until the end; see `read` for the errors."""
        while (item := self.read()) is not None:
            yield item

    @property
    def keep_all(self) -> bool:
        """Tell whether frames are delivered that the sampler does not want; may be set."""
        return self._grabber.keep_all

    @keep_all.setter
    def keep_all(self, keep: bool) -> None:
        self._grabber.keep_all = keep

    @property
    def dropped(self) -> int:
        """Return how many frames were thrown away because newer ones came."""
        return self._grabber.mailbox.dropped

    @property
    def grabbed(self) -> int:
        """Return how many frames the driver gave, wanted or not."""
        return self._grabber.grabbed

    @property
    def damaged(self) -> int:
        """Return how many frames were left out since they could not be decoded whole."""
        return self._grabber.damaged

    @property
    def waiting(self) -> int:
        """Return how many frames and gaps wait to be read."""
        return len(self._grabber.mailbox)

    @property
    def waiting_samples(self) -> int:
        """Return how many of the waiting frames the sampler took."""
        return self._grabber.mailbox.waiting_samples

    @property
    def reconnects(self) -> int:
        """Return how often the stream was lost and came back."""
        return self._grabber.reconnects

    @property
    def end_note(self) -> str | None:
        """Return what was odd about the end of a file: fewer frames came than announced."""
        return self._grabber.end_note

    @property
    def age_ms(self) -> float:
        """Return how long ago the newest frame arrived, milliseconds; infinite before the first."""
        arrival = self._grabber.newest_arrival
        return float("inf") if arrival is None else (time.perf_counter() - arrival) * 1000.0

    def read(self) -> Frame | Gap | None:
        """Return the next frame or gap; None at the end of a file or after `close`.

        Raises:
            StaleFrameError: Live, and no frame is newer than `max_age_ms`. The source is still
                open: read again to wait for the next frame or for the outcome of the reconnect.
                Raised once for each time that frames stay away.
            CameraLostError: Live, and frames stayed away for all attempts to reconnect.
            CaptureError: The source gives frames that cannot be used, or none at all.
        """
        grabber = self._grabber
        while True:
            item = grabber.mailbox.get(self._patience_s())
            if item is not None:
                if isinstance(item, Frame):
                    self._stale_since = None
                return item
            if grabber.mailbox.closed:
                if grabber.error is not None:
                    # A copy: the traceback leads to this frame, and so back to the grabber. A
                    # circle would keep the stream and its clip until the collector comes by.
                    raise copy.copy(grabber.error)
                return None
            if self.live:
                self._check_age()

    def stop(self) -> None:
        """Ask for the end, from any thread, without waiting: whoever reads gets None."""
        self._grabber.stop()

    def close(self) -> None:
        """Stop the thread and let go of the device; a driver that hangs is left behind, said."""
        self.stop()
        limit_s = self.config.read_timeout_s + 1.0
        self._grabber.join(limit_s)
        if self._grabber.is_alive():
            logger.warning("%s: the driver did not return within %.0f s", self, limit_s)

    def _patience_s(self) -> float:
        # Once stale, or for a file, only the thread's own limits count; look at it now and then.
        limit_s = self.config.max_age_ms / 1000.0
        arrival = self._grabber.newest_arrival
        if not self.live or self._stale_since is not None or arrival is None:
            return limit_s
        return max(0.001, limit_s - (time.perf_counter() - arrival))

    def _check_age(self) -> None:
        """Raise when the newest frame is too old, or when the driver hangs past every limit."""
        arrival, now = self._grabber.newest_arrival, time.perf_counter()
        if arrival is None:
            return
        age_s = now - arrival
        config = self.config
        hung_s = config.read_timeout_s + config.reconnect_deadline_s + config.open_timeout_s + 1.0
        if age_s > hung_s:
            raise CameraLostError(f"{self}: the driver hangs, no frame for {age_s:.0f} s")
        if age_s * 1000.0 > config.max_age_ms and self._stale_since is None:
            self._stale_since = now
            raise StaleFrameError(
                f"{self}: the newest frame is {age_s * 1000.0:.0f} ms old, more than the "
                f"{config.max_age_ms:g} ms allowed"
            )
        if age_s * 1000.0 <= config.max_age_ms:
            self._stale_since = None


def open_source(
    source: str | int | Path,
    config: SourceConfig | None = None,
    *,
    sampler: Sampler | None = None,
    opener: Opener = open_capture,
) -> Source:
    """Open a source and start reading it.

    Args:
        source: `0`, `v4l2:///dev/video0`, `csi://0`, `rtsp://...`, `http(s)://...`, a video file,
            or a folder of images.
        config: Limits and requests; see `SourceConfig`.
        sampler: Decides in the grabber thread which frames a clip wants; the others are not even
            converted, unless `config.keep_all`. It belongs to this source from now on.
        opener: How a capture is opened; tests put a scripted camera here.

    Returns:
        The open source; close it or use it in a `with`.

    Raises:
        ConfigError: The scheme is not known.
        CaptureError: There is no such file or device, or it cannot be opened.
        BackendUnavailableError: OpenCV lacks what the source needs (GStreamer for csi).
    """
    config = config or SourceConfig()
    uri = parse_uri(source)
    capture = opener(uri, config)
    return Source(uri, config, capture, opener=opener, sampler=sampler)
