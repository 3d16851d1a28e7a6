"""Cameras over RTSP, `edge serve` as a process of its own, and what the kernel says of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from edge.data.demo_clip import render_frame
from runtime.errors import BackendUnavailableError

SIZE_WH, FPS = (640, 360), 15
SYSTEM_PYTHON = "/usr/bin/python3"
_TICKS = os.sysconf("SC_CLK_TCK")
_START_S = 60.0


def draw_pictures(folder: Path, seconds: float = 12.0) -> None:
    """Write the pictures that the cameras send: people who walk, wave, fall and stand."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(round(seconds * FPS)):
        picture = cv2.resize(render_frame(index / FPS), SIZE_WH)
        cv2.imwrite(str(folder / f"{index:04}.jpg"), picture)


class RtspCamera:
    """A camera that can be switched off and on again at its address."""

    def __init__(self, pictures: Path) -> None:
        """Switch it on."""
        self._pictures = pictures
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        self.start()

    @property
    def address(self) -> str:
        """Return where it is."""
        return f"rtsp://127.0.0.1:{self.port}/test"

    def start(self) -> None:
        """Switch it on.

        Raises:
            BackendUnavailableError: Debian's packages are not there.
        """
        script = Path(__file__).resolve().parents[1] / "tools" / "rtsp_server.py"
        self._process = subprocess.Popen(
            [SYSTEM_PYTHON, str(script), str(self.port), "folder", str(self._pictures), str(FPS)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("ready "):
            raise BackendUnavailableError(
                "no RTSP server; run tools/install-test-packages.sh as root"
            )
        self.port = int(line.split()[1])

    def stop(self) -> None:
        """Switch it off, as a pulled plug does."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a process has used and holds."""

    cpu_s: float
    rss_mb: float
    threads: int
    descriptors: int


class Served:
    """`edge serve` with a configuration file."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Start it and wait until it answers."""
        self.config = folder / "cameras.json"
        self.write(config)
        self.log = folder / "serve.log"
        started = time.monotonic()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "runtime", "serve", "--config", str(self.config)],
                stdout=log, stderr=log,
            )  # fmt: skip
        self.url = f"http://127.0.0.1:{config['server']['port']}"
        while True:
            try:
                self.get("/healthz")
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() - started > _START_S:
                    raise BackendUnavailableError(f"edge serve: see {self.log}") from None
                time.sleep(0.02)
        self.start_s = time.monotonic() - started

    def write(self, config: Mapping[str, Any]) -> None:
        """Write the configuration; `reload` makes it count."""
        self.config.write_text(json.dumps(config, indent=1), encoding="utf-8")

    def reload(self) -> None:
        """Send SIGHUP."""
        self.process.send_signal(signal.SIGHUP)

    def get(self, path: str) -> Any:
        """Return the content of a path: of JSON the value."""
        with urllib.request.urlopen(self.url + path, timeout=20) as response:
            content = response.read()
            return json.loads(content) if "json" in response.headers["content-type"] else content

    def cameras(self) -> list[dict[str, Any]]:
        """Return how the cameras are."""
        cameras: list[dict[str, Any]] = self.get("/api/cameras")["cameras"]
        return cameras

    def usage(self) -> Usage:
        """Return what the kernel counts."""
        proc = Path(f"/proc/{self.process.pid}")
        fields = (proc / "stat").read_text().rpartition(")")[2].split()
        status = dict(
            line.split(":", 1) for line in (proc / "status").read_text().splitlines() if ":" in line
        )
        return Usage(
            cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS,
            rss_mb=int(status["VmRSS"].split()[0]) * 1024 / 1e6,
            threads=int(status["Threads"]),
            descriptors=len(list((proc / "fd").iterdir())),
        )

    def stop(self) -> tuple[int, float]:
        """Send SIGTERM and return the exit code and the seconds until then."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        return code, time.monotonic() - started


class Viewer:
    """Reads what a page reads, events and pictures, and throws it away."""

    def __init__(self, url: str) -> None:
        """Begin to read."""
        self.bytes = 0
        self._closing = False
        self._threads = [
            threading.Thread(target=self._read, args=(url + path,), daemon=True)
            for path in ("/events", "/api/stream")
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, address: str) -> None:
        with urllib.request.urlopen(address, timeout=30) as response:
            while not self._closing and (part := response.read1(65536)):
                self.bytes += len(part)

    def close(self) -> None:
        """Read no more."""
        self._closing = True
        for thread in self._threads:
            thread.join(30)
