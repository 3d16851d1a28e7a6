"""Many boards, one MQTT broker: what arrives, what is retained, and what a restart costs.

`python -m benchmarks.fleet` records the results of a real bundle on a drawn clip once. Each
simulated board is a process that replays them at their pace, from another place in the clip and
with a clock of its own, through the real `ActionTracker` and `MqttSink`, to a real Mosquitto. Then
the broker is stopped for a while and started again, and one board is killed.
"""

from __future__ import annotations

import dataclasses
import json
import math
import multiprocessing
import os
import random
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks._fleet_board import Board, Told, record, run_board
from benchmarks._main import run_main
from benchmarks._mosquitto import Mosquitto
from edge.world.video import write_world_video
from runtime.bundle import DEFAULT_BUNDLE
from runtime.errors import EdgeError
from runtime.options import check_options, guarded, option
from runtime.report import write_report

_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOptions:
    """How many, for how long. Attributes are the flags; see their help."""

    boards: tuple[int, ...] = option((2, 20), "simulated boards of each run")
    seconds: float = option(60.0, "steady time that is measured, seconds", above=0)
    down_s: float = option(5.0, "how long the broker is away, seconds", above=0)
    clip_s: float = option(20.0, "length of the drawn clip, seconds", above=2)
    skew_s: float = option(7200.0, "wall clocks differ by up to this, seconds", least=0)
    model: str = option(str(DEFAULT_BUNDLE), "bundle folder or zip", metavar="BUNDLE")
    out: str = option("runs/bench", "folder for fleet.json and fleet.md")
    verbose: bool = option(False, "show tracebacks")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRun:
    """What one run showed; the counts of events are over all boards and the whole run."""

    boards: int
    sensors: int
    retained: int
    clients: int
    events_per_s: float
    messages_per_s: float
    broker_cpu_percent: float
    broker_rss_mb: float
    back_after_s: float
    told: int
    acknowledged: int
    arrived: int
    twice: int
    missing: int
    dropped: int
    equal_clients: int
    will_after_s: float
    durations_differ_s: float


def table(runs: Sequence[FleetRun]) -> list[list[str]]:
    """Return a row for each thing that was seen, a column for each run."""
    rows: dict[str, Callable[[FleetRun], str]] = {
        "sensors announced": lambda r: f"{r.sensors}",
        "retained messages": lambda r: f"{r.retained}",
        "clients, with the watcher": lambda r: f"{r.clients}",
        "clients of one id": lambda r: f"{r.equal_clients}",
        "events a second": lambda r: f"{r.events_per_s:.1f}",
        "messages a second": lambda r: f"{r.messages_per_s:.1f}",
        "broker, processor": lambda r: f"{r.broker_cpu_percent:.1f} %",
        "broker, memory": lambda r: f"{r.broker_rss_mb:.1f} MB",
        "all back after its restart": lambda r: f"{r.back_after_s:.1f} s",
        "events told": lambda r: f"{r.told}",
        "acknowledged": lambda r: f"{r.acknowledged}",
        "arrived / missing / twice": lambda r: f"{r.arrived} / {r.missing} / {r.twice}",
        "dropped": lambda r: f"{r.dropped}",
        "durations differ by at most": (lambda r: f"{1000 * r.durations_differ_s:.0f} ms"),
    }
    header = ["", *(f"{run.boards} boards" for run in runs)]
    return [header, *([name, *map(of, runs)] for name, of in rows.items())]


@dataclass
class Watcher:
    """Subscribes to everything by a session that outlives the broker's restart."""

    port: int
    events: list[tuple[str, str]] = field(default_factory=list)
    available: dict[str, str] = field(default_factory=dict)
    retained: dict[str, str] = field(default_factory=dict)
    broker: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        ready = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="watcher", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        topics = [("bmvit/#", 1), ("homeassistant/#", 1), ("$SYS/broker/#", 0)]
        self._client.on_connect = lambda client, *_: client.subscribe(topics)
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", self.port)
        self._client.loop_start()
        if not ready.wait(_LIMIT_S):
            raise EdgeError("the broker takes no subscription")

    def _take(self, _: Any, __: Any, message: Any) -> None:
        topic, text = message.topic, message.payload.decode("utf-8", "replace")
        if topic.startswith("$SYS/"):
            if re.fullmatch(r"[\d.]+", text):
                self.broker[topic.removeprefix("$SYS/broker/")] = float(text)
            return
        if topic.endswith("/events"):
            event = json.loads(text)
            self.events.append((event["event_id"], event["phase"]))
            return
        self.retained[topic] = text
        board = re.fullmatch(r"bmvit/([^/]+)/availability", topic)
        if board:
            self.available[board[1]] = text

    def online(self) -> int:
        """Return how many boards say that they are there."""
        return list(self.available.values()).count("online")

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()


class Fleet:
    """Processes of boards."""

    def __init__(self, boards: Sequence[Board]) -> None:
        """Start all."""
        context = multiprocessing.get_context("spawn")
        self.boards, self._pipes, self._processes = boards, [], []
        for board in boards:
            ours, theirs = context.Pipe()
            process = context.Process(target=run_board, args=(board, theirs), daemon=True)
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)

    def ask(self, word: str) -> list[Told]:
        """Have each deliver what it has, and say what it counted."""
        for pipe in self._pipes:
            pipe.send(word)
        return [pipe.recv() for pipe in self._pipes]

    def kill(self, number: int) -> None:
        """Take the power from one."""
        process = self._processes.pop(number)
        self._pipes.pop(number).close()
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()

    def close(self) -> None:
        """End all."""
        for process in self._processes:
            process.terminate()
            process.join()


