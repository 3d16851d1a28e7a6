"""Hours of faults for `edge run`: what must hold, and does memory, threads or files grow?

`python tools/soak.py --minutes 10`: a camera of GStreamer over RTSP behind a proxy, and a run that
writes JSON Lines and a video. In turn the camera freezes, dies and comes back, comes back with
another size, and sends damaged packets; a second run wants the same output; the run is killed.
After each fault results must come again. At the end every line that was written must be there.
Needs Debian's GStreamer (tools/install-test-packages.sh). The system's clock is not set: that would
be everybody's.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SERVER = ROOT / "tools" / "rtsp_server.py"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
SIZES = (("320", "240"), ("256", "192"))
RECOVERY_S = 60.0
# Of a process that lives on through faults: decoders and buffers are made anew at each.
MOST_GROWTH_MB, MOST_MORE_THREADS, MOST_MORE_FILES = 40.0, 4, 8


class Camera:
    """A camera over RTSP that can be killed, frozen, and started with another size."""

    def __init__(self) -> None:
        self.port = "0"
        self.start(0)

    def start(self, size: int) -> None:
        """Serve pictures of one of two sizes, on the same port as before."""
        self._process = subprocess.Popen(
            ["/usr/bin/python3", str(SERVER), self.port, "picture", *SIZES[size]],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        words = self._process.stdout.readline().split()
        if words[:1] != ["ready"]:
            raise SystemExit("no RTSP server: sh tools/install-test-packages.sh")
        self.port = words[1]

    def signal(self, number: int) -> None:
        """Send a signal to the server."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End the server."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Proxy:
    """Passes bytes between clients and the camera; damages some that come from the camera."""

    def __init__(self, camera: Camera) -> None:
        self.damage = 0.0
        self._camera = camera
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"rtsp://127.0.0.1:{self._server.getsockname()[1]}/test"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._server.accept()
            try:
                camera = socket.create_connection(("127.0.0.1", int(self._camera.port)), timeout=5)
                camera.settimeout(None)
            except OSError:
                client.close()
                continue
            for source, sink, changes in ((client, camera, False), (camera, client, True)):
                threading.Thread(
                    target=self._pass, args=(source, sink, changes), daemon=True
                ).start()

    def _pass(self, source: socket.socket, sink: socket.socket, changes: bool) -> None:
        rng = random.Random(0)
        try:
            while data := bytearray(source.recv(65536)):
                if changes and self.damage and len(data) > 200:
                    for _ in range(max(1, int(len(data) * self.damage))):
                        data[rng.randrange(100, len(data))] ^= 0xFF
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            end.close()


