"""`edge serve` as systemd and an operator meet it: signals, reload, watchdog, exit codes."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.serve.systemd import notify, watchdog_s
from tests.runtime.serve.conftest import eventually
from tests.runtime.serve.process import Process


@pytest.fixture
def config(make_bundle: Any, images: str, tmp_path: Path) -> Path:
    """Return a file of two cameras."""
    path = tmp_path / "cameras.json"
    content = {
        "model": str(make_bundle()), "num_threads": 1, "server": {"port": 0},
        "cameras": {"door": {"source": images}, "yard": {"source": images}},
        "events": {"history": {"path": str(tmp_path / "history.db")}},
    }  # fmt: skip
    path.write_text(json.dumps(content))
    return path


def change(config: Path, alter: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(config.read_text())
    alter(content)
    config.write_text(json.dumps(content))


def cameras(process: Process) -> dict[str, dict[str, Any]]:
    with urllib.request.urlopen(process.url + "/api/cameras", timeout=20) as response:
        return {one["name"]: one for one in json.load(response)["cameras"]}


@pytest.fixture
def process(config: Path) -> Iterator[Process]:
    running = Process("--config", str(config))
    yield running
    running.stop()


@pytest.mark.parametrize(
    ("number", "code"),
    [pytest.param(signal.SIGTERM, 0, id="SIGTERM"), pytest.param(signal.SIGINT, 130, id="Ctrl-C")],
)
def test_a_signal_ends_it_with_streams_open(process: Process, number: int, code: int) -> None:
    eventually(lambda: cameras(process)["door"]["results"] > 2)
    with urllib.request.urlopen(process.url + "/events", timeout=20) as stream:
        assert stream.readline()
        assert process.stop(number) == code
    assert "Traceback" not in process.log


def test_sighup_changes_what_changed_and_leaves_the_rest(process: Process, config: Path) -> None:
    eventually(lambda: all(c["results"] > 2 for c in cameras(process).values()))
    before = cameras(process)["door"]["results"]

    def alter(content: dict[str, Any]) -> None:
        content["cameras"]["hall"] = content["cameras"].pop("yard")
        content["server"]["port"] = 1

    change(config, alter)
    process.process.send_signal(signal.SIGHUP)
    found = eventually(lambda: {**cameras(process)} if "hall" in cameras(process) else None)
    assert list(found) == ["door", "hall"]
    assert found["door"]["results"] >= before
    assert found["door"]["reconnects"] == 0
    eventually(lambda: cameras(process)["hall"]["results"] > 2)
    eventually(lambda: "server changed and needs a restart" in process.log)
    for word in ("camera yard removed", "camera hall added"):
        assert word in process.log


def test_a_faulty_file_changes_nothing(process: Process, config: Path) -> None:
    eventually(lambda: cameras(process)["yard"]["results"] > 2)
    change(config, lambda content: content["cameras"]["door"].update(conf=3, colour="red"))
    process.process.send_signal(signal.SIGHUP)
    eventually(lambda: "all goes on as before" in process.log)
    assert "camera door: unknown key 'colour'" in process.log
    change(config, lambda content: content["cameras"]["door"].pop("colour"))
    change(config, lambda content: content["cameras"]["door"].pop("conf"))
    change(config, lambda content: content["cameras"]["door"].update(classes=["fly"]))
    process.process.send_signal(signal.SIGHUP)
    eventually(lambda: "the model has no action 'fly'" in process.log)
    number = cameras(process)["yard"]["results"]
    eventually(lambda: cameras(process)["yard"]["results"] > number)


def test_systemd_is_told(config: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        process = Process(
            "--config", str(config),
            env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"},
        )  # fmt: skip
        try:
            assert listener.recv(4096).startswith(b"READY=1\nSTATUS=serving 2 cameras")
            assert [listener.recv(4096) for _ in range(2)] == [b"WATCHDOG=1"] * 2
            process.process.send_signal(signal.SIGHUP)
            told = b""
            while not told.startswith(b"RELOADING=1\nMONOTONIC_USEC="):
                told = listener.recv(4096)
            while told != b"READY=1\nSTATUS=serving 2 cameras":
                told = listener.recv(4096)
        finally:
            assert process.stop() == 0
        while told != b"STOPPING=1":
            told = listener.recv(4096)


def test_without_systemd_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    assert notify(ready=1) is False
    assert watchdog_s() is None
    monkeypatch.setenv("NOTIFY_SOCKET", "/nonexistent/socket")
    assert notify(ready=1) is False
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert watchdog_s() == 30.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_s() is None


def failed(*flags: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "runtime", "serve", *flags],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stderr


def test_what_cannot_be_served_is_said_before_anything_starts(config: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, text = failed("--config", str(config), "--port", port)
        assert code == 2
        assert f"error: port {port} of 127.0.0.1 cannot be had: Address already in use" in text
    change(config, lambda content: content["cameras"].update({"a b": 1, "c": {"source": "x.mp4"}}))
    code, text = failed("--config", str(config))
    assert code == 2
    assert text.count("error: ") == 3
    assert text.endswith("error: 2 faults; nothing was started\n")
    code, text = failed("--source", "rtsp://h/x", "--model", "/nonexistent")
    assert code == 1
    assert text.count("error: ") == 1