def run(options: FleetOptions) -> str:
    """Measure, write both files; return the Markdown."""
    out = Path(options.out)
    clip, results = out / "fleet.mp4", out / "fleet-results.pickle"
    out.mkdir(parents=True, exist_ok=True)
    write_world_video(clip, seconds=options.clip_s, seed=2)
    count = record(clip, options.model, results)
    runs = [
        measure(options, boards, results, out / f"broker-{boards}") for boards in options.boards
    ]
    return write_report(
        out, "fleet", title="Boards on one broker",
        table=table(runs),
        command="python -m benchmarks.fleet --boards " + " ".join(map(str, options.boards))
                + f" --seconds {options.seconds:g}",
        content={"runs": [dataclasses.asdict(one) for one in runs], "results": count},
        notes=[f"{count} recorded results of {Path(options.model).name} on a drawn clip of "
               f"{options.clip_s:g} s, replayed; clocks differ by up to {options.skew_s:g} s.", ""],
    )  # fmt: skip


def measure(options: FleetOptions, count: int, results: Path, folder: Path) -> FleetRun:
    """Run one fleet on a new broker."""
    dice = random.Random(count)
    broker = Mosquitto(folder, "allow_anonymous true", "max_queued_messages 0")
    begun = broker.log.stat().st_size
    watcher = Watcher(broker.port)
    fleet = Fleet(
        [
            Board(
                number=number, results=results, port=broker.port,
                skew_s=dice.uniform(-options.skew_s, options.skew_s) if number else 0.0,
                delay_s=dice.uniform(0.0, options.clip_s),
            )
            for number in range(count)
        ]
    )  # fmt: skip
    try:
        _until(lambda: watcher.online() == count, "the boards connect")
        time.sleep(3.0)  # what each says first is not the steady state
        steady = _steady(options.seconds, broker, watcher)
        broker.stop()
        time.sleep(options.down_s)
        watcher.available.clear()
        broker.start()
        started = time.monotonic()
        _until(lambda: watcher.online() == count, "the boards come back")
        back_s = time.monotonic() - started
        told = fleet.ask("report")
        sent = Counter(key for one in told for key in one.keys)
        _until(lambda: sent.keys() <= set(watcher.events), "every event arrives", must=False)
        heard = Counter(key for key in watcher.events if key in sent)
        fleet.kill(0)
        killed = time.monotonic()
        _until(lambda: watcher.available["board-00"] == "offline", "the last will comes")
        will_s = time.monotonic() - killed
        fleet.ask("stop") if count > 1 else None
    finally:
        fleet.close()
        watcher.close()
        broker.stop()
    log = broker.log.read_text(encoding="utf-8", errors="replace")[begun:]
    return FleetRun(
        boards=count,
        sensors=sum(1 for t, text in watcher.retained.items() if t.endswith("/config") and text),
        retained=int(steady["retained"]),
        clients=int(steady["clients"]),
        events_per_s=steady["events"],
        messages_per_s=steady["messages"],
        broker_cpu_percent=steady["cpu"],
        broker_rss_mb=steady["rss"],
        back_after_s=back_s,
        told=len(sent),
        acknowledged=sum(int(str(one.status["sent"])) for one in told),
        arrived=len(heard),
        twice=sum(heard.values()) - len(heard),
        missing=len(sent.keys() - heard.keys()),
        dropped=sum(int(str(one.status["dropped"])) for one in told),
        equal_clients=count - len({one.client_id for one in told}) + log.count("already connected"),
        will_after_s=will_s,
        durations_differ_s=_spread(told),
    )


def _steady(seconds: float, broker: Mosquitto, watcher: Watcher) -> dict[str, float]:
    """Count for a while."""
    assert broker.process is not None
    messages = _received(broker)
    events, cpu, start = len(watcher.events), _cpu_s(broker.process.pid), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - start
    events, cpu = len(watcher.events) - events, _cpu_s(broker.process.pid) - cpu
    messages = _received(broker) - messages
    return {
        "events": events / took,
        "messages": messages / took,
        "cpu": 100.0 * cpu / took,
        "rss": _rss_mb(broker.process.pid),
        "clients": watcher.broker["clients/connected"],
        "retained": float(sum(1 for text in watcher.retained.values() if text)),
    }


def _received(broker: Mosquitto) -> int:
    """Return how many messages of boards the broker has logged; its $SYS counter knows fewer."""
    with broker.log.open("rb") as log:
        return sum(b"Received PUBLISH from bmvit-" in line for line in log)


def _spread(told: Sequence[Told]) -> float:
    """Return by how much the duration of the same action differs between boards, at most."""
    shared = set.intersection(*(set(one.durations) for one in told))
    seen = [[one.durations[key] for one in told] for key in shared]
    return max((max(each) - min(each) for each in seen), default=math.nan)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mb(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def _until(condition: Callable[[], bool], what: str, *, must: bool = True) -> None:
    deadline = time.monotonic() + _LIMIT_S
    while not condition():
        if time.monotonic() > deadline:
            if not must:
                return
            raise EdgeError(f"it did not happen within {_LIMIT_S:g} s: {what}")
        time.sleep(0.05)


def main(argv: Sequence[str]) -> int:
    """Read the flags, measure, print the report."""
    return run_main(argv, "fleet", __doc__, FleetOptions, run)


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
