"""What a client gets from a real server: API, streams, and who is kept out."""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from runtime.events.clips import ClipSink
from runtime.events.config import ClipsConfig, EventsConfig, JsonlConfig
from runtime.serve.config import CameraConfig, EngineConfig, ServeConfig, ServerConfig
from tests.runtime.events.made import event
from tests.runtime.serve.conftest import TOKEN, Running, eventually
from tests.runtime.sources.films import write_film

Serve = Callable[..., Any]


def running(run: Running) -> bool:
    return all(c["state"] == "running" for c in run.get("/api/cameras")[1]["cameras"])


def lines(run: Running, path: str, **headers: str) -> Iterator[str]:
    """Yield lines of an answer that does not end."""
    connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=20)
    connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    response = connection.getresponse()
    assert response.status == 200
    try:
        while line := response.readline():
            yield line.decode().rstrip("\n")
    finally:
        connection.close()


def test_cameras_results_and_actions(serve: Serve) -> None:
    with serve() as run:
        eventually(lambda: running(run))
        cameras = run.get("/api/cameras")[1]["cameras"]
        assert [c["name"] for c in cameras] == ["door", "yard"]
        assert cameras[0]["size_wh"] == [48, 36]
        first = eventually(lambda: run.get("/api/results?limit=3")[1]["results"])
        assert [set(d) for d in first[0]["detections"]] == [
            {"xyxy", "actor", "actions", "person"}
        ] * 4
        page = run.get("/api/results?limit=2")[1]
        after = eventually(lambda: run.get(f"/api/results?since={page['next']}")[1]["results"])
        assert after[0]["number"] > page["results"][-1]["number"]
        only = run.get("/api/results?camera=yard")[1]["results"]
        assert {r["camera"] for r in only} == {"yard"}
        actions = eventually(lambda: run.get("/api/actions?camera=door")[1]["actions"])
        assert actions[0]["action"] in ("stand", "walk", "fall \u2603")
        assert run.get("/api/info")[1]["trained"] is False
        assert run.get("/api/cameras/door")[1]["name"] == "door"


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        pytest.param("/api/cameras/none", 404, "no camera of that name", id="no such camera"),
        pytest.param("/api/results?camera=none", 404, "no camera", id="no such camera's results"),
        pytest.param("/api/results?since=-1", 422, "since has to be", id="a negative number"),
        pytest.param("/api/results?limit=0", 422, "from 1 to 1000", id="no results at all"),
        pytest.param("/events?kind=all", 422, "kind is one of", id="an unknown kind"),
        pytest.param("/nothing", 404, "Not Found", id="no such page"),
        pytest.param("/static/../config.py", 404, "Not Found", id="a path that climbs"),
        pytest.param("/static/%2e%2e/config.py", 404, "Not Found", id="an encoded one"),
    ],
)
def test_what_is_not_there_is_said(serve: Serve, path: str, status: int, words: str) -> None:
    with serve() as run:
        found, content = run.get(path)
        assert found == status
        assert words in content["error"]


def test_events_as_sse_and_over_a_websocket_say_the_same(serve: Serve) -> None:
    with serve() as run:
        eventually(lambda: running(run))
        read = lines(run, "/events?kind=cameras&kind=result&camera=door")
        some = list(itertools.islice(read, 30))
        read.close()
        assert some[0] == "retry: 2000"
        kinds = {line.removeprefix("event: ") for line in some if line.startswith("event: ")}
        assert kinds == {"cameras", "result"}
        told = [json.loads(line[6:]) for line in some if line.startswith("data: ")]
        assert [c["name"] for c in told[0]["cameras"]] == ["door", "yard"]
        assert {one["camera"] for one in told if "camera" in one} == {"door"}
        with connect(f"ws://127.0.0.1:{run.port}/events?kind=action") as socket_:
            message = json.loads(socket_.recv(timeout=20))
            assert message["type"] == "action"
            assert message["camera"] in ("door", "yard")


