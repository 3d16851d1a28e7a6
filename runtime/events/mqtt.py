"""Events to an MQTT broker, with states that stay there for whoever comes later.

Every message has quality of service 1. An event is acknowledged when the broker has acknowledged
it; where the connection was lost before, it is sent again, so that it may come twice and is known
by its id, phase and time. States are retained: of a state that changed while there was no broker
only the last value is sent.

Each connection is a new client of paho's with the same id, so that nothing of the connection before
is sent behind what is newer.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import secrets
import ssl
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runtime.errors import BackendUnavailableError, SinkError
from runtime.events.config import MqttConfig, read_secret
from runtime.events.home_assistant import OFF, OFFLINE, ON, ONLINE, Topics, default_node, slug
from runtime.events.queue import QueueSink
from runtime.events.types import ActionEvent, Phase

if TYPE_CHECKING:
    from paho.mqtt.client import Client

logger = logging.getLogger(__name__)

_CONNECT_S, _ANSWER_S, _KEEPALIVE_S = 5.0, 10.0, 30
_PORT, _TLS_PORT = 1883, 8883


class MqttSink(QueueSink):
    """Publishes events and states; connects again for ever."""

    name = "mqtt"
    largest_batch = 20
    longest_wait_s = 30.0

    def __init__(self, config: MqttConfig) -> None:
        """Begin to connect; the broker need not be there yet.

        Raises:
            BackendUnavailableError: paho-mqtt is not installed.
            ConfigError: The password cannot be read.
            SinkError: A certificate cannot be used.
        """
        super().__init__(config.queue)
        try:
            import paho.mqtt.client  # noqa: F401
        except ImportError as error:
            raise BackendUnavailableError(
                f"paho-mqtt does not import ({error}); run: pip install '.[serve]'"
            ) from error
        read_secret(config, "password")
        self._config = config
        self._port = config.port or (_TLS_PORT if config.tls else _PORT)
        self._tls = _tls(config)
        node = slug(config.node) if config.node else default_node()
        self.topics = Topics(base=config.base, node=node, discovery=config.discovery)
        # Unique though two boards have one name: a broker cuts off the older of equal clients.
        self.client_id = f"bmvit-{node[:32]}-{secrets.token_hex(6)}"
        self._version = _version()
        # All below are guarded by `_changed`.
        self._client: Client | None = None
        self._connected = False
        self._connections = 0
        self._why: str | None = None
        self._conflict: str | None = None
        self._acknowledged: set[int] = set()
        self._retained = {
            self.topics.availability: ONLINE,
            self.topics.instance: self.client_id,
        }
        self._unsent = set(self._retained)
        self._declared = False
        self._subscribe = True
        self._cameras: dict[str, tuple[str, ...]] = {}
        self._doing: dict[tuple[str, str], set[str]] = {}
        self._start()

    def cameras(self, actions: Mapping[str, Sequence[str]]) -> None:
        """Announce cameras and actions to Home Assistant; those that are gone are taken back."""
        topics = self.topics
        with self._changed:
            self._cameras = {camera: tuple(names) for camera, names in actions.items()}
            wanted = {topics.availability: ONLINE, topics.instance: self.client_id}
            for camera, names in self._cameras.items():
                place = topics.camera_availability(camera)
                wanted[place] = self._retained.get(place, OFFLINE)
                for action in names:
                    wanted[topics.state(camera, action)] = self._state(camera, action)
                    if topics.discovery:
                        sensor = topics.sensor(camera, action, version=self._version)
                        wanted[topics.config(camera, action)] = sensor
            for topic in self._retained.keys() - wanted.keys():
                wanted[topic] = ""  # an empty one takes it away
            self._unsent |= {t for t, text in wanted.items() if self._retained.get(t) != text}
            self._retained = wanted
            self._declared = self._subscribe = True
            self._changed.notify_all()

    def camera_state(self, camera: str, *, online: bool) -> None:
        """Say that a camera works or does not; nobody acts at one that does not."""
        with self._changed:
            place = self.topics.camera_availability(camera)
            self._keep(place, ONLINE if online else OFFLINE)
            if not online:
                for key in [key for key in self._doing if key[0] == camera]:
                    del self._doing[key]
                    self._keep(self.topics.state(*key), OFF)

    def send(self, event: ActionEvent) -> None:
        """Queue an event, and change the state of its action."""
        key = (event.camera, event.action)
        with self._changed:
            doing = self._doing.setdefault(key, set())
            if event.phase is Phase.END:
                doing.discard(event.event_id)
            else:
                doing.add(event.event_id)
            if not doing:
                del self._doing[key]
            self._keep(self.topics.state(*key), self._state(*key))
        super().send(event)

    def status(self) -> dict[str, object]:
        """Return the queue's status and that of the connection."""
        with self._changed:
            return {
                **super().status(),
                "connected": self._connected,
                "connections": self._connections,
                "broker": f"{self._config.host}:{self._port}",
                "node": self.topics.node,
                "client_id": self.client_id,
                "conflict": self._conflict,
            }

    def _state(self, camera: str, action: str) -> str:
        return ON if self._doing.get((camera, action)) else OFF

    def _keep(self, topic: str, text: str) -> None:
        """Have a retained topic hold a text."""
        if self._retained.get(topic) != text:
            self._retained[topic] = text
            self._unsent.add(topic)
            self._changed.notify_all()

    def _idle(self) -> bool:
        return self._connected and not self._unsent and not self._subscribe

    def _settled(self) -> bool:
        return not self._connected or self._idle()

    def _deliver(self, batch: Sequence[ActionEvent]) -> None:
        client = self._client
        if client is None or not self._connected:
            client = self._connect()
        with self._changed:
            subscribe, self._subscribe = self._subscribe, False
            states = {topic: self._retained[topic] for topic in self._unsent}
            self._unsent.clear()
            declared = self._declared
        if subscribe:
            filters = [self.topics.instance, *(self.topics.retained() if declared else ())]
            if self.topics.discovery:
                filters.append(f"{self.topics.discovery}/status")
            client.subscribe([(one, 1) for one in filters])
        # Availability behind what it makes available.
        order = sorted(states, key=lambda topic: (topic.endswith("/availability"), topic))
        # A few at a time: each answer has its own limit, however slow the line is.
        for first in range(0, len(order), self.largest_batch):
            some = order[first : first + self.largest_batch]
            self._publish(client, [(topic, states[topic].encode()) for topic in some], retain=True)
        self._publish(client, [(self.topics.events(e.camera), _payload(e)) for e in batch])
        with self._changed:
            for topic in [t for t, text in states.items() if not text]:
                if not self._retained.get(topic):
                    self._retained.pop(topic, None)

    def _publish(
        self, client: Client, messages: Sequence[tuple[str, bytes]], *, retain: bool = False
    ) -> None:
        """Publish, and wait until the broker has acknowledged all.

        Raises:
            SinkError: It did not.
        """
        sent = {client.publish(t, data, qos=1, retain=retain).mid for t, data in messages}
        with self._changed:
            self._changed.wait_for(
                lambda: sent <= self._acknowledged or not self._connected, _ANSWER_S
            )
            if sent <= self._acknowledged:
                self._acknowledged -= sent
                return
            lost = not self._connected
            reason = self._why or "the connection was lost"
        self._drop(client)
        raise SinkError(
            f"{self._place}: {reason}" if lost else f"{self._place}: no answer in {_ANSWER_S:g} s"
        )

    @property
    def _place(self) -> str:
        return f"the broker at {self._config.host}:{self._port}"

    def _connect(self) -> Client:
        """Connect a new client.

        Raises:
            ConfigError: The password cannot be read.
            SinkError: There is no broker, or it refuses.
        """
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        if self._client is not None:
            self._drop(self._client)
        client = Client(
            CallbackAPIVersion.VERSION2, client_id=self.client_id, reconnect_on_failure=False
        )
        client.connect_timeout = _CONNECT_S
        client.will_set(self.topics.availability, OFFLINE, qos=1, retain=True)
        if self._config.username:
            client.username_pw_set(self._config.username, read_secret(self._config, "password"))
        if self._tls is not None:
            client.tls_set_context(self._tls)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        with self._changed:
            self._client, self._connected, self._why = client, False, None
            self._acknowledged.clear()
        try:
            client.connect(self._config.host, self._port, keepalive=_KEEPALIVE_S)
        except (OSError, ValueError) as error:
            self._drop(client)
            raise SinkError(f"{self._place} cannot be reached: {error}") from error
        threading.Thread(target=self._loop, args=(client,), name="events-mqtt-net",
                         daemon=True).start()  # fmt: skip
        with self._changed:
            self._changed.wait_for(lambda: self._connected or self._why, _ANSWER_S)
            if self._connected:
                self._connections += 1
                # What the broker keeps may be of another process, or of none.
                self._unsent = set(self._retained)
                self._subscribe = True
                return client
            reason = self._why or f"it does not answer within {_ANSWER_S:g} s"
        self._drop(client)
        raise SinkError(f"{self._place} refuses: {reason}")

    def _loop(self, client: Client) -> None:
        """Serve one connection until it ends."""
        reason = "the connection was lost"
        try:
            client.loop_forever()
        except Exception as error:  # what a broken broker sends must not end more than this
            reason = f"it sends what is no MQTT ({type(error).__name__}: {error})"
        with self._changed:
            if self._client is client:
                self._connected, self._why = False, self._why or reason
                self._woken = True
                self._changed.notify_all()

    def _drop(self, client: Client) -> None:
        with self._changed:
            if self._client is client:
                self._client, self._connected = None, False
        client.disconnect()

    def _on_connect(self, client: Client, _: Any, __: Any, code: Any, ___: Any) -> None:
        with self._changed:
            if self._client is client:
                self._connected = not code.is_failure
                self._why = str(code) if code.is_failure else None
                self._changed.notify_all()

    def _on_disconnect(self, client: Client, _: Any, __: Any, code: Any, ___: Any) -> None:
        with self._changed:
            if self._client is client:
                self._connected = False
                self._why = self._why or f"disconnected ({code})"
                self._woken = True
                self._changed.notify_all()

    def _on_publish(self, client: Client, _: Any, mid: int, __: Any, ___: Any) -> None:
        with self._changed:
            if self._client is client:
                self._acknowledged.add(mid)
                self._changed.notify_all()

    def _on_message(self, client: Client, _: Any, message: Any) -> None:
        """Read what others wrote: bytes of any kind, which are compared and not understood."""
        topic, payload = message.topic, bytes(message.payload)
        with self._changed:
            if topic == self.topics.instance:
                if not message.retain and payload not in (self.client_id.encode(), b""):
                    if self._conflict is None:
                        logger.warning("mqtt: another process is %r too; give each its own node",
                                       self.topics.node)  # fmt: skip
                    self._conflict = f"another process has the node's name {self.topics.node}"
            elif topic == f"{self.topics.discovery}/status":
                if payload == b"online" and not message.retain:  # it has started: tell it all again
                    self._unsent = set(self._retained)
                    self._changed.notify_all()
            elif message.retain and payload and self._declared and topic not in self._retained:
                # Of a camera or action that there was before.
                self._retained[topic] = ""
                self._unsent.add(topic)
                self._changed.notify_all()

    def _release(self) -> None:
        client = self._client
        if client is None:
            return
        if self._connected:
            last = client.publish(self.topics.availability, OFFLINE, qos=1, retain=True)
            with self._changed:
                self._changed.wait_for(
                    lambda: last.mid in self._acknowledged or not self._connected, 1.0
                )
        self._drop(client)


class _ClosedSocket(ssl.SSLSocket):
    """Closes itself where the handshake fails, which paho leaves to the collector."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError:
            self.close()
            raise


def _tls(config: MqttConfig) -> ssl.SSLContext | None:
    if not config.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
        context.sslsocket_class = _ClosedSocket
        if config.cert_file:
            context.load_cert_chain(config.cert_file, config.key_file)
    except (OSError, ssl.SSLError) as error:
        raise SinkError(f"mqtt: the certificates cannot be used: {error}") from error
    return context


def _payload(event: ActionEvent) -> bytes:
    text = json.dumps(event.to_dict(), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace")


def _version() -> str:
    try:
        return importlib.metadata.version("bmvit-edge")
    except importlib.metadata.PackageNotFoundError:
        return "source"
