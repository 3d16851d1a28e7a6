"""Many hostile clients at once: slow ones, ones without a token, ones that send nonsense."""

from __future__ import annotations

import http.client
import json
import random
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from runtime.serve.server_config import ServerConfig
from tests.runtime.serve.conftest import TOKEN, eventually
from tests.runtime.serve.process import Process

MAX_CONNECTIONS = ServerConfig().max_connections


@pytest.fixture
def closed(make_bundle: Any, images: str, tmp_path: Path) -> Iterator[Process]:
    """Return a process that listens at all addresses, with a token."""
    (tmp_path / "token").write_text(TOKEN)
    config = tmp_path / "cameras.json"
    config.write_text(
        json.dumps(
            {
                "model": str(make_bundle()), "num_threads": 1,
                "server": {"port": 0, "host": "0.0.0.0", "token_file": str(tmp_path / "token")},
                "cameras": {"door": {"source": images, "conf": 0.0}},
            }
        )
    )  # fmt: skip
    process = Process("--config", str(config))
    yield process
    assert process.stop() == 0


def ask(process: Process, path: str, token: str | None = TOKEN) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=20)
    try:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def results(process: Process) -> int:
    return int(json.loads(ask(process, "/api/cameras/door")[1])["results"])


def goes_on(process: Process) -> bool:
    """Tell whether results come while the attackers are there."""
    before = results(process)
    return bool(eventually(lambda: results(process) > before + 3))


def test_requests_without_a_token_get_nothing(closed: Process) -> None:
    paths = ["/", "/api/cameras", "/api/results", "/metrics", "/events", "/api/stream"]
    found: Counter[int] = Counter()
    connection = http.client.HTTPConnection("127.0.0.1", closed.port, timeout=20)
    for i in range(2000):
        headers = {} if i % 2 else {"authorization": f"Bearer {i}"}
        connection.request("GET", paths[i % len(paths)], headers=headers)
        response = connection.getresponse()
        body = response.read()
        assert b"door" not in body
        found[response.status] += 1
    connection.close()
    assert set(found) == {401, 429}
    # Those without any token are no guesses, and a cookie would still be let in.
    assert found[401] >= 1000
    assert ask(closed, "/healthz", None)[0] == 200


def test_five_hundred_clients_that_do_not_read(closed: Process) -> None:
    head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    clients, attacks = [], 0
    try:
        for i in range(500):
            client = socket.socket()
            clients.append(client)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.settimeout(5)
            path = ("/api/stream", "/events", "/api/results?limit=1000")[i % 3]
            with suppress(OSError):  # refused, or not taken in: that is what is wanted
                client.connect(("127.0.0.1", closed.port))
                client.sendall(f"GET {path} HTTP/1.1\r\n{head}".encode())
                attacks += 1
        assert attacks > MAX_CONNECTIONS
        assert goes_on(closed)
        for _ in range(20):
            assert ask(closed, "/api/cameras")[0] == 200
    finally:
        for client in clients:
            client.close()
    assert goes_on(closed)


def test_five_hundred_requests_that_never_end(closed: Process) -> None:
    clients = []
    try:
        for i in range(500):
            with suppress(OSError):
                client = socket.create_connection(("127.0.0.1", closed.port), timeout=5)
                clients.append(client)
                client.sendall(b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\n"[: 5 + i % 40])
        assert len(clients) > MAX_CONNECTIONS
        for _ in range(20):
            assert ask(closed, "/api/cameras")[0] == 200
        assert goes_on(closed)
    finally:
        for client in clients:
            client.close()


def test_nonsense_is_refused_and_nothing_is_lost(closed: Process) -> None:
    assert goes_on(closed)
    rng = random.Random(0)
    whole = f"GET /api/cameras HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    for _ in range(300):
        data = bytearray(whole.encode())
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(data))
            change = rng.randrange(3)
            if change == 0:
                data[at] = rng.randrange(256)
            elif change == 1:
                del data[at]
            else:
                data.insert(at, rng.randrange(256))
        client = socket.create_connection(("127.0.0.1", closed.port), timeout=20)
        found = b""
        with client, suppress(OSError):
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            found = client.recv(65536)
        assert not found or found.startswith(b"HTTP/1.1 ")
        assert not found.startswith(b"HTTP/1.1 5")
    assert goes_on(closed)
    assert "Traceback" not in closed.log
