"""A real RTSP server on loopback: results, a cut, a comeback, and a loss for good."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import CameraLostError, StaleFrameError
from runtime.results import Event, KeyframeResult
from runtime.runner import ClipRunner
from runtime.sources import Frame, Gap, SourceConfig, open_source

SERVER = Path(__file__).resolve().parents[3] / "tools" / "rtsp_server.py"
SYSTEM_PYTHON = Path("/usr/bin/python3")
INSTALL = "tools/install-test-packages.sh"
CONFIG = SourceConfig(
    open_timeout_s=4,
    read_timeout_s=2,
    reconnect_backoff_s=0.5,
    reconnect_deadline_s=12,
    live_queue=16,
)


class RtspServer:
    """The server of rtsp_server.py, which can be cut, frozen and started again on its port."""

    def __init__(self) -> None:
        self.port = 0
        self._process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def address(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/test"

    def start(self, size_wh: tuple[int, int] = (320, 240)) -> None:
        command = [str(SYSTEM_PYTHON), str(SERVER), str(self.port), "picture", *map(str, size_wh)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("ready "), "the RTSP server did not start"
        self.port = int(line.split()[1])

    def signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def cut(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture(scope="module")
def _rtsp_packages() -> None:
    probe = "import gi; gi.require_version('GstRtspServer', '1.0')"
    probe += "; from gi.repository import Gst; Gst.init(None)"
    probe += "; assert Gst.ElementFactory.find('x264enc')"
    if not SYSTEM_PYTHON.exists():
        pytest.skip(f"no {SYSTEM_PYTHON} for the RTSP server")
    done = subprocess.run([str(SYSTEM_PYTHON), "-c", probe], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"the RTSP server's Debian packages are missing; run {INSTALL} as root")


@pytest.fixture
def server(_rtsp_packages: None) -> Iterator[RtspServer]:
    """Return a server that serves 25 frames a second of 320x240."""
    running = RtspServer()
    yield running
    running.cut()


def test_frames_of_a_stream_are_fresh_and_evenly_spaced(server: RtspServer) -> None:
    with open_source(server.address, CONFIG) as source:
        frames = []
        while len(frames) < 40:
            item = source.read()
            assert isinstance(item, Frame)
            frames.append(item)
        assert source.live
        assert source.age_ms < 500
    assert frames[0].image_bgr.shape == (240, 320, 3)
    assert frames[0].image_bgr.any()
    steps = [b.t - a.t for a, b in itertools.pairwise(frames)]
    # FFmpeg's backlog from opening is passed over: no burst at the start.
    assert sum(steps[:10]) == pytest.approx(0.4, abs=0.15)
    assert sum(steps) / len(steps) == pytest.approx(0.04, rel=0.2)


def wait_for(condition: Any, seconds: float) -> bool:
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_a_cut_stream_that_comes_back_is_flushed_and_goes_on(
    server: RtspServer, make_bundle: Any
) -> None:
    events: list[Event] = []
    results: list[KeyframeResult] = []
    with ClipRunner(make_bundle(), num_threads=1) as runner:
        stop = threading.Event()

        def consume() -> None:
            for result in runner.stream(server.address, config=CONFIG, on_event=events.append):
                results.append(result)
                if stop.is_set():
                    return

        thread = threading.Thread(target=consume)
        thread.start()
        try:
            assert wait_for(lambda: len(results) >= 5, 15)
            server.cut()
            at_cut = len(results)
            assert wait_for(lambda: any(e.kind == "stale" for e in events), 5)
            server.start()
            assert wait_for(lambda: len(results) >= at_cut + 6, 15)
        finally:
            stop.set()
            thread.join(15)
        assert not thread.is_alive()
    kinds = [e.kind for e in events if e.kind != "stale"]
    assert kinds == ["warming_up", "running", "gap", "warming_up", "running"]
    gap = next(e for e in events if e.kind == "gap")
    assert "reconnected after" in gap.message
    # No clip spans the cut: sample 0 of the first result after it is newer than the gap.
    after = next(r for r in results if r.t > gap.t)
    assert after.keyframe_t > gap.t
    assert all(r.latency_ms < 500 for r in results)


def test_a_stream_that_comes_back_with_another_size_says_both(server: RtspServer) -> None:
    reasons: list[str] = []
    with open_source(server.address, CONFIG) as source:
        assert isinstance(source.read(), Frame)
        server.cut()
        server.start((160, 120))
        shape = (240, 320, 3)
        deadline = time.perf_counter() + 15
        while shape != (120, 160, 3) and time.perf_counter() < deadline:
            try:
                item = source.read()
            except StaleFrameError:
                continue
            if isinstance(item, Gap):
                reasons.append(item.reason)
            elif item is not None:
                shape = item.image_bgr.shape  # type: ignore[assignment]
    assert shape == (120, 160, 3)
    assert "reconnected after" in reasons[0]
    assert any("frame size changed from 320x240 to 160x120" in r for r in reasons)


def test_a_stream_that_never_comes_back_is_lost_within_the_bound(
    server: RtspServer, make_bundle: Any
) -> None:
    results: list[KeyframeResult] = []
    with ClipRunner(make_bundle(), num_threads=1) as runner:
        stream = runner.stream(server.address, config=CONFIG)
        results.append(next(stream))
        cut_at = time.perf_counter()
        server.cut()
        with pytest.raises(CameraLostError, match="did not come back in 3 attempts"):
            results.extend(stream)
        took_s = time.perf_counter() - cut_at
    # Back-off 0.5 + 1 + 2 s, the read time-out, and loopback's immediate refusals.
    assert 3.5 <= took_s < 7
    assert runner.state == "idle"


def test_a_frozen_server_is_stale_and_then_goes_on_or_reconnects(server: RtspServer) -> None:
    with open_source(server.address, CONFIG) as source:
        for _ in range(10):
            assert isinstance(source.read(), Frame)
        server.signal(signal.SIGSTOP)
        try:
            stale_after = time_to_stale(source)
        finally:
            server.signal(signal.SIGCONT)
        assert stale_after < 1.5
        assert wait_for(lambda: source.read() is not None, 10)


def time_to_stale(source: Any) -> float:
    """Return after how many seconds the source says that it is stale."""
    start = time.perf_counter()
    with pytest.raises(StaleFrameError):
        deque(source, maxlen=0)
    return time.perf_counter() - start


def test_closing_a_live_stream_is_quick(server: RtspServer) -> None:
    source = open_source(server.address, CONFIG)
    assert isinstance(source.read(), Frame)
    start = time.perf_counter()
    source.close()
    assert time.perf_counter() - start < 1
