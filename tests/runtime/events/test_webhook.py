"""Webhooks to a real HTTP server: signed, tried again, given up, and without a shown secret."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("urllib3", reason="urllib3 is not installed")

from runtime.errors import ConfigError
from runtime.events import event_from_dict, events_config, open_sinks
from runtime.events.config import WebhookConfig
from runtime.events.webhook import WebhookSink
from tests.runtime.events.broker import free_port
from tests.runtime.events.made import event, until
from tests.runtime.events.test_mqtt import certificate

Make = Callable[..., WebhookSink]


class Receiver(ThreadingHTTPServer):
    """Answers with the statuses of a script, then 200, and keeps what came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[tuple[int, dict[str, str]]] = []
        self.came: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.came.append((self.path, headers, body))
        status, more = self.server.script.pop(0) if self.server.script else (200, {})
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def make() -> Iterator[Make]:
    opened: list[WebhookSink] = []

    def made(url: str, **settings: object) -> WebhookSink:
        sink = WebhookSink(WebhookConfig(url=url, **settings))  # type: ignore[arg-type]
        sink.longest_wait_s = 0.5
        opened.append(sink)
        return sink

    yield made
    for sink in opened:
        sink.close(5.0)


def test_an_event_is_posted_with_a_signature_that_others_check(
    receiver: Receiver, make: Make, tmp_path: Path
) -> None:
    checker = pytest.importorskip("standardwebhooks.webhooks", reason="needs standardwebhooks")
    secret = "whsec_" + base64.b64encode(b"a key of thirty-two bytes or so.").decode()
    (tmp_path / "secret").write_text(secret + "\n")
    sink = make(receiver.url + "?room=1", secret_file=str(tmp_path / "secret"))
    sent = event(1, camera="\u2603 door")
    sink.send(sent)
    until(lambda: sink.status()["sent"] == 1)
    ((path, headers, body),) = receiver.came
    assert path == "/hook?room=1"
    content = checker.Webhook(secret).verify(body, headers)
    assert content["type"] == "action.begin"
    assert event_from_dict(content["data"]) == sent
    with pytest.raises(checker.WebhookVerificationError):
        checker.Webhook(secret).verify(body.replace(b"walk", b"fall"), headers)
    other = "whsec_" + base64.b64encode(b"another key").decode()
    with pytest.raises(checker.WebhookVerificationError):
        checker.Webhook(other).verify(body, headers)


