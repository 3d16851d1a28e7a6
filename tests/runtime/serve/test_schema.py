"""The OpenAPI description and the server say the same, as schemathesis and promtool see it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest

from runtime.serve.config import CameraConfig
from runtime.serve.openapi import description
from tests.runtime.serve.conftest import eventually


@pytest.mark.slow
def test_schemathesis_finds_nothing(serve: Callable[..., Any], images: str) -> None:
    if find_spec("schemathesis") is None:
        pytest.skip("schemathesis is not installed (pip install '.[dev]')")
    cameras = {
        "door": CameraConfig(source=images, conf=0.0),
        "gone": CameraConfig(source="rtsp://127.0.0.1:9/x"),
    }
    with serve(cameras) as run:
        eventually(lambda: run.get("/api/actions")[1]["actions"])
        command = [
            sys.executable, "-m", "schemathesis.cli", "run", f"{run.url}/openapi.json",
            # They do not end; test_server.py reads them.
            "--exclude-path-regex", "/events|stream$", "--max-examples", "10", "--seed", "1",
            "--no-color",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "Selected: 9/12" in done.stdout


def test_every_reference_of_the_description_is_there() -> None:
    document = description("1")
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}

    def references(part: Any) -> set[str]:
        if isinstance(part, dict):
            own = {part["$ref"]} if "$ref" in part else set()
            return own.union(*map(references, part.values()))
        return set().union(*map(references, part)) if isinstance(part, list) else set()

    assert references(document) <= known
    assert len(known) == 7


def test_promtool_accepts_the_metrics(serve: Callable[..., Any]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    with serve() as run:
        eventually(lambda: run.get("/api/results")[1]["results"])
        text = run.get("/metrics")[1]
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stdout + done.stderr
    assert b'edge_camera_state{camera="door",state="running"}' in text
    assert b'edge_camera_latency_seconds_count{camera="yard"}' in text
