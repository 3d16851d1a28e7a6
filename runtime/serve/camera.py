"""One camera: its own thread, its own failures, opened again for ever."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.errors import EdgeError
from runtime.events import ActionEvent, ActionTracker
from runtime.results import Event, FrameStatus, KeyframeResult
from runtime.runner import ClipRunner
from runtime.secrets import redact
from runtime.serve.config import CameraConfig
from runtime.serve.hub import Hub
from runtime.serve.memory import give_back
from runtime.serve.preview import Encoder
from runtime.serve.region import Region
from runtime.sources import Frame, SourceConfig
from runtime.sources.grabber import Opener
from runtime.sources.uri import parse_uri
from runtime.tubes import PersonTracks

logger = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
WINDOW = 256  # results that latency is told of
RATE_S, RECENT_S = 10.0, 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a camera needs of the service.

    Attributes:
        hub: Where results go.
        encoder: Where frames go that somebody watches.
        observe: Called with the camera's name and the latency of each result, seconds.
        every_frame: Whether those between the samples of a clip are wanted, too.
        event: Called with each event, from the camera's thread.
        opener: Given a camera's name, how its source is opened.
        online: Called with the camera's name when it begins or ceases to give results.
    """

    hub: Hub
    encoder: Encoder
    observe: Callable[[str, float], None]
    every_frame: bool
    event: Callable[[ActionEvent], None]
    opener: Callable[[str], Opener]
    online: Callable[[str, bool], None]


