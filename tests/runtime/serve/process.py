"""`edge serve` as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

_SERVING = re.compile(r"serving (https?://\S+:(\d+))")


class Process:
    """One that serves, until it is stopped."""

    def __init__(self, *flags: str, env: dict[str, str] | None = None) -> None:
        self.lines: list[str] = []
        self._there = threading.Event()
        self.port = 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runtime", "serve", *flags],
            cwd=Path(__file__).parents[3], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
            text=True, env={**os.environ, **(env or {})},
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._there.wait(60), self.log
        assert self.port, self.log

    @property
    def log(self) -> str:
        return "".join(self.lines)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            found = _SERVING.search(line)
            if found:
                self.port = int(found[2])
                self._there.set()
        self._there.set()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(30)
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code
