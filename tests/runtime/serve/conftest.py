"""A real server on a free port, in a thread, with cameras that are folders of images."""

from __future__ import annotations

import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("starlette", reason="the extra [serve] is not installed")
pytest.importorskip("uvicorn", reason="the extra [serve] is not installed")

from runtime.serve.config import CameraConfig, EngineConfig, ServeConfig
from runtime.serve.server import Server
from runtime.serve.server_config import ServerConfig

TOKEN = "a-token-of-thirty-two-characters"


class Running:
    """A server that serves."""

    def __init__(self, server: Server, cafile: str | None = None) -> None:
        self.server, self.service = server, server.service
        self.port = int(server.address.rpartition(":")[2])
        self.url = server.address
        self.context = ssl.create_default_context(cafile=cafile) if cafile else None
        self.thread = threading.Thread(target=server.run, daemon=True)

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """Return the status and the content: of JSON the value, else bytes."""
        return self.ask("GET", path, **headers)

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, body, named, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20, context=self.context) as response:
                status, content, kind = response.status, response.read(), response.headers
        except urllib.error.HTTPError as error:
            with error:
                status, content, kind = error.code, error.read(), error.headers
        is_json = "json" in kind.get("content-type", "")
        return status, json.loads(content) if is_json else content

    def answers(self) -> bool:
        """Tell whether it does, well or not."""
        try:
            return bool(self.get("/healthz")[0])
        except urllib.error.URLError:
            return False

    def stop(self) -> None:
        self.server.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()


def eventually(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait until a condition holds, and return its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {condition}")


@pytest.fixture
def images(tmp_path: Path) -> str:
    """Return a folder of two seconds of noise."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(60):
        picture = np.random.default_rng(i).integers(0, 255, (36, 48, 3), np.uint8)
        cv2.imwrite(str(folder / f"{i:02}.png"), picture)
    return str(folder)


@pytest.fixture
def serve(make_bundle: Any, images: str) -> Callable[..., Any]:
    """Return a context manager that serves cameras; `door` and `yard` where none are given."""
    bundle = str(make_bundle())

    @contextmanager
    def running(
        cameras: dict[str, CameraConfig] | None = None, config: ServeConfig | None = None,
        **server: Any,
    ) -> Iterator[Running]:  # fmt: skip
        if cameras is None:
            one = CameraConfig(source=images, conf=0.0, action_conf=0.0, min_duration_s=0.1)
            cameras = {"door": one, "yard": one}
        made = config or ServeConfig(
            cameras=cameras,
            engine=EngineConfig(model=bundle, num_threads=1),
            server=ServerConfig(port=0, **server),
        )
        run = Running(Server(made), server.get("tls_cert"))
        run.thread.start()
        try:
            eventually(run.answers)
            yield run
        finally:
            run.stop()

    return running