@dataclass
class Figures:
    """What a process holds: memory, threads, open files, each time it was looked at."""

    rss_mb: list[float] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def look(self, pid: int) -> None:
        """Add what the process holds now."""
        try:
            status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
            files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        except OSError:
            return
        self.rss_mb.append(int(status.split("VmRSS:")[1].split()[0]) / 1000)
        self.threads.append(int(status.split("Threads:")[1].split()[0]))
        self.files.append(files)

    def growth(self) -> tuple[float, int, int]:
        """Return how much each grew from the second quarter to the last."""
        count = len(self.rss_mb)
        before, after = slice(count // 4, count // 2 + 1), slice(-max(1, count // 4), None)
        return (
            max(self.rss_mb[after]) - max(self.rss_mb[before]),
            max(self.threads[after]) - max(self.threads[before]),
            max(self.files[after]) - max(self.files[before]),
        )


class Run:
    """An `edge run` on the camera, started again after it was killed."""

    def __init__(self, address: str, model: str, work: Path) -> None:
        self._address, self._model = address, model
        self.lines, self.work = work / "out.jsonl", work
        self.part = work / "out.jsonl.part"
        self.log = (work / "run.log").open("ab")
        self.start()

    def command(self, *more: str) -> list[str]:
        """Return the command that writes the output."""
        return [
            *(sys.executable, "-m", "runtime", "run", self._address, "--model", self._model),
            *("--save-json", str(self.lines), "--quiet", "--max-reconnects", "1000", *more),
        ]

    def start(self) -> None:
        """Start it, with a video beside its lines."""
        self.figures = Figures()
        self.process = subprocess.Popen(
            self.command("--save", str(self.work / "out.mp4")), env=ENVIRONMENT,
            stderr=self.log, cwd=ROOT,
        )  # fmt: skip

    def results(self) -> int:
        """Return how many results the part holds."""
        if not self.part.exists():
            return 0
        return self.part.read_text(encoding="utf-8").count('"frame"')


class Soak:
    """The faults, one after the other, and what was wrong."""

    def __init__(self, model: str, work: Path) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self.camera = Camera()
        self.proxy = Proxy(self.camera)
        self.run = Run(self.proxy.address, model, work)
        self.wrong: list[str] = []
        self.written = 0  # results of runs that were killed
        self._size = 0
        self.faults: list[Callable[[], None]] = [
            self.freeze, self.restart, self.resize, self.damage, self.second, self.resize,
            self.restart, self.kill,
        ]  # fmt: skip

    def freeze(self) -> None:
        """The camera gives nothing for three seconds."""
        self.camera.signal(signal.SIGSTOP)
        time.sleep(3)
        self.camera.signal(signal.SIGCONT)

    def restart(self) -> None:
        """The camera dies, and comes back with other stamps."""
        self.camera.kill()
        time.sleep(1)
        self.camera.start(self._size)

    def resize(self) -> None:
        """The camera comes back with another size."""
        self._size = 1 - self._size
        self.restart()

    def damage(self) -> None:
        """Packets are damaged for three seconds."""
        self.proxy.damage = 0.001
        time.sleep(3)
        self.proxy.damage = 0.0

    def second(self) -> None:
        """A second run wants the same output."""
        done = subprocess.run(
            self.run.command("--max-keyframes", "1"), env=ENVIRONMENT, capture_output=True,
            text=True, check=False, cwd=ROOT, timeout=120,
        )  # fmt: skip
        if done.returncode == 0 or "is being written by another run" not in done.stderr:
            self.wrong.append(f"a second run was not refused: {done.stderr[-200:]}")

    def kill(self) -> None:
        """The run is killed and started again: what it wrote must be kept."""
        self.run.process.kill()
        self.run.process.wait()
        self.written += self.run.results()
        self.check_growth()
        self.run.start()

    def recover(self, name: str) -> None:
        """Wait for new results."""
        before, deadline = self.run.results(), time.monotonic() + RECOVERY_S
        while self.run.results() <= before or not self.run.results():
            self.run.figures.look(self.run.process.pid)
            if self.run.process.poll() is not None:
                self.wrong.append(f"the run ended with {self.run.process.returncode} at {name}")
                self.written += self.run.results()
                self.run.start()
            if time.monotonic() > deadline:
                self.wrong.append(f"no result within {RECOVERY_S:.0f} s after {name}")
                return
            time.sleep(0.5)

    def check_growth(self) -> None:
        """Note what grew in the process that ends now."""
        if len(self.run.figures.rss_mb) < 8:
            return
        memory, threads, files = self.run.figures.growth()
        grew = (memory > MOST_GROWTH_MB, threads > MOST_MORE_THREADS, files > MOST_MORE_FILES)
        if any(grew):
            self.wrong.append(f"grew by {memory:.0f} MB, {threads} threads, {files} files")

    def finish(self) -> dict[str, object]:
        """Stop the run; return the figures and what was wrong."""
        figures = self.run.figures
        self.run.process.send_signal(signal.SIGTERM)
        code = self.run.process.wait(timeout=60)
        self.camera.kill()
        self.run.log.close()
        if code != 0:
            self.wrong.append(f"SIGTERM ended the run with {code}")
        self.check_growth()
        found = 0
        for path in sorted(self.run.work.glob("out.jsonl*")):
            text = path.read_text(encoding="utf-8")
            if text and not text.endswith("\n"):
                self.wrong.append(f"{path.name} ends within a line")
            found += sum("frame" in json.loads(line) for line in text.splitlines())
        if found < self.written:
            self.wrong.append(f"{found} results are there, {self.written} were written")
        grew = figures.growth() if len(figures.rss_mb) >= 8 else (0.0, 0, 0)
        return {
            "results": found, "rss_mb": round(figures.rss_mb[-1], 1) if figures.rss_mb else 0.0,
            "grew_mb": round(grew[0], 1), "more_threads": grew[1], "more_files": grew[2],
            "wrong": self.wrong,
        }  # fmt: skip


def soak(model: str, minutes: float, work: Path) -> dict[str, object]:
    """Run faults for so long; each at least once where there is time for it."""
    job, deadline, count = Soak(model, work), time.monotonic() + 60 * minutes, 0
    job.recover("the start")
    while time.monotonic() < deadline:
        fault = job.faults[count % len(job.faults)]
        fault()
        job.recover(fault.__name__)
        count += 1
    return {"faults": count, **job.finish()}


def main() -> int:
    """Run it; exit 1 where something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--model", default=str(ROOT / "runtime" / "models" / "nano"))
    parser.add_argument("--work", type=Path, default=Path("runs/soak"))
    flags = parser.parse_args()
    report = soak(flags.model, flags.minutes, flags.work)
    print(json.dumps(report, indent=1))
    return 1 if report["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
