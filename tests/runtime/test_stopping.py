"""A live run that is stopped says its summary, and its files hold results, gaps and drops."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.results import Event

ROOT = Path(__file__).parents[2]
FPS, FRAMES_A_CONNECTION = 30, 40


class Camera(http.server.BaseHTTPRequestHandler):
    """Serve MJPEG, and hang up after a while: the client connects again, behind a gap."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for index in range(FRAMES_A_CONNECTION):
                picture = np.full((48, 64, 3), index, np.uint8)
                jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                time.sleep(1 / FPS)
        except OSError:
            pass

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


@pytest.fixture
def camera() -> Iterator[str]:
    """Return the address of a running camera."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/camera"
    server.shutdown()
    server.server_close()
    thread.join(5)


def wait_for_lines(path: Path, process: subprocess.Popen[str], key: str) -> None:
    for _ in range(600):
        if path.exists() and key in path.read_text():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError(f"no {key} in {path}")


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        pytest.param(signal.SIGTERM, 0, "info: stopped by SIGTERM", id="service manager"),
        pytest.param(signal.SIGINT, 130, "interrupted", id="Ctrl-C"),
        pytest.param(signal.SIGHUP, 130, "interrupted", id="terminal gone"),
    ],
)
def test_a_live_run_that_is_stopped_has_whole_files_and_a_summary(
    number: int, code: int, said: str, camera: str, make_bundle: Any, tmp_path: Path
) -> None:
    lines, video = tmp_path / "out.jsonl", tmp_path / "out.mp4"
    process = subprocess.Popen(
        [sys.executable, "-m", "runtime", "run", camera, "--model", str(make_bundle()), "--conf",
         "0", "--save-json", str(lines), "--save", str(video), "--max-reconnects", "50"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        # As after a shell's start of a job in the foreground, whatever the tests' own parent did.
        preexec_fn=lambda: [signal.signal(n, signal.SIG_DFL) for n in (1, 2, 15)],
    )  # fmt: skip
    try:
        wait_for_lines(lines.with_name("out.jsonl.part"), process, '"event": "gap"')
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code, err
    assert err.rstrip().endswith(said)
    assert "Speed: " in err
    assert " keyframes, dropped " in err
    objects = [json.loads(line) for line in lines.read_text().splitlines()]
    events = [one for one in objects if "event" in one]
    assert {"gap"} <= {one["event"] for one in events} <= {"gap", "stale", "dropped", "slow_source"}
    assert all(one["t"] >= 0 and one["message"] for one in events)
    assert sum("frame" in one for one in objects) >= 3
    capture = cv2.VideoCapture(str(video))
    assert capture.grab()
    capture.release()


def test_an_event_becomes_an_object_with_its_counts() -> None:
    gap = Event(kind="gap", t=1.25, message="lost")
    assert gap.to_dict() == {"event": "gap", "t": 1.25, "message": "lost"}
    drops = Event(kind="dropped", t=2.0, message="so many", dropped_frames=3, dropped_clips=0)
    assert drops.to_dict()["dropped_frames"] == 3
    assert drops.to_dict()["dropped_clips"] == 0
