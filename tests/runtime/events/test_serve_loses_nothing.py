"""`edge serve` through broker restarts, a full disk and kill -9: what was acknowledged is there."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
pytest.importorskip("starlette", reason="the extra [serve] is not installed")
pytest.importorskip("runtime._native", reason="the native module is not built here")

from edge.world.video import write_world_video
from tests.runtime.events.broker import Broker, free_port
from tests.runtime.events.made import fill, until

ROOT = Path(__file__).resolve().parents[3]
SINKS = ("jsonl", "history", "mqtt")
Keys = set[tuple[str, str, float]]


class Lasting:
    """Hears events by a session that outlives restarts of the broker."""

    def __init__(self, port: int) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.keys: Keys = set()
        self.client = Client(CallbackAPIVersion.VERSION2, client_id="lasting", clean_session=False)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda client, *_: client.subscribe("bmvit/+/+/events", qos=1)
        self.client.on_message = lambda _, __, m: self.keys.add(key(json.loads(m.payload)))
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()


def key(event: dict[str, Any]) -> tuple[str, str, float]:
    return event["event_id"], event["phase"], event["time"]


class Board:
    """`edge serve` of two cameras, and what its sinks have."""

    def __init__(self, folder: Path, disk: Path, broker: Broker, clip: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.lines, self.database = disk / "events.jsonl", disk / "history.sqlite"
        self.heard = Lasting(broker.port)
        self.config = folder / "cameras.json"
        content = {
            "num_threads": 1,
            "server": {"port": self.port},
            "cameras": {name: {"source": str(clip), "continue_s": 1.0} for name in ("a", "b")},
            "events": {
                "jsonl": {"path": str(self.lines)},
                "history": {"path": str(self.database)},
                "mqtt": {"host": "127.0.0.1", "port": broker.port, "node": "gate"},
            },
        }
        self.config.write_text(json.dumps(content))

    def start(self) -> None:
        command = [sys.executable, "-m", "runtime", "serve", "--config", str(self.config)]
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        until(lambda: self.process.poll() is not None or self.counts(), limit_s=120.0)

    def counts(self, kind: str = "sent_events_total") -> dict[str, int]:
        """Return what /metrics says of each sink."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
                text = answer.read().decode()
        except OSError:
            return {}
        found = re.findall(rf'edge_sink_{kind}{{sink="(\w+)"}} ([\d.]+)', text)
        return {name: int(float(value)) for name, value in found}

    def more(self, count: int) -> None:
        """Wait until each sink has acknowledged so many more."""
        before = self.counts()
        until(
            lambda: all(self.counts().get(s, 0) >= before[s] + count for s in SINKS), limit_s=180.0
        )

    def found(self) -> dict[str, Keys]:
        """Return what is there, by sink."""
        lines = self.lines.read_text(encoding="utf-8").splitlines()
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT event_id, phase, time FROM events").fetchall()
        return {
            "jsonl": {key(json.loads(line)) for line in lines if line.endswith("}")},
            "history": {(event_id, phase, round(at, 3)) for event_id, phase, at in rows},
            "mqtt": set(self.heard.keys),
        }


def trial(folder: Path, disk: Path, *, rounds: int, full_s: float, down_s: float) -> dict[str, int]:
    """Do all of it; return how many events each sink had at the end."""
    clip = folder / "clip.mp4"
    write_world_video(clip, seconds=12.0, seed=2)
    broker = Broker(folder / "broker", "allow_anonymous true", "max_queued_messages 0")
    board = Board(folder, disk, broker, clip)
    try:
        board.start()
        board.more(10)
        for _ in range(rounds):
            broker.stop()
            time.sleep(down_s)
            broker.start()
            board.more(10)
        filler = fill(disk)
        before = board.counts()
        until(lambda: board.counts()["mqtt"] > before["mqtt"] + 20, limit_s=180.0)
        time.sleep(full_s)
        during = board.counts()
        assert during["jsonl"] == len(board.found()["jsonl"])
        filler.unlink()
        board.more(20)
        assert not any(board.counts("dropped_events_total").values())
        board.process.send_signal(signal.SIGTERM)
        assert board.process.wait(30) == 0
        found = board.found()
        until(lambda: board.heard.keys >= found["jsonl"])
        assert board.heard.keys == found["jsonl"] == found["history"]
        # Killed: each sink has at least what it acknowledged last before.
        board.start()
        board.more(20)
        acknowledged = board.counts()
        os.kill(board.process.pid, signal.SIGKILL)
        board.process.wait()
        for sink, keys in board.found().items():
            if sink != "mqtt":  # what it acknowledged, the broker is still sending
                assert len(keys - found[sink]) >= acknowledged[sink], sink
        until(lambda: len(board.heard.keys - found["mqtt"]) >= acknowledged["mqtt"])
        killed = board.found()
        board.start()
        board.more(10)
        board.process.send_signal(signal.SIGTERM)
        assert board.process.wait(30) == 0
        last = board.found()
        for sink in ("jsonl", "history"):
            assert killed[sink] < last[sink]
        return {sink: len(keys) for sink, keys in last.items()}
    finally:
        board.process.kill()
        board.process.wait()
        board.heard.client.disconnect()
        board.heard.client.loop_stop()
        broker.stop()


@pytest.mark.slow
def test_what_was_acknowledged_is_there(tmp_path: Path, larger_disk: Path) -> None:
    counts = trial(tmp_path, larger_disk, rounds=2, full_s=1.0, down_s=1.0)
    assert all(count > 50 for count in counts.values())
