"""A real Mosquitto for tests, and somebody who listens to it."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """A process that can be stopped and started again with what it retained."""

    def __init__(self, folder: Path, *lines: str) -> None:
        if MOSQUITTO is None:
            pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        self.log = folder / "mosquitto.log"
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            "\n".join(
                [
                    f"listener {self.port} 127.0.0.1", "persistence true",
                    "log_type all", "log_dest stderr",
                    # Started by root it would become a user who may not enter the test's folder.
                    f"user {getpass.getuser()}", f"persistence_location {folder}/",
                    *(lines or ("allow_anonymous true",)), "",
                ]
            )
        )  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(MOSQUITTO), "-c", str(self._config)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


class Listener:
    """Subscribes to everything and keeps it."""

    def __init__(self, port: int, *, topic: str = "#", user: tuple[str, str] | None = None,
                 ca: Path | None = None) -> None:  # fmt: skip
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages: list[tuple[str, bytes, bool]] = []
        self._ready = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2)
        if user is not None:
            self.client.username_pw_set(*user)
        if ca is not None:
            self.client.tls_set(ca_certs=str(ca))
        self.client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.on_message = lambda _, __, m: self.messages.append(
            (m.topic, bytes(m.payload), bool(m.retain))
        )
        self.client.connect("localhost" if ca else "127.0.0.1", port)
        self.client.loop_start()
        assert self._ready.wait(30)

    def latest(self, topic: str) -> str | None:
        texts = [payload for one, payload, _ in list(self.messages) if one == topic]
        return texts[-1].decode() if texts else None

    def texts(self, topic: str) -> list[str]:
        return [payload.decode() for one, payload, _ in list(self.messages) if one == topic]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
