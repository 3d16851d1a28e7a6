"""Short videos of what happened, cut from the stream without encoding it again.

While an action lasts at a camera, its packets are held in memory; `after_s` behind the last action
they become one file, from the keyframe `before_s` before the first began. Beside it a JSON file
names the events. A source that gives frames only (a USB or CSI camera, a folder of images, or
OpenCV in place of PyAV) has no packets: there are no clips of it, and the status says so.
"""

from __future__ import annotations

import datetime
import json
import logging
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import EdgeError, SinkError
from runtime.events.config import ClipsConfig
from runtime.events.home_assistant import slug
from runtime.events.packets import Packet, PacketRing, Template, write_packets
from runtime.events.types import ActionEvent, Phase
from runtime.outputs import atomic_file, write_atomically
from runtime.sources.ffmpeg import FFmpegCapture

if TYPE_CHECKING:
    from runtime.sources.frames import SourceConfig
    from runtime.sources.grabber import Opener
    from runtime.sources.opencv import Capture
    from runtime.sources.uri import SourceUri

logger = logging.getLogger(__name__)

_MB = 1_000_000
# An action is told when it lasted `min_duration_s`, and the model is later than the stream.
_LATENESS_S = 10.0
_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z\.(mp4|mkv|json)")
_PART = re.compile(r"\.\d{8}T\d{6}\.\d{3}Z\..*\.(mp4|mkv|json)")
_NO_PACKETS = "the source gives decoded frames only; clips are not available for it"


@dataclass(slots=True)
class _Clip:
    """One that is being held; times on the monotonic clock."""

    start: float
    began: float  # the first action, Unix seconds
    open: set[str]
    events: list[ActionEvent] = field(default_factory=list)
    end: float | None = None


