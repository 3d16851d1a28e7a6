"""One simulated board of `benchmarks.fleet`: what is behind the model is real, in a process."""

from __future__ import annotations

import itertools
import pickle
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from runtime.events import ActionEvent, ActionSettings, ActionTracker
from runtime.events.config import MqttConfig
from runtime.events.mqtt import MqttSink
from runtime.results import KeyframeResult
from runtime.runner import ClipRunner

CAMERA = "camera"
_POLL_S = 0.05
_DRAIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What a board is told.

    Attributes:
        number: Which one.
        results: File of `record`.
        port: Of the broker on this machine.
        skew_s: How far its wall clock is ahead, seconds.
        delay_s: When it begins, seconds.
    """

    number: int
    results: Path
    port: int
    skew_s: float
    delay_s: float

    @property
    def node(self) -> str:
        """Return its name."""
        return f"board-{self.number:02d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a board says of itself: the counters that its /metrics would show.

    Attributes:
        node: Its name.
        client_id: Of its MQTT client.
        status: Of its sink.
        keys: (event_id, phase) of each event, in order.
        durations: Of each action of the first round: action, person and which time, seconds.
    """

    node: str
    client_id: str
    status: dict[str, object]
    keys: list[tuple[str, str]]
    durations: dict[tuple[str, int, int], float]


def record(video: Path, model: str, path: Path) -> int:
    """Run a bundle on a video and keep its results in a file; return how many they are."""
    with ClipRunner(model, num_threads=1) as runner:
        results = list(runner.stream(str(video), track=True))
    path.write_bytes(pickle.dumps(results))
    return len(results)


def run_board(board: Board, pipe: Connection) -> None:
    """Replay results at their own pace; a `Told` for each word that comes, until `stop`."""
    results: list[KeyframeResult] = pickle.loads(board.results.read_bytes())
    names = results[0].class_names
    tracker = ActionTracker(CAMERA, ActionSettings(), names)
    sink = MqttSink(MqttConfig(host="127.0.0.1", port=board.port, node=board.node))
    sink.cameras({CAMERA: tracker.classes})
    sink.camera_state(CAMERA, online=True)
    keys: list[tuple[str, str]] = []
    durations: dict[tuple[str, int, int], float] = {}
    first_round = True

    def send(events: list[ActionEvent]) -> None:
        for event in events:
            sink.send(event)
            keys.append((event.event_id, event.phase.value))
            if event.phase.value == "end" and first_round:
                which = (event.action, event.person)
                nth = sum(1 for key in durations if key[:2] == which)
                durations[(*which, nth)] = event.duration_s

    for result, due in _forever(results, board.delay_s):
        word = _wait(pipe, due)
        if word is not None:
            send(tracker.lost(now=time.time() + board.skew_s, monotonic=time.monotonic()))
            deadline = time.monotonic() + _DRAIN_S
            while sink.status()["queued"] and time.monotonic() < deadline:
                time.sleep(_POLL_S)
            pipe.send(
                Told(node=board.node, client_id=sink.client_id, status=sink.status(),
                     keys=keys, durations=durations)
            )  # fmt: skip
            if word == "stop":
                sink.close(5.0)
                return
        if result is None:
            send(tracker.lost(now=time.time() + board.skew_s, monotonic=time.monotonic()))
            first_round = False
        else:
            now = time.time() + board.skew_s
            send(tracker.update(result, now=now, monotonic=time.monotonic()))


def _forever(
    results: list[KeyframeResult], delay_s: float
) -> Iterator[tuple[KeyframeResult | None, float]]:
    """Yield results and when each is due, again and again; None between two rounds."""
    start = time.monotonic() + delay_s
    length = results[-1].t + (results[-1].t - results[-2].t)
    for number in itertools.count():
        for result in results:
            yield result, start + result.t + number * length
        yield None, start + (number + 1) * length


def _wait(pipe: Connection, due: float) -> str | None:
    """Wait until it is due, or until somebody asks."""
    while True:
        left_s = due - time.monotonic()
        if pipe.poll(max(0.0, min(left_s, 1.0))):
            return str(pipe.recv())
        if left_s <= 0:
            return None