def test_pictures_of_all_cameras_come_over_one_connection(serve: Serve) -> None:
    with serve(preview_width=64) as run:
        connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=20)
        connection.request("GET", "/api/stream")
        response = connection.getresponse()
        assert response.getheader("content-type", "").startswith("multipart/x-mixed-replace")
        seen: dict[str, tuple[int, ...]] = {}
        while len(seen) < 2:
            assert response.readline() == b"--edge-frame\r\n"
            head = {}
            while (line := response.readline()) != b"\r\n":
                name, _, value = line.decode().strip().partition(": ")
                head[name] = value
            jpeg = response.read(int(head["Content-Length"]))
            assert response.readline() == b"\r\n"
            seen[head["X-Camera"]] = cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1).shape
        assert seen == {"door": (36, 48, 3), "yard": (36, 48, 3)}
        connection.close()
        eventually(lambda: run.service.hub.clients == 0)
        time.sleep(0.3)
        count = run.service.encoder.encoded
        time.sleep(0.5)
        assert run.service.encoder.encoded <= count + 1  # nobody watches


def test_the_head_of_a_stream_is_all_of_it(serve: Serve) -> None:
    with serve() as run:
        for path in ("/events", "/api/stream"):
            assert run.ask("HEAD", path) == (200, b"")
        eventually(lambda: run.service.hub.clients == 0)


def test_a_snapshot_is_the_newest_frame(serve: Serve) -> None:
    with serve() as run:
        eventually(lambda: running(run))
        status, jpeg = run.get("/api/cameras/door/snapshot.jpg")
        assert status == 200
        assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1).shape == (36, 48, 3)


def patch(run: Running, content: Any, **headers: str) -> tuple[int, Any]:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    headers.setdefault("content_type", "application/json")
    return run.ask("PATCH", "/api/cameras/door/threshold", body, **headers)


def test_a_threshold_moves_what_is_found_at_once_and_goes_back(serve: Serve) -> None:
    with serve() as run:
        eventually(lambda: running(run))
        assert patch(run, {"conf": 1.0})[1]["conf"] == 1.0
        number = run.get("/api/results?limit=1000")[1]["next"]

        def newer() -> Any:
            found = run.get(f"/api/results?since={number}")[1]["results"]
            # Without the first of each camera: its clip may have been under way.
            return {
                name: [len(r["detections"]) for r in found if r["camera"] == name][1:]
                for name in ("door", "yard")
            }

        counts = eventually(lambda: all(newer().values()) and newer())
        assert set(counts["door"]) == {0}
        assert set(counts["yard"]) == {4}
        assert patch(run, {"conf": None})[1]["conf"] == 0.0


@pytest.mark.parametrize(
    ("content", "status"),
    [
        pytest.param({"conf": 1.5}, 422, id="out of range"),
        pytest.param({"conf": "0.5"}, 422, id="a text"),
        pytest.param({"conf": True}, 422, id="a truth"),
        pytest.param({"iou": 0.5}, 422, id="another name"),
        pytest.param({}, 422, id="nothing"),
        pytest.param([1], 422, id="a list"),
        pytest.param(b"{", 400, id="no JSON"),
        pytest.param(b"[" * 10_000, 400, id="a deep one"),
        pytest.param(b"[NaN" + b" " * 10, 400, id="no number"),
        pytest.param(b" " * 20_000, 413, id="too long"),
    ],
)
def test_a_threshold_that_is_none_is_refused(serve: Serve, content: Any, status: int) -> None:
    with serve() as run:
        assert patch(run, content)[0] == status
        assert patch(run, {"conf": 0.5}, content_type="text/plain")[0] == 415


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"host": "evil.example"}, 421, id="rebound name"),
        pytest.param({"host": "localhost.evil.example"}, 421, id="a name that begins like ours"),
        pytest.param({"host": "10.1.2.3"}, 421, id="another machine's address"),
        pytest.param({"host": "[::1]:99999999"}, 200, id="a port that is none"),
        pytest.param({"host": "[::"}, 421, id="no host at all"),
        pytest.param({"host": "localhost"}, 200, id="localhost"),
        pytest.param({"origin": "http://evil.example"}, 403, id="another page"),
        pytest.param({"origin": "null"}, 403, id="a page of a file"),
        pytest.param({"sec_fetch_site": "cross-site"}, 403, id="a picture in another page"),
        pytest.param({"sec_fetch_site": "same-site"}, 403, id="a page at another port"),
        pytest.param(
            {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, 200, id="a link"
        ),
    ],
)
def test_pages_of_others_are_kept_out(serve: Serve, headers: dict[str, str], status: int) -> None:
    with serve() as run:
        assert run.get("/api/cameras", **headers)[0] == status