class Camera:
    """Runs a source for as long as the service lives."""

    def __init__(
        self, name: str, config: CameraConfig, runner: ClipRunner, around: Surroundings
    ) -> None:
        """Check what depends on the model; `start` follows.

        Raises:
            ConfigError: A class of interest is none of the model's.
        """
        self.name, self.config = name, config
        self.runner = runner
        self.tracker = ActionTracker(name, config.actions, runner.spec.class_names)
        self.defaults = runner.config
        self.runner.set_thresholds(conf=config.conf, action_conf=config.action_conf)
        self.results = 0
        self.reconnects = 0
        self.newest: Frame | None = None
        self.size_wh: tuple[int, int] | None = None
        self._around = around
        self._region = Region(config.region)
        self._shown = parse_uri(config.source).shown
        self._tracks = PersonTracks()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"camera {name}", daemon=True)
        self._state, self._message = "connecting", ""
        self._retry_at: float | None = None
        self._online = False
        self._dropped_frames = self._dropped_clips = 0
        self._latencies: deque[tuple[float, float]] = deque(maxlen=WINDOW)
        self._failures = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask for the end, without waiting for it."""
        self._stopping.set()
        source = self.runner.source
        if source is not None:
            source.stop()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end and tell whether it came; a driver may hang for longer."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Tell whether the thread works, or has not begun."""
        return self._thread.is_alive() or self._thread.ident is None

    @property
    def state(self) -> str:
        """Return `connecting`, `warming_up`, `running`, `stale` or `lost`."""
        running = self.runner.state
        return self._state if running == "idle" else running

    def set_thresholds(self, given: Mapping[str, float | None]) -> None:
        """Move `conf` or `action_conf` from the next result on; None: as configured.

        Raises:
            ConfigError: One is not from 0 to 1.
        """
        values: dict[str, Any] = {}
        for name, value in given.items():
            configured = getattr(self.config, name)
            if configured is None:
                configured = getattr(self.defaults, name)
            values[name] = configured if value is None else float(value)
        self.runner.set_thresholds(**values)

    def status(self) -> dict[str, Any]:
        """Return what `/api/cameras` says of it; no secret is in it."""
        now, profile = time.time(), self.runner.profile
        latencies = tuple(self._latencies)
        recent = [ms for at, ms in latencies if now - at < RECENT_S]
        rate = sum(now - at < RATE_S for at, _ in latencies) / RATE_S
        source, spec = self.runner.source, self.runner.spec
        retry_at = self._retry_at
        action_conf = self.runner.config.action_conf
        return {
            "name": self.name,
            "source": self._shown,
            "state": self.state,
            "message": self._message,
            "retry_in_s": None if retry_at is None else round(max(0.0, retry_at - now), 1),
            "results": self.results,
            "results_per_s": round(rate, 2),
            "latency_ms": round(recent[-1], 1) if recent else None,
            "latency_p95_ms": round(float(np.percentile(recent, 95)), 1) if recent else None,
            "dropped_frames": self._dropped_frames + profile.dropped_frames,
            "dropped_clips": self._dropped_clips + profile.dropped_clips,
            "reconnects": self.reconnects,
            "fps": None if source is None else source.fps,
            "size_wh": None if self.size_wh is None else list(self.size_wh),
            "samples": self.runner.samples,
            "num_frames": spec.clip.num_frames,
            "conf": self.runner.config.conf,
            # Each class may have its own: then there is no one number.
            "action_conf": action_conf if isinstance(action_conf, float) else None,
            "configured": {"conf": self.config.conf, "action_conf": self.config.action_conf},
            "classes": list(self.config.classes),
            "region": [list(corner) for corner in self.config.region],
            "delay_s": round(self._delay_s(), 3),
        }

    def _delay_s(self) -> float:
        """Return how far a result's keyframe is behind the newest frame, seconds."""
        clip = self.runner.spec.clip
        half = (clip.num_frames - 1 - clip.keyframe_index) * clip.period_s
        return half + self.runner.stride / clip.fps

    def _run(self) -> None:
        while not self._stopping.is_set():
            # Outside of `except`, where the error, and by it the whole stream, would be kept while
            # this waits.
            why, failed = self._stream_guarded()
            self._lose(why, failed=failed)
        self._state, self._message = "lost", "stopped"
        self._go(online=False)
        self._around.encoder.forget(self.name)

    def _stream_guarded(self) -> tuple[str, bool]:
        """Run the source to its end; return why it ended, and whether that is a failure."""
        try:
            self._stream()
        except EdgeError as error:
            return redact(str(error)), True
        except Exception as error:
            # A fault of the program in one camera must not end the others.
            logger.exception("camera %s: unexpected failure", self.name)
            return f"unexpected {type(error).__name__}; see the log", True
        return "the source ended", not self.results

    def _stream(self) -> None:
        self._state, self._message = "connecting", ""
        config = SourceConfig(
            # Opened again by this class, which has no limit and counts in minutes.
            reconnect_attempts=0,
            # A file stands for a camera here: what is read ahead only grows old.
            real_time=True,
            file_queue=1,
            image_fps=self.config.fps or self.runner.spec.clip.fps,
        )
        self.runner.max_age_ms = self.config.max_age_ms
        stream = self.runner.stream(
            self.config.source, config=config, on_frame=self._frame, on_event=self._event,
            every_frame=False, track=self._tracks, opener=self._around.opener(self.name),
        )  # fmt: skip
        with closing(stream):
            for result in stream:
                self._result(result)
                if self._stopping.is_set():
                    return

    def _result(self, result: KeyframeResult) -> None:
        self.results += 1
        self._failures, self._message = 0, ""
        now = time.time()
        self._latencies.append((now, result.latency_ms))
        self._around.observe(self.name, result.latency_ms / 1e3)
        result = self._region.of(result)
        self._go(online=True)
        self._around.hub.result(self.name, self._shown_result(result, now))
        for event in self.tracker.update(result, now=now, monotonic=time.monotonic()):
            self._around.event(event)

    def _shown_result(self, result: KeyframeResult, now: float) -> dict[str, Any]:
        content = {"camera": self.name, "time": round(now, 3), **result.to_dict()}
        wanted = self.config.classes
        if wanted:
            for found in content["detections"]:
                found["actions"] = {k: v for k, v in found["actions"].items() if k in wanted}
        return content

    def _frame(self, frame: Frame, status: FrameStatus) -> None:
        self.newest = frame
        self.size_wh = (frame.image_bgr.shape[1], frame.image_bgr.shape[0])
        watched = self._around.hub.wanted("frame", self.name)
        source = self.runner.source
        if source is not None:
            source.keep_all = watched and self._around.every_frame
            if self._stopping.is_set():  # asked while the source was being opened
                source.stop()
        if watched:
            self._around.encoder.offer(self.name, frame)

    def _event(self, event: Event) -> None:
        if event.kind == "gap":
            self._end_actions()
        if event.kind == "stale":
            self._go(online=False)
        if event.kind not in ("warming_up", "running"):  # the state says as much
            self._message = redact(event.message)

    def _lose(self, why: str, *, failed: bool) -> None:
        """Say that the source is gone, and wait before it is opened again."""
        self._dropped_frames += self.runner.profile.dropped_frames
        self._dropped_clips += self.runner.profile.dropped_clips
        self.runner.profile.dropped_frames = self.runner.profile.dropped_clips = 0
        self._end_actions()
        if self._stopping.is_set() or not failed:  # a file goes on from its beginning
            return
        wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**self._failures)
        wait_s *= random.uniform(0.8, 1.2)  # cameras of one switch need not come back at once
        self._failures = min(self._failures + 1, 16)
        self._go(online=False)
        give_back()
        self._state, self._message = "lost", why
        logger.warning("camera %s: %s; opened again in %.0f s", self.name, why, wait_s)
        self._retry_at = time.time() + wait_s
        self._stopping.wait(wait_s)
        self._retry_at = None
        self.reconnects += 1

    def _end_actions(self) -> None:
        for event in self.tracker.lost(now=time.time(), monotonic=time.monotonic()):
            self._around.event(event)

    def _go(self, *, online: bool) -> None:
        if online != self._online:
            self._online = online
            self._around.online(self.name, online)