class ClipSink:
    """Writes clips of events; give each camera's source the opener of this."""

    name = "clips"

    def __init__(self, config: ClipsConfig) -> None:
        """Make the folder, and remove what a killed process left unfinished in it.

        Raises:
            SinkError: The folder cannot be made.
        """
        self._config = config
        self._folder = Path(config.folder)
        self._changed = threading.Condition()
        self._rings: dict[str, PacketRing] = {}
        self._unavailable: dict[str, str] = {}
        self._clips: dict[str, _Clip] = {}
        self._written = self._dropped = 0
        self._error: str | None = None
        self._closing = False
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for part in self._folder.glob("*/.*"):
                if _PART.fullmatch(part.name):
                    part.unlink()
        except OSError as error:
            raise SinkError(f"{self._folder} cannot be written: {error.strerror}") from error
        self._thread = threading.Thread(target=self._run, name="events-clips", daemon=True)
        self._thread.start()

    def opener(self, camera: str, inner: Opener | None = None) -> Opener:
        """Return what opens a camera so that its packets are kept; for `ClipRunner.stream`.

        Args:
            camera: Its name in events.
            inner: How the source itself is opened; None takes the usual way.
        """
        from runtime.sources.opencv import open_capture

        opened_by = inner or open_capture

        def open_it(uri: SourceUri, config: SourceConfig) -> Capture:
            capture = opened_by(uri, config)
            self._take(camera, capture)
            return capture

        return open_it

    def take_over(self, before: ClipSink) -> None:
        """Go on with the packets of a sink that this one replaces: its sources stay open."""
        with before._changed:
            rings, unavailable = dict(before._rings), dict(before._unavailable)
        with self._changed:
            self._rings |= rings
            self._unavailable |= unavailable

    def cameras(self, actions: Mapping[str, Sequence[str]]) -> None:
        """Forget the packets of cameras that are gone."""
        with self._changed:
            for camera in self._rings.keys() - actions.keys():
                del self._rings[camera]
            for camera in self._unavailable.keys() - actions.keys():
                del self._unavailable[camera]

    def camera_state(self, camera: str, *, online: bool) -> None:
        """Do nothing: the events of a lost camera end by themselves."""

    def send(self, event: ActionEvent) -> None:
        """Begin, prolong or end the clip of the event's camera."""
        now = time.monotonic()
        config = self._config
        with self._changed:
            ring = self._rings.get(event.camera)
            if ring is None or self._closing:
                return
            clip = self._clips.get(event.camera)
            if clip is None:
                if event.phase is not Phase.BEGIN:
                    return
                # A difference of one clock at one moment, whatever it was set to since.
                start = now - max(0.0, event.time - event.started) - config.before_s
                clip = _Clip(start, event.started, set())
                self._clips[event.camera] = clip
                ring.hold(start)
            clip.events.append(event)
            if event.phase is Phase.END:
                clip.open.discard(event.event_id)
            else:
                clip.open.add(event.event_id)
            # An end is told only when the action has been away for a while.
            away = max(0.0, event.time - event.started - event.duration_s)
            clip.end = None if clip.open else now - min(away, config.after_s) + config.after_s
            self._changed.notify_all()

    def status(self) -> dict[str, object]:
        """Return clips held, written (`sent`) and dropped, and cameras that have none."""
        with self._changed:
            return {
                "queued": len(self._clips),
                "sent": self._written,
                "dropped": self._dropped,
                "error": self._error,
                "unavailable": dict(self._unavailable),
            }

    def close(self, timeout_s: float) -> None:
        """Write what is held, up to now."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            logger.warning("clips: not all were written within %.0f s", timeout_s)

    def _take(self, camera: str, capture: Capture) -> None:
        """Have an open capture's packets go to the ring of its camera."""
        with self._changed:
            if not isinstance(capture, FFmpegCapture):
                if self._unavailable.get(camera) is None:
                    logger.warning("clips of %s: %s", camera, _NO_PACKETS)
                self._unavailable[camera] = _NO_PACKETS
                self._rings.pop(camera, None)
                return
            self._unavailable.pop(camera, None)
            if camera not in self._rings:
                self._rings[camera] = PacketRing(
                    seconds=self._config.before_s + _LATENESS_S,
                    most_bytes=int(self._config.ring_mb * _MB),
                )
            ring = self._rings[camera]
        ring.restart(Template(capture.stream))
        capture.on_packet = lambda packet: ring.add(packet, time.monotonic())

    def _run(self) -> None:
        while (due := self._due()) is not None:
            camera, clip, packets = due
            try:
                self._write(camera, clip, packets)
                with self._changed:
                    self._written += 1
                    self._error = None
            except (EdgeError, OSError) as error:
                with self._changed:
                    self._dropped += 1
                    self._error = str(error)
                logger.warning("clips: %s", error)

    def _due(self) -> tuple[str, _Clip, list[Packet]] | None:
        """Wait for a clip that is over; None when all are written and the sink closes."""
        with self._changed:
            while True:
                now = time.monotonic()
                ends = {camera: self._end(clip) for camera, clip in self._clips.items()}
                over = [camera for camera, end in ends.items() if end <= now or self._closing]
                if over:
                    camera = over[0]
                    clip, ring = self._clips.pop(camera), self._rings.get(camera)
                    if ring is None:  # the camera was taken out of the configuration
                        self._dropped += 1
                        continue
                    action = clip.start + self._config.before_s
                    packets = ring.between(clip.start, min(now, ends[camera]), at=action)
                    ring.hold(None)
                    return camera, clip, packets
                if self._closing:
                    return None
                self._changed.wait(min(ends.values()) - now if ends else None)

    def _end(self, clip: _Clip) -> float:
        last = clip.start + self._config.before_s + self._config.max_s
        return last if clip.end is None else min(clip.end, last)

    def _write(self, camera: str, clip: _Clip, packets: Sequence[Packet]) -> None:
        if not packets:
            raise SinkError(f"clips: nothing was received of {camera} while it should be recorded")
        began = datetime.datetime.fromtimestamp(clip.began, tz=datetime.timezone.utc)
        stem = began.strftime("%Y%m%dT%H%M%S.") + f"{began.microsecond // 1000:03d}Z"
        folder = self._folder / slug(camera)
        path = folder / (stem + packets[0].stream.suffix)
        with atomic_file(path) as part:
            write_packets(part, packets)
        about = {
            "camera": camera,
            "file": path.name,
            "seconds": round(packets[-1].at - packets[0].at, 3),
            # Negative: so long before the first action began.
            "begins_s": round(packets[0].at - clip.start - self._config.before_s, 3),
            "events": [event.to_dict() for event in clip.events],
        }
        write_atomically(folder / f"{stem}.json", json.dumps(about, indent=1) + "\n")
        self._bound()

    def _bound(self) -> None:
        """Remove the oldest clips, and nothing else, until the folder is small enough."""
        found = [
            (path.name, path, path.stat().st_size)
            for path in self._folder.glob("*/*")
            if _NAME.fullmatch(path.name) and path.is_file()
        ]
        size = sum(entry[2] for entry in found)
        for _, path, own in sorted(found):
            if size <= self._config.max_mb * _MB:
                return
            path.unlink(missing_ok=True)
            size -= own