def test_a_websocket_of_another_page_is_refused(serve: Serve) -> None:
    with serve() as run:
        address = f"ws://127.0.0.1:{run.port}/events"
        with pytest.raises(InvalidStatus, match="403"), connect(address, origin="http://a.example"):
            pass
        with connect(address, origin=f"http://127.0.0.1:{run.port}") as allowed:
            assert allowed.recv(timeout=20)


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return str(path)


PATHS = (
    "/", "/metrics", "/openapi.json", "/api/info", "/api/cameras", "/api/cameras/door",
    "/api/cameras/door/snapshot.jpg", "/api/cameras/door/stream", "/api/stream", "/api/results",
    "/api/actions", "/events", "/static/app.js", "/nothing",
)  # fmt: skip


def test_without_the_token_nobody_is_in(serve: Serve, token_file: str) -> None:
    with serve(token_file=token_file) as run:
        for path in PATHS:
            assert run.get(path)[0] == 401, path
            assert run.get(path, authorization="Basic eDp5")[0] in (401, 429), path
        assert patch(run, {"conf": 0.5})[0] == 401
        with pytest.raises(InvalidStatus, match="401"), connect(
            f"ws://127.0.0.1:{run.port}/events"
        ):  # fmt: skip
            pass
        assert run.get("/healthz") == (200, {"status": "ok"})


def test_wrong_tokens_are_counted(serve: Serve, token_file: str) -> None:
    with serve(token_file=token_file) as run:
        found = [run.get("/api/cameras", authorization="Bearer x")[0] for _ in range(12)]
        assert found == [401] * 10 + [429] * 2
        # Who guesses is not told that a guess was right.
        assert run.get("/api/cameras", authorization=f"Bearer {TOKEN}")[0] == 429


def test_the_token_lets_in(serve: Serve, token_file: str) -> None:
    with serve(token_file=token_file) as run:
        assert run.get("/api/cameras", authorization=f"Bearer {TOKEN}")[0] == 200
        found = [run.get("/api/cameras", authorization="Bearer x")[0] for _ in range(12)]
        assert found == [401] * 12
        assert run.get("/api/cameras", authorization=f"Bearer {TOKEN}")[0] == 200


def login(run: Running, token: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=20)
    connection.request(
        "POST", "/login", f"token={token}", {"content-type": "application/x-www-form-urlencoded"}
    )
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


def test_a_browser_logs_in_for_a_cookie_and_out_again(serve: Serve, token_file: str) -> None:
    with serve(token_file=token_file) as run:
        page = http.client.HTTPConnection("127.0.0.1", run.port, timeout=20)
        page.request("GET", "/", headers={"accept": "text/html"})
        assert page.getresponse().getheader("location") == "/login"
        page.close()
        assert b"Token" in run.get("/login")[1]
        wrong = login(run, "no")
        assert wrong.getheader("location") == "/login?wrong"
        assert wrong.getheader("set-cookie") is None
        cookie = login(run, TOKEN).getheader("set-cookie", "")
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert TOKEN not in cookie
        mine = cookie.split(";")[0]
        assert run.get("/api/cameras", cookie=mine)[0] == 200
        assert run.ask("POST", "/logout", b"", cookie=mine)[0] == 200  # the form again
        assert run.get("/api/cameras", cookie=mine)[0] == 401
        assert run.get("/api/cameras", cookie="edge_session=")[0] == 401