def test_a_plain_secret_is_its_own_key(
    receiver: Receiver, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    checker = pytest.importorskip("standardwebhooks.webhooks", reason="needs standardwebhooks")
    monkeypatch.setenv("HOOK", "plain words")
    sink = make(receiver.url, secret_env="HOOK")
    sink.send(event(1))
    until(lambda: receiver.came)
    _, headers, body = receiver.came[0]
    assert checker.Webhook(base64.b64encode(b"plain words").decode()).verify(body, headers)


def test_without_a_secret_there_is_no_signature(receiver: Receiver, make: Make) -> None:
    make(receiver.url).send(event(1))
    until(lambda: receiver.came)
    assert "webhook-signature" not in receiver.came[0][1]


def test_only_phases_that_were_asked_for_are_posted(receiver: Receiver, make: Make) -> None:
    sink = make(receiver.url, phases=("end",))
    for phase in ("begin", "continue", "end"):
        sink.send(event(1, phase=phase))
    until(lambda: sink.status()["sent"] == 1)
    assert [json.loads(body)["type"] for _, _, body in receiver.came] == ["action.end"]


def test_what_failed_is_posted_again_under_the_same_id(receiver: Receiver, make: Make) -> None:
    receiver.script = [(500, {}), (429, {"retry-after": "0"}), (503, {"retry-after": "soon"})]
    sink = make(receiver.url)
    for number in range(3):
        sink.send(event(number))
    until(lambda: sink.status()["sent"] == 3)
    people = [json.loads(body)["data"]["person"] for _, _, body in receiver.came]
    assert people == [0, 0, 0, 0, 1, 2]
    ids = [headers["webhook-id"] for _, headers, _ in receiver.came]
    assert len(set(ids[:4])) == 1
    assert len(set(ids)) == 3
    assert sink.status()["dropped"] == 0


@pytest.mark.parametrize("status", [400, 401, 404, 410, 301, 307])
def test_what_is_refused_is_given_up_and_nobody_else_gets_it(
    receiver: Receiver, make: Make, status: int
) -> None:
    with Receiver() as other:
        receiver.script = [(status, {"location": other.url})]
        sink = make(receiver.url)
        sink.send(event(1))
        sink.send(event(2))
        until(lambda: sink.status()["sent"] == 1)
        assert sink.status()["dropped"] == 1
        assert not other.came
        assert len(receiver.came) == 2


def test_an_event_that_is_too_old_is_given_up(receiver: Receiver, make: Make) -> None:
    receiver.script = [(500, {})] * 3
    sink = make(receiver.url, max_age_s=1e-6)
    sink.send(event(1))
    until(lambda: sink.status()["dropped"] == 1)
    assert "given up after" in str(sink.status()["error"])
    sink.send(event(2))
    until(lambda: sink.status()["dropped"] == 2)


def test_a_server_that_comes_later_gets_everything(make: Make) -> None:
    port = free_port()
    sink = make(f"http://127.0.0.1:{port}/")
    for number in range(5):
        sink.send(event(number))
    until(lambda: sink.status()["error"])
    assert "NewConnectionError" in str(sink.status()["error"])
    server = Receiver.__new__(Receiver)
    ThreadingHTTPServer.__init__(server, ("127.0.0.1", port), Handler)
    server.script, server.came = [], []
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        until(lambda: sink.status()["sent"] == 5)
        server.shutdown()
        thread.join()


def test_no_secret_of_the_address_is_shown(
    receiver: Receiver, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="runtime")
    dead = free_port()
    path = f"127.0.0.1:{dead}/hush/x?token=hush"
    sink = make(f"http://me:hush@{path}", timeout_s=1.0)
    sink.send(event(1))
    until(lambda: sink.status()["error"])
    receiver.script = [(403, {})]
    other = make(receiver.url.replace("//", "//me:hush@") + "/hush")
    other.send(event(1))
    until(lambda: other.status()["dropped"] == 1)
    expected = "Basic " + base64.b64encode(b"me:hush").decode()
    assert receiver.came[0][1]["authorization"] == expected
    assert "hush" not in caplog.text + str(sink.status()) + str(other.status())


def test_https_is_checked(receiver: Receiver, make: Make, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    # The handshake belongs to the thread of the request: a failed one must not stop the server.
    receiver.socket = context.wrap_socket(
        receiver.socket, server_side=True, do_handshake_on_connect=False
    )
    url = f"https://localhost:{receiver.server_address[1]}/"
    stranger = make(url)
    stranger.send(event(1))
    until(lambda: stranger.status()["error"])
    assert "certificate verify failed" in str(stranger.status()["error"])
    friend = make(url, ca_file=str(cert))
    friend.send(event(2))
    until(lambda: friend.status()["sent"] == 1)
    assert [json.loads(body)["data"]["person"] for _, _, body in receiver.came] == [2]


def test_it_is_opened_by_the_configuration() -> None:
    config = events_config({"webhook": {"url": f"http://127.0.0.1:{free_port()}/"}})
    (sink,) = open_sinks(config)
    assert sink.name == "webhook"
    sink.close(0.1)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_no base64"])
def test_a_secret_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    monkeypatch.setenv("HOOK", secret)
    with pytest.raises(ConfigError, match="whsec_"):
        WebhookSink(WebhookConfig(url="http://h/", secret_env="HOOK"))
