"""Sources over HTTP, from a real server on loopback: a camera's MJPEG, and a file."""

from __future__ import annotations

import http.server
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.errors import CaptureError
from runtime.sources import Frame, SourceConfig, open_source

CONFIG = SourceConfig(open_timeout_s=3, read_timeout_s=2, reconnect_attempts=1, live_queue=32)
FPS = 20


class Handler(http.server.BaseHTTPRequestHandler):
    """Serve `/camera` as endless MJPEG at 20 frames a second, and the video at `/file.mp4`."""

    file = Path()

    def do_GET(self) -> None:
        if self.path == "/file.mp4":
            self._send_file()
        elif self.path == "/camera":
            self._send_camera()
        else:
            self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""

    def _send_file(self) -> None:
        whole = self.file.read_bytes()
        # FFmpeg asks for the index at the end first, as of any web server.
        start = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        content = whole[start:]
        self.send_response(206)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self._write(content)

    def _send_camera(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for i in itertools.count():
            picture = np.full((48, 64, 3), i % 255, np.uint8)
            jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            if not self._write(head.encode() + jpeg + b"\r\n"):
                return
            time.sleep(1 / FPS)

    def _write(self, content: bytes) -> bool:
        try:
            self.wfile.write(content)
        except OSError:
            return False
        return True


@pytest.fixture
def address(shared_data: Path) -> Iterator[str]:
    """Return the address of a running server."""
    Handler.file = shared_data / "videos" / "mmaction2_demo.mp4"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_an_mjpeg_camera_is_live(address: str) -> None:
    with open_source(f"{address}/camera", CONFIG) as source:
        frames = [source.read() for _ in range(20)]
        assert source.live
        assert source.frame_count is None
    assert all(isinstance(f, Frame) for f in frames)
    span_s = frames[-1].t - frames[0].t  # type: ignore[union-attr]
    assert span_s == pytest.approx(19 / FPS, rel=0.35)


def test_a_file_on_a_server_is_a_file(address: str) -> None:
    with open_source(f"{address}/file.mp4", CONFIG) as source:
        assert not source.live
        times = [f.t for f in source if isinstance(f, Frame)]
    assert len(times) == 280
    assert times == pytest.approx([i / 28 for i in range(280)], abs=1e-6)


def test_a_page_that_is_not_there_is_an_error(address: str) -> None:
    with pytest.raises(CaptureError, match="nobody serves this stream"):
        open_source(f"{address}/nothing", CONFIG)