def test_https_by_certificate_files(serve: Serve, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
        "-keyout", str(key), "-out", str(cert),
    ]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("openssl is not installed")
    with serve(tls_cert=str(cert), tls_key=str(key)) as run:
        assert run.url.startswith("https://")
        assert run.get("/healthz") == (200, {"status": "ok"})
        assert raw(run, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") == b""


def test_no_secret_of_a_source_is_shown(serve: Serve) -> None:
    camera = CameraConfig(source="rtsp://user:geheim@127.0.0.1:9/x?token=auch")
    with serve({"door": camera}) as run:
        lost = eventually(
            lambda: [c for c in run.get("/api/cameras")[1]["cameras"] if c["state"] == "lost"]
        )
        assert "rtsp://user:***@127.0.0.1:9/x?token=***" in lost[0]["message"]
        texts = [str(run.get(path)[1]) for path in PATHS if "stream" not in path[5:]
                 and path not in ("/events", "/api/stream")]  # fmt: skip
        assert not [text for text in texts if "geheim" in text or "auch" in text]
        assert "geheim" not in repr(run.service.config)


def raw(run: Running, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", run.port), timeout=20) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        found = b""
        while part := client.recv(65536):
            found += part
        return found


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x00\xff\x16\x03\x01", id="TLS to a plain port"),
        pytest.param(b"GET\r\n\r\n", id="no path"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", id="no version"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", id="two hosts"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="no host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000, id="long header"),
        pytest.param(
            b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /", id="two lengths",
        ),
        pytest.param(
            b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", id="negative"
        ),
        pytest.param(
            b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n",
            id="huge",
        ),
        pytest.param(
            b"POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"4000\r\n" + b"a" * 0x4000 + b"\r\n4000\r\n" + b"a" * 0x4000 + b"\r\n0\r\n\r\n",
            id="long in chunks",
        ),
    ],
)  # fmt: skip
def test_malformed_http_is_refused_and_the_next_client_is_served(serve: Serve, data: bytes) -> None:
    with serve() as run:
        found = raw(run, data)
        assert not found or found.split()[1][:1] == b"4", found[:200]
        assert run.get("/healthz")[0] == 200


def test_clients_that_ask_nothing_give_way(serve: Serve) -> None:
    with serve(max_connections=16) as run:
        idle = [socket.create_connection(("127.0.0.1", run.port)) for _ in range(60)]
        for client in idle[::2]:
            client.send(b"GET / HTTP/1.1\r\nHost:")
        try:
            for _ in range(30):
                assert run.get("/healthz")[0] == 200
        finally:
            for client in idle:
                client.close()


def test_a_client_that_does_not_read_costs_the_others_nothing(serve: Serve) -> None:
    with serve(max_streams=4) as run:
        eventually(lambda: running(run))
        slow = []
        for _ in range(4):
            client = socket.create_connection(("127.0.0.1", run.port))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            slow.append(client)
        eventually(lambda: run.service.hub.clients == 4)
        try:
            # A fifth is told so while the four are read for, or takes the place of one that stalls.
            status = (
                run.get("/events", connection="close")[0] if run.service.hub.clients < 4 else 503
            )
            assert status == 503
            before = run.get("/api/cameras/door")[1]["results"]
            eventually(lambda: run.get("/api/cameras/door")[1]["results"] > before + 5)
        finally:
            for client in slow:
                client.close()
        eventually(lambda: run.service.hub.clients == 0)


def test_the_end_does_not_wait_for_clients(serve: Serve) -> None:
    with serve() as run:
        read = lines(run, "/events")
        next(read)
        thread = threading.Thread(target=lambda: [None for _ in read])
        thread.start()
        run.stop()
        thread.join(10)
        assert not thread.is_alive()


def test_clips_go_on_when_other_events_are_configured(
    serve: Serve, make_bundle: Any, tmp_path: Path
) -> None:
    film = write_film(tmp_path / "a.mp4", count=1500)  # too long to begin again meanwhile
    config = ServeConfig(
        cameras={"door": CameraConfig(source=str(film), conf=0.0)},
        engine=EngineConfig(model=str(make_bundle()), num_threads=1),
        server=ServerConfig(port=0),
        events=EventsConfig(clips=ClipsConfig(folder=str(tmp_path / "clips"))),
    )
    with serve(config=config) as run:
        eventually(lambda: run.service.cameras["door"].results > 0)
        more = replace(config.events, jsonl=JsonlConfig(path=str(tmp_path / "events.jsonl")))
        assert run.service.reload(replace(config, events=more)) == ["events changed"]
        (clips,) = (sink for sink in run.service.sinks if isinstance(sink, ClipSink))
        clips.send(event(1, camera="door"))
        assert clips.status()["queued"] == 1
