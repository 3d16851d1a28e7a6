"""A real Mosquitto for tests, and somebody who listens to it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from benchmarks._mosquitto import Mosquitto, free_port, mosquitto

__all__ = ["Broker", "Listener", "free_port"]


class Broker(Mosquitto):
    """Skips where there is none."""

    def __init__(self, folder: Path, *lines: str) -> None:
        if mosquitto() is None:
            pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
        super().__init__(folder, *lines)


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
