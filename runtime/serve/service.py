"""Everything behind the web server: one engine, its cameras, and where events go."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from runtime.errors import EdgeError
from runtime.events import ActionEvent, EventSink, History, open_sinks
from runtime.events.clips import ClipSink
from runtime.events.config import EventsConfig
from runtime.runner import ClipRunner
from runtime.serve.camera import Camera, Surroundings
from runtime.serve.config import CameraConfig, ServeConfig
from runtime.serve.hub import Hub
from runtime.serve.preview import Encoder
from runtime.serve.timeline import SPAN_S, Timeline
from runtime.sources.grabber import Opener
from runtime.sources.opencv import open_capture
from runtime.turns import Turns

logger = logging.getLogger(__name__)

# An engine that takes longer for one clip does not come back.
LONGEST_TURN_S = 30.0
STOP_S = 1.0


class Service:
    """Cameras that come and go around one engine. Methods may be called from any thread."""

    def __init__(
        self, config: ServeConfig, observe: Callable[[str, float], None] = lambda name, s: None
    ) -> None:
        """Load the model and check what depends on it; no camera is opened yet.

        Args:
            config: What to serve.
            observe: Called with a camera's name and the latency of each of its results, seconds.

        Raises:
            ConfigError: A class of interest is none of the model's.
            EdgeError: The model or a sink cannot be used.
        """
        self.config = config
        self.hub = Hub()
        self.turns = Turns()
        self.started = time.time()
        self.reloads = 0
        self.told = 0
        self._changing = threading.Lock()
        engine, server = config.engine, config.server
        self.runner = ClipRunner(
            engine.model, artifact=engine.artifact, device=engine.device, stride=engine.stride,
            num_threads=engine.num_threads,
        )  # fmt: skip
        clip = self.runner.spec.clip
        self.encoder = Encoder(self.hub, fps=server.preview_fps, width=server.preview_width)
        self._around = Surroundings(
            hub=self.hub,
            encoder=self.encoder,
            observe=observe,
            every_frame=server.preview_fps > 1.1 / clip.period_s,
            event=self._event,
            opener=self._opener,
            online=self._online,
        )
        self.cameras = {name: self._camera(name, one) for name, one in config.cameras.items()}
        self.sinks: list[EventSink] = open_sinks(config.events)
        self.timeline = Timeline(self._last_hour())

    def start(self) -> None:
        """Start the cameras."""
        self._tell_sinks()
        self.encoder.start()
        for camera in self.cameras.values():
            camera.start()

    def reload(self, config: ServeConfig) -> list[str]:
        """Take another configuration; cameras that are the same in both go on undisturbed.

        Args:
            config: The new one, whole.

        Returns:
            What was done, in a few words each.

        Raises:
            EdgeError: It cannot be used; everything is as it was.
        """
        with self._changing:
            return self._reload(config)

    def _reload(self, config: ServeConfig) -> list[str]:
        before = self.config
        done = [
            f"{name} changed and needs a restart"
            for name in ("engine", "server")
            if getattr(before, name) != getattr(config, name)
        ]
        # Clips are cut from what the source was opened by.
        recut = config.events.clips != before.events.clips
        new = {n: c for n, c in config.cameras.items() if recut or before.cameras.get(n) != c}
        gone = [n for n in before.cameras if n not in config.cameras or n in new]
        # All that can fail comes before anything is stopped.
        made = {name: self._camera(name, camera) for name, camera in new.items()}
        if config.events != before.events:
            # A file has one owner: the new sinks can open it when the old ones have let go.
            closed = self.sinks
            self._close_sinks(closed)
            self.sinks = []
            try:
                self.sinks = _successors(closed, config.events)
            except EdgeError:
                self.sinks = _successors(closed, before.events)
                raise
            done.append("events changed")
        stopped = [self.cameras[name] for name in gone]
        _stop(stopped, STOP_S)
        self.cameras = {
            name: made[name] if name in made else self.cameras[name] for name in config.cameras
        }
        self.config = ServeConfig(
            cameras=config.cameras, events=config.events, engine=before.engine,
            server=before.server,
        )  # fmt: skip
        self._tell_sinks()
        for camera in made.values():
            camera.start()
        done += [f"camera {n} {'changed' if n in new else 'removed'}" for n in gone]
        done += [f"camera {name} added" for name in new if name not in before.cameras]
        self.reloads += 1
        return done

    def status(self) -> list[dict[str, Any]]:
        """Return how each camera is."""
        return [camera.status() for camera in tuple(self.cameras.values())]

    def fault(self) -> str | None:
        """Return what is wrong with the service itself, whatever its cameras do."""
        if self.turns.held_s > LONGEST_TURN_S:
            return f"the engine has worked on one clip for {self.turns.held_s:.0f} s"
        dead = [camera.name for camera in tuple(self.cameras.values()) if not camera.alive]
        return f"the thread of camera {dead[0]} has ended" if dead else None

    def ask_to_stop(self) -> None:
        """Let clients and sources go, without waiting; `stop` follows."""
        self.hub.close()
        for camera in tuple(self.cameras.values()):
            camera.stop()

    def stop(self, timeout_s: float) -> bool:
        """Stop everything; False where a driver did not return in time."""
        deadline = time.monotonic() + timeout_s
        with self._changing:
            self.ask_to_stop()
            self.encoder.stop()
            whole = _stop(self.cameras.values(), timeout_s / 2)
            self._close_sinks(self.sinks, max(0.1, deadline - time.monotonic()))
        if whole:
            self.runner.close()
        return whole

    def _camera(self, name: str, config: CameraConfig) -> Camera:
        return Camera(name, config, self.runner.sibling(self.turns), self._around)

    def _event(self, event: ActionEvent) -> None:
        self.told += 1
        self.timeline.add(event)
        self.hub.action(event.camera, event.to_dict())
        for sink in tuple(self.sinks):
            sink.send(event)

    def _opener(self, camera: str) -> Opener:
        for sink in tuple(self.sinks):
            if isinstance(sink, ClipSink):
                return sink.opener(camera)
        return open_capture

    def _online(self, camera: str, online: bool) -> None:
        logger.info("camera %s: %s", camera, "gives results" if online else "gives none")
        for sink in tuple(self.sinks):
            sink.camera_state(camera, online=online)

    def _tell_sinks(self) -> None:
        actions = {name: camera.tracker.classes for name, camera in self.cameras.items()}
        for sink in self.sinks:
            sink.cameras(actions)

    def _last_hour(self) -> list[ActionEvent]:
        for sink in self.sinks:
            if isinstance(sink, History):
                try:
                    return sink.since(time.time() - SPAN_S, limit=20_000)
                except EdgeError as error:
                    logger.warning("%s", error)
        return []

    def _close_sinks(self, sinks: Iterable[EventSink], timeout_s: float = STOP_S) -> None:
        _together(
            [lambda one=sink: one.close(timeout_s) for sink in sinks],  # type: ignore[misc]
            timeout_s + 0.2,
        )


def _successors(closed: Iterable[EventSink], config: EventsConfig) -> list[EventSink]:
    """Open sinks in place of closed ones; clips go on with the packets of sources that stay open.

    Raises:
        EdgeError: One cannot be opened; none is open then.
    """
    opened = open_sinks(config)
    for after in opened:
        for before in closed:
            if isinstance(after, ClipSink) and isinstance(before, ClipSink):
                after.take_over(before)
    return opened


def _stop(cameras: Iterable[Camera], timeout_s: float) -> bool:
    """Stop cameras at the same time, and tell whether all ended."""
    listed = list(cameras)
    for camera in listed:
        camera.stop()
    deadline = time.monotonic() + timeout_s
    late = [c.name for c in listed if not c.join(max(0.0, deadline - time.monotonic()))]
    if late:
        logger.warning("left behind, their drivers do not return: %s", ", ".join(late))
    return not late


def _together(jobs: list[Callable[[], None]], timeout_s: float) -> None:
    """Do jobs at the same time, each in a thread, and wait for all of them up to a limit."""
    threads = [threading.Thread(target=job, daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + timeout_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
