"""From a source's frames to results: fill the clip, decide when it is due, run, decode."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.bundle_spec import BundleSpec
from runtime.decode import Detections, decode
from runtime.engine import LoadedEngine
from runtime.errors import CaptureError, StaleFrameError
from runtime.profiling import Profile
from runtime.results import Event, FrameStatus, KeyframeResult, Timings
from runtime.sampler import Sampler
from runtime.sources import Frame, Gap, Source

if TYPE_CHECKING:
    from runtime import _native

logger = logging.getLogger(__name__)

_LEVELS = {"warming_up": logging.INFO, "running": logging.INFO, "dropped": logging.DEBUG}
# Dropping frames is what a live source is for: said once, and then so often at most.
DROPS_EVERY_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """What a stream of results needs to know.

    Attributes:
        conf: Threshold on the actor score.
        action_conf: Threshold on each action's probability, for reports; one for all, or each its
            own.
        stride_samples: Samples of the clip from one decision to the next.
    """

    conf: float
    action_conf: float | tuple[float, ...]
    stride_samples: int


class ClipStream:
    """One source through one engine; iterate `results()` once.

    A file gets every decision. A live source is drained before each decision, so that it is always
    about the newest frame; decisions that came due meanwhile are counted in `dropped_clips`, while
    their samples still enter the clip: its sampling in time stays regular on a slow machine. Where
    streams share an engine, the same holds for what arrives while this one waits for its turn.

    Attributes:
        state: `warming_up`, `running` or `stale`.
        config: May be replaced at any time, from any thread; the next decision goes by it.
    """

    def __init__(
        self,
        spec: BundleSpec,
        engine: LoadedEngine,
        preprocess: _native.Preprocess,
        source: Source,
        sampler: Sampler,
        config: StreamConfig,
        *,
        profile: Profile,
        on_frame: Callable[[Frame, FrameStatus], None] | None = None,
        on_event: Callable[[Event], None] | None = None,
        turns: AbstractContextManager[object] | None = None,
    ) -> None:
        """Set up with an empty clip; `turns` is entered for each run of a shared engine."""
        # Here and not above: where it does not import, loading the engine has said so before.
        from runtime import _native

        self.state: str = "warming_up"
        self._spec, self._engine, self._source = spec, engine, source
        self._sampler, self.config, self._profile = sampler, config, profile
        self._on_frame, self._on_event = on_frame, on_event
        self._turns: AbstractContextManager[object] = turns or nullcontext()
        self._num_frames = spec.clip.num_frames
        self._clip = _native.ClipAssembler(preprocess, self._num_frames, config.stride_samples)
        self._skipped = 0
        self._slow_said = False
        self._gaps, self._last_gap = 0, ""
        self._drops_said: tuple[int, int] = (0, 0)
        self._drops_said_t: float | None = None
        self._t = 0.0
        self._capture_s = self._preprocess_s = self._busy_s = 0.0

    @property
    def samples(self) -> int:
        """Return how many samples the clip has so far."""
        return self._clip.count

    @property
    def progress(self) -> tuple[int, int | None]:
        """Return frames read so far, and how many a file announces (None for a live source)."""
        return self._source.grabbed, self._source.frame_count

    def results(self) -> Generator[KeyframeResult, None, None]:
        """Yield one result per keyframe until the source ends.

        Raises:
            CaptureError: The source failed, or ended before one clip was whole.
            CameraLostError: A live source was lost for good.
            DecodeError: The engine computed something that is not a number.
        """
        self._emit("warming_up", f"warming up: a clip needs {self._num_frames} samples")
        try:
            yield from self._results()
        finally:
            self._report_drops(last=True)
        self._check_end()

    def _results(self) -> Iterator[KeyframeResult]:
        while (item := self._next()) is not None:
            start = time.perf_counter()
            if isinstance(item, Gap):
                self._flush(item)
                continue
            self._t = item.t
            self._take(item)
            due = self._due()
            self._busy_s += time.perf_counter() - start
            result = None
            if due:
                item, result = self._in_turn(item)
                self._report_drops()
            if self._on_frame is not None:
                self._on_frame(item, self._status())
            if result is not None:
                yield result

    def _in_turn(self, frame: Frame) -> tuple[Frame, KeyframeResult | None]:
        """Decide when the engine is ours; return the frame that the result is about, and it."""
        with self._turns:
            start = time.perf_counter()
            # Bounded as above. There is nothing to wait for: what is read has arrived.
            for _ in range(self._num_frames):
                if not (self._newest_only and self._source.waiting_samples):
                    break
                item = self._source.read()
                if not isinstance(item, Frame):
                    if item is not None:
                        self._flush(item)
                    return frame, None
                if self._on_frame is not None:
                    self._on_frame(frame, self._status())
                frame, self._t = item, item.t
                self._take(item)
            if not self._clip.due:  # samples were lost, so that the clip began anew
                return frame, None
            result = self._decide(frame)
        self._busy_s += time.perf_counter() - start
        self._profile.add(total=self._busy_s * 1e3)
        self._busy_s = 0.0
        return frame, result

    @property
    def _newest_only(self) -> bool:
        return self._source.live and not self._source.config.stream_buffer

    def _next(self) -> Frame | Gap | None:
        """Wait for the next frame; a stale source is reported and waited for."""
        start = time.perf_counter()
        while True:
            try:
                item = self._source.read()
                break
            except StaleFrameError as error:
                self.state = "stale"
                self._emit("stale", str(error))
        self._capture_s += self._span("capture", start)
        if self.state == "stale" and isinstance(item, Frame):
            # The sampler has decided whether the pause was long enough to void the clip.
            self.state = "running" if self._clip.full else "warming_up"
        return item

    def _span(self, stage: str, start: float) -> float:
        """Tell the profile of a span that ends now; return how long it was, seconds."""
        end = time.perf_counter()
        self._profile.span(stage, start, end)
        return end - start

    def _flush(self, gap: Gap) -> None:
        self._t = gap.t
        self._gaps, self._last_gap = self._gaps + 1, gap.reason
        self._restart_clip()
        self._emit("gap", f"{self._source}: {gap.reason}; the clip starts again")
        self._emit("warming_up", f"warming up: a clip needs {self._num_frames} samples")

    def _restart_clip(self) -> None:
        self._clip.flush()
        self._skipped = 0
        self.state = "warming_up"

    def _take(self, frame: Frame) -> None:
        """Put a frame into the clip as often as its time says."""
        sample = frame.sample
        if sample is None or not sample.wanted:
            return
        start = time.perf_counter()
        # Where a slow reader dropped samples, the clip begins anew; at least a whole clip of newer
        # ones is waiting (`live_queue` >= num_frames), so this costs no result.
        pixels = frame.image_bgr if frame.clip_bgr is None else frame.clip_bgr
        self._clip.push(pixels, frame.index, frame.t, sample)
        self._preprocess_s += self._span("preprocess", start)
        self._report_slow()
        if self._clip.full and self.state == "warming_up":
            self.state = "running"
            self._emit("running", "the clip is whole; results follow")

    def _report_slow(self) -> None:
        sampler = self._sampler
        if self._slow_said or not (sampler.slow and sampler.repeated):
            return
        self._slow_said = True
        self._emit(
            "slow_source",
            f"{self._source}: a frame each {sampler.interval_s * 1e3:.0f} ms, the clip wants one "
            f"each {sampler.period_s * 1e3:.0f} ms; real frames are repeated to fill it",
        )

    def _report_drops(self, *, last: bool = False) -> None:
        """Say how much was dropped so far, where that grew."""
        drops = (self._source.dropped, self._profile.dropped_clips)
        recent = self._drops_said_t is not None and self._t < self._drops_said_t + DROPS_EVERY_S
        if drops == self._drops_said or (recent and not last):
            return
        self._drops_said, self._drops_said_t = drops, self._t
        frames, clips = drops
        self._emit(
            "dropped",
            f"{self._source}: {frames} frames and {clips} decisions were left out so far, since "
            "newer ones were there",
            dropped_frames=frames,
            dropped_clips=clips,
        )

    def _due(self) -> bool:
        """Tell whether to decide now."""
        if not self._clip.due:
            return False
        # The last condition bounds the draining on a machine that never catches up.
        waiting = self._newest_only and self._source.waiting_samples
        if waiting and self._skipped < self._num_frames:
            self._skipped += 1
            return False
        return True

    def _decide(self, frame: Frame) -> KeyframeResult:
        """Run the clip and decode it."""
        lost = self._clip.decide()
        self._profile.dropped_clips += lost if self._source.live else 0
        self._skipped = 0
        start = time.perf_counter()
        outputs = self._engine(self._clip.clip(), self._clip.first).of(0)
        ran = time.perf_counter()
        found = decode(*outputs, conf=self.config.conf, size_wh=frame.size_wh)
        done = time.perf_counter()
        self._profile.span("inference", start, ran)
        self._profile.span("decode", ran, done)
        timings = Timings(
            capture_ms=self._capture_s * 1e3,
            preprocess_ms=self._preprocess_s * 1e3,
            inference_ms=(ran - start) * 1e3,
            decode_ms=(done - ran) * 1e3,
        )
        return self._report(frame, found, timings)

    def _report(self, frame: Frame, detections: Detections, timings: Timings) -> KeyframeResult:
        keyframe, keyframe_t = self._clip.origin(self._spec.clip.keyframe_index)
        newest, newest_t = self._clip.origin(self._num_frames - 1)
        profile = self._profile
        profile.dropped_frames = self._source.dropped
        latency_ms = (time.perf_counter() - frame.arrival) * 1e3
        profile.add(
            capture=timings.capture_ms,
            preprocess=timings.preprocess_ms,
            inference=timings.inference_ms,
            decode=timings.decode_ms,
            latency=latency_ms,
        )
        self._capture_s = self._preprocess_s = 0.0
        return KeyframeResult(
            frame=newest,
            t=newest_t,
            keyframe=keyframe,
            keyframe_t=keyframe_t,
            latency_ms=latency_ms,
            detections=detections,
            class_names=self._spec.class_names,
            action_conf=self.config.action_conf,
            trained=self._spec.trained,
            size_wh=frame.size_wh,
            timings=timings,
            dropped_frames=profile.dropped_frames,
            dropped_clips=profile.dropped_clips,
        )

    def _status(self) -> FrameStatus:
        return FrameStatus(
            warming_up=not self._clip.full,
            samples=self._clip.count,
            num_frames=self._num_frames,
            dropped=self._source.dropped,
            live=self._source.live,
            fps=self._source.fps,
        )

    def _emit(self, kind: str, message: str, **counts: int) -> None:
        event = Event(kind=kind, t=self._t, message=message, **counts)  # type: ignore[arg-type]
        logger.log(_LEVELS.get(kind, logging.WARNING), "%s", message)
        if self._on_event is not None:
            self._on_event(event)

    def _check_end(self) -> None:
        """Refuse to end in silence when a file gave no keyframe at all."""
        if self._profile.keyframes:
            return
        clip, source = self._spec.clip, self._source
        fps = source.fps or source.config.image_fps
        need = math.ceil(clip.span_s * fps) + 1
        limit_s = self._sampler.max_gap_s
        if 1.0 / fps > limit_s:
            raise CaptureError(
                f"{source}: its frames come {1.0 / fps:g} s apart, a clip allows {limit_s:g} s; "
                f"no keyframe; give at least {math.ceil(1.0 / limit_s)} frames a second "
                "(a folder of images: --fps)"
            )
        gaps = f" and {self._gaps} gaps (the last: {self._last_gap})" if self._gaps else ""
        raise CaptureError(
            f"{source}: {source.grabbed} frame{'s' if source.grabbed > 1 else ''}{gaps}: the first "
            f"clip needs {need} ({clip.span_s:.2f} s at {fps:g} fps, without a gap); no keyframe"
        )
