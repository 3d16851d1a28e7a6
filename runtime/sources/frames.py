"""What a source gives: frames, gaps between them, and the limits it works within."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from runtime.errors import ConfigError

if TYPE_CHECKING:
    from runtime.sampler import Sample

# Times above this (a day in ms) are slips of the pen; the system's clocks refuse far larger ones.
MAX_NUMBER = 86_400_000.0

Image: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One real frame; there are no others.

    Attributes:
        image_bgr: Pixels, uint8 (H, W, 3), blue first; of a large frame only those of `clip_bgr`
            where the source was told that nobody looks at it (`SourceConfig.full_frames`).
        index: Number of the frame in the source, counted from 0 over all frames, kept or not.
        t: Time in seconds. Files: media time. Live: time of arrival since the source was opened.
        arrival: `time.perf_counter()` when the frame came out of the driver, seconds.
        sample: What the frame means for the clip, where the source was given a sampler.
        clip_bgr: The same picture reduced by its decoder, for the clip; None where the clip takes
            `image_bgr`.
        source_wh: Width and height as the source has them, where `image_bgr` is reduced.
    """

    image_bgr: Image
    index: int
    t: float
    arrival: float
    sample: Sample | None = None
    clip_bgr: Image | None = None
    source_wh: tuple[int, int] | None = None

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the source's frame, pixels."""
        return self.source_wh or (self.image_bgr.shape[1], self.image_bgr.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Frames before and after this do not belong to one clip; flush.

    Attributes:
        reason: What happened, in a few words.
        t: Time of the first frame after the gap, seconds.
    """

    reason: str
    t: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """How a source is opened, read and given up.

    Attributes:
        max_age_ms: Live only: reading raises `StaleFrameError` when no frame is newer than this.
        open_timeout_s: Longest time to open a stream.
        read_timeout_s: Longest time to wait for a frame before the stream counts as lost.
        reconnect_attempts: How often a lost live source is opened again before it is given up.
        reconnect_backoff_s: Wait before the first attempt; doubled before each further one.
        reconnect_deadline_s: Longest time for all attempts together.
        file_queue: Frames read ahead from a file (back-pressure: none is dropped).
        live_queue: Frames of a live source that wait for the reader; the oldest is dropped and
            counted when one more comes. 1 = newest frame only.
        stream_buffer: Live only: drop nothing and let the driver wait, at the price of growing age.
        keep_all: With a sampler: deliver the frames it does not want, too (to draw them).
        real_time: Play a file at its own rate: each frame arrives when it is due, as from a camera.
        image_fps: Frames per second of a folder of images, and of a file that does not say.
        size_wh: Size asked of a camera, pixels; None leaves the driver's own.
        camera_fps: Rate asked of a camera, frames per second; None leaves the driver's own.
        clip_wh: Size of the network's input, pixels: a frame of at least four times that is also
            given reduced, where its decoder can do that in one pass.
        full_frames: Whether somebody looks at the frames; else a reduced one is enough.
    """

    max_age_ms: float = 500.0
    open_timeout_s: float = 5.0
    read_timeout_s: float = 5.0
    reconnect_attempts: int = 3
    reconnect_backoff_s: float = 0.5
    reconnect_deadline_s: float = 20.0
    file_queue: int = 4
    live_queue: int = 1
    stream_buffer: bool = False
    keep_all: bool = False
    real_time: bool = False
    image_fps: float = 30.0
    size_wh: tuple[int, int] | None = None
    camera_fps: float | None = None
    clip_wh: tuple[int, int] | None = None
    full_frames: bool = True

    def __post_init__(self) -> None:
        """Refuse values that no source can work with."""
        for name in (
            "max_age_ms",
            "open_timeout_s",
            "read_timeout_s",
            "reconnect_deadline_s",
            "image_fps",
        ):
            value = getattr(self, name)
            if not 0 < value <= MAX_NUMBER:
                raise ConfigError(f"{name} is {value}; it must be above 0, at most {MAX_NUMBER:g}")
        for name in ("file_queue", "live_queue"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.reconnect_attempts < 0 or not 0 <= self.reconnect_backoff_s <= MAX_NUMBER:
            raise ConfigError(
                f"reconnect_attempts is {self.reconnect_attempts} and reconnect_backoff_s "
                f"{self.reconnect_backoff_s}; neither may be below 0, nor a wait be endless"
            )
