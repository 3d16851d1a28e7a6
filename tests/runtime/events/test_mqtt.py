"""MQTT with a real Mosquitto: events, states that stay, the last will, restarts, secrets."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")

from runtime.errors import SinkError
from runtime.events import event_from_dict, events_config, open_sinks
from runtime.events.config import MqttConfig
from runtime.events.home_assistant import slug
from runtime.events.mqtt import MqttSink
from tests.runtime.events.broker import Broker, Listener, free_port
from tests.runtime.events.made import event, until

ROOT = Path(__file__).resolve().parents[3]
Make = Callable[..., MqttSink]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    started = Broker(tmp_path / "broker")
    yield started
    started.stop()


@pytest.fixture
def listener(broker: Broker) -> Iterator[Listener]:
    heard = Listener(broker.port)
    yield heard
    heard.close()


@pytest.fixture
def make() -> Iterator[Make]:
    opened: list[MqttSink] = []

    def made(port: int, **settings: object) -> MqttSink:
        given = {"host": "127.0.0.1", "node": "gate", **settings}
        sink = MqttSink(MqttConfig(port=port, **given))  # type: ignore[arg-type]
        sink.longest_wait_s = 0.5
        opened.append(sink)
        return sink

    yield made
    for sink in opened:
        sink.close(5.0)


def events_of(heard: Listener, camera: str = "door") -> list[str]:
    return [
        event_from_dict(json.loads(t)).event_id for t in heard.texts(f"bmvit/gate/{camera}/events")
    ]


def test_events_are_told_and_acknowledged(broker: Broker, listener: Listener, make: Make) -> None:
    sink = make(broker.port)
    for number in range(50):
        sink.send(event(number))
    until(lambda: sink.status()["sent"] == 50)
    until(lambda: len(events_of(listener)) == 50)
    assert events_of(listener) == [f"event-{n}" for n in range(50)]
    assert sink.status()["connected"] is True


def test_states_are_retained_for_who_comes_later(broker: Broker, make: Make) -> None:
    sink = make(broker.port)
    sink.cameras({"door": ["walk", "fall"]})
    sink.camera_state("door", online=True)
    sink.send(event(1))
    sink.send(event(2))
    sink.send(event(1, phase="end"))
    until(lambda: sink.status()["sent"] == 3)
    late = Listener(broker.port)
    until(lambda: len(late.messages) >= 7)
    retained = {topic: payload.decode() for topic, payload, kept in late.messages if kept}
    sensor = json.loads(retained.pop("homeassistant/binary_sensor/gate/door_walk/config"))
    other = json.loads(retained.pop("homeassistant/binary_sensor/gate/door_fall/config"))
    assert retained == {
        "bmvit/gate/availability": "online",
        "bmvit/gate/instance": sink.client_id,
        "bmvit/gate/door/availability": "online",
        "bmvit/gate/door/walk/state": "ON",  # the second person still walks
        "bmvit/gate/door/fall/state": "OFF",
    }
    # What Home Assistant requires of a binary sensor, and what ties it to the topics above.
    assert sensor["state_topic"] == "bmvit/gate/door/walk/state"
    assert (sensor["payload_on"], sensor["payload_off"]) == ("ON", "OFF")
    assert [a["topic"] for a in sensor["availability"]] == [
        "bmvit/gate/availability", "bmvit/gate/door/availability",
    ]  # fmt: skip
    assert sensor["unique_id"] != other["unique_id"]
    assert sensor["device"] == other["device"]
    sink.send(event(2, phase="end"))
    until(lambda: late.latest("bmvit/gate/door/walk/state") == "OFF")
    late.close()


def test_nobody_acts_at_a_camera_that_is_lost(
    broker: Broker, listener: Listener, make: Make
) -> None:  # fmt: skip
    sink = make(broker.port)
    sink.cameras({"door": ["walk"]})
    sink.camera_state("door", online=True)
    sink.send(event(1))
    until(lambda: listener.latest("bmvit/gate/door/walk/state") == "ON")
    sink.camera_state("door", online=False)
    until(lambda: listener.latest("bmvit/gate/door/availability") == "offline")
    until(lambda: listener.latest("bmvit/gate/door/walk/state") == "OFF")


def test_a_clean_end_says_offline_and_a_kill_leaves_it_to_the_last_will(
    broker: Broker, listener: Listener, make: Make
) -> None:
    sink = make(broker.port)
    until(lambda: listener.latest("bmvit/gate/availability") == "online")
    sink.close(5.0)
    until(lambda: listener.latest("bmvit/gate/availability") == "offline")
    code = (
        "import sys, time; from runtime.events.config import MqttConfig; "
        "from runtime.events.mqtt import MqttSink; "
        "sink = MqttSink(MqttConfig(host='127.0.0.1', port=int(sys.argv[1]), node='gate')); "
        "time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(broker.port)], cwd=ROOT)
    until(lambda: listener.latest("bmvit/gate/availability") == "online")
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: listener.latest("bmvit/gate/availability") == "offline")


def test_a_broker_that_restarts_costs_no_event(broker: Broker, make: Make) -> None:
    sink = make(broker.port)
    sink.cameras({"door": ["walk"]})
    sink.send(event(0))
    until(lambda: sink.status()["sent"] == 1)
    broker.stop()
    until(lambda: not sink.status()["connected"])
    for number in range(1, 101):
        sink.send(event(number))
    until(lambda: sink.status()["error"])
    assert sink.status()["sent"] == 1
    broker.start()
    heard = Listener(broker.port)
    until(lambda: sink.status()["sent"] == 101)
    # Those sent before this listener came are acknowledged all the same.
    assert sink.status()["dropped"] == 0
    assert sink.status()["connections"] == 2
    assert sink.status()["error"] is None
    until(lambda: heard.latest("bmvit/gate/door/walk/state") == "ON")
    until(lambda: heard.latest("bmvit/gate/availability") == "online")
    heard.close()


def test_no_event_is_lost_while_a_broker_comes_and_goes(broker: Broker, make: Make) -> None:
    # The listener's session lasts, so that the broker itself keeps for it what it acknowledged.
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    heard: list[int] = []
    client = Client(CallbackAPIVersion.VERSION2, client_id="lasting", clean_session=False)
    client.on_connect = lambda c, *_: c.subscribe("bmvit/gate/door/events", qos=1)
    ready = threading.Event()
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda _, __, m: heard.append(json.loads(m.payload)["person"])
    client.reconnect_delay_set(1, 1)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    assert ready.wait(30)
    sink = make(broker.port)
    for number in range(300):
        sink.send(event(number))
        if number % 100 == 50:
            until(lambda least=number - 40: int(str(sink.status()["sent"])) >= least)
            broker.stop()
        if number % 100 == 80:
            broker.start()
    until(lambda: sink.status()["sent"] == 300)
    until(lambda: set(heard) == set(range(300)))
    client.disconnect()
    client.loop_stop()


def test_connections_that_come_and_go_leave_nothing_behind(broker: Broker, make: Make) -> None:
    def held() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("descriptors are counted in /proc")
    sink = make(broker.port)
    until(lambda: sink.status()["connected"])
    before = held()
    for number in range(2, 7):
        broker.stop()
        until(lambda: sink.status()["error"])
        broker.start()
        until(lambda least=number: sink.status()["connections"] == least and sink._idle())
    until(lambda: held() == before)


def test_a_full_queue_drops_the_oldest_events_and_keeps_the_states(
    broker: Broker, make: Make
) -> None:  # fmt: skip
    broker.stop()
    sink = make(broker.port, queue=10)
    until(lambda: sink.status()["error"])
    assert "cannot be reached" in str(sink.status()["error"])
    for number in range(100):
        sink.send(event(number))
    sink.send(event(200, phase="end", action="fall"))
    status = sink.status()
    assert status["dropped"] == 101 - int(str(status["queued"]))
    assert int(str(status["dropped"])) >= 71
    broker.start()
    heard = Listener(broker.port)
    until(lambda: sink.status()["queued"] == 0)
    until(lambda: heard.latest("bmvit/gate/door/walk/state") == "ON")
    until(lambda: heard.latest("bmvit/gate/door/fall/state") == "OFF")
    heard.close()


def test_sensors_of_cameras_that_are_gone_are_taken_back(broker: Broker, make: Make) -> None:
    sink = make(broker.port)
    sink.cameras({"door": ["walk"], "yard": ["walk", "fall"]})
    heard = Listener(broker.port)
    until(lambda: heard.latest("homeassistant/binary_sensor/gate/yard_fall/config"))
    sink.cameras({"door": ["walk"], "yard": ["walk"]})
    until(lambda: heard.latest("homeassistant/binary_sensor/gate/yard_fall/config") == "")
    until(lambda: heard.latest("bmvit/gate/yard/fall/state") == "")
    sink.close(5.0)
    # A process that knows nothing of the yard finds what is left of it.
    make(broker.port).cameras({"door": ["walk"]})
    until(lambda: heard.latest("homeassistant/binary_sensor/gate/yard_walk/config") == "")
    until(lambda: heard.latest("bmvit/gate/yard/availability") == "")
    assert heard.latest("homeassistant/binary_sensor/gate/door_walk/config") != ""
    heard.close()


def test_what_others_publish_is_not_believed(
    broker: Broker, listener: Listener, make: Make
) -> None:  # fmt: skip
    sink = make(broker.port)
    sink.cameras({"door": ["walk"]})
    until(lambda: listener.latest("bmvit/gate/door/walk/state"))
    rubbish = [b"\xff\xfe\x00", b"", b"{" * 100_000, b"online\0", "\u2603".encode(), b"null"]
    for payload in rubbish:
        for topic in (
            "homeassistant/status", "bmvit/gate/instance", "bmvit/gate/door/walk/state",
            "bmvit/gate/x/availability", "homeassistant/binary_sensor/gate/z/config",
        ):  # fmt: skip
            for retain in (False, True):
                listener.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(30)
    sink.send(event(1))
    until(lambda: sink.status()["sent"] == 1)
    assert sink.status()["connected"] is True
    assert sink.status()["connections"] == 1


def test_home_assistants_start_makes_it_tell_all_again(
    broker: Broker, listener: Listener, make: Make
) -> None:  # fmt: skip
    sink = make(broker.port)
    sink.cameras({"door": ["walk"]})
    topic = "homeassistant/binary_sensor/gate/door_walk/config"
    until(lambda: listener.latest(topic))
    before = len(listener.texts(topic))
    listener.client.publish("homeassistant/status", "online", qos=1)
    until(lambda: len(listener.texts(topic)) > before)


def test_two_processes_of_one_name_have_two_clients_and_say_so(
    broker: Broker, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    first = make(broker.port)
    until(lambda: first.status()["connected"] and first._idle())
    second = make(broker.port)
    until(lambda: first.status()["conflict"])
    assert "give each its own node" in caplog.text
    assert first.client_id != second.client_id
    for sink in (first, second):
        sink.send(event(1))
        until(lambda sink=sink: sink.status()["sent"] == 1)
        assert sink.status()["connections"] == 1


def certificate(folder: Path) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key),
        "-out", str(cert), "-days", "2", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
    ]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    key.chmod(0o644)
    return cert, key


def test_tls_and_a_password_that_is_never_shown(
    tmp_path: Path, make: Make, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    cert, key = certificate(tmp_path)
    users = tmp_path / "users"
    users.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(users), "edge", "hush-1"], check=True)
    users.chmod(0o644)
    broker = Broker(
        tmp_path / "broker", f"certfile {cert}", f"keyfile {key}", "allow_anonymous false",
        f"password_file {users}",
    )  # fmt: skip
    secret = tmp_path / "secret"
    secret.write_text("hush-wrong\n")
    given = {"tls": True, "ca_file": str(cert), "username": "edge", "password_file": str(secret)}
    sink = make(broker.port, host="localhost", **given)
    sink.send(event(1))
    until(lambda: sink.status()["error"])
    assert "Not authorized" in str(sink.status()["error"])
    secret.write_text("hush-1\n")  # read anew for each connection
    until(lambda: sink.status()["sent"] == 1)
    # Without the certificate of who signed it, nothing is sent, not even the password.
    stranger = make(broker.port, host="localhost", **{**given, "ca_file": None})
    until(lambda: stranger.status()["error"])
    assert "certificate verify failed" in str(stranger.status()["error"])
    shown = caplog.text + str(sink.status()) + str(stranger.status()) + str(capfd.readouterr())
    assert "hush" not in shown + repr(sink._config)
    broker.stop()


def test_certificates_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(SinkError, match="cannot be used"):
        MqttSink(MqttConfig(host="localhost", tls=True, ca_file=str(tmp_path / "ca.pem")))


@pytest.mark.parametrize(
    "answer", [b"", os.urandom(4096), b"HTTP/1.1 400 Bad\r\n\r\n", b"\x20\xff\xff\xff\xff\xff"]
)
def test_a_server_that_speaks_no_mqtt_is_survived(answer: bytes, make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        stop = threading.Event()
        met = []

        def serve() -> None:
            server.settimeout(0.1)
            while not stop.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    met.append(connection.recv(1024))
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        sink = make(server.getsockname()[1])
        sink.send(event(1))
        until(lambda: len(met) >= 3)  # it goes on trying
        until(lambda: sink.status()["error"])
        assert sink.status()["sent"] == 0
        sink.close(0.5)
        assert sink.status()["dropped"] == 1
        stop.set()
        thread.join()


def test_it_is_opened_by_the_configuration_without_a_broker() -> None:
    config = events_config({"mqtt": {"host": "127.0.0.1", "port": free_port(), "node": "Gate 1"}})
    (sink,) = open_sinks(config)
    assert sink.name == "mqtt"
    assert sink.status()["node"] == slug("Gate 1")
    sink.close(0.2)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("door", "door"), ("walk_2-b", "walk_2-b"), ("Front door", "front_door_"), ("a/b", "a_b_"),
     ("+/#", "_"), ("\u2603", "_"), ("", "")],
)  # fmt: skip
def test_names_become_parts_of_topics(name: str, expected: str) -> None:
    made = slug(name)
    assert made.startswith(expected)
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    assert len({slug(other) for other in ("a b", "a_b", "a/b", "A_b")}) == 4
