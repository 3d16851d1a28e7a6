"""A Mosquitto broker as a process that can be stopped and started again with what it retained."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import time
from pathlib import Path

from runtime.errors import BackendUnavailableError

PATHS = "/usr/sbin:/usr/local/sbin"
_START_S = 30.0


def mosquitto() -> str | None:
    """Return where the program is, or None."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=PATHS)


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Mosquitto:
    """One broker on a free port of 127.0.0.1; its log is `mosquitto.log` of its folder."""

    def __init__(self, folder: Path, *lines: str) -> None:
        """Start it.

        Args:
            folder: For its configuration, log and state.
            lines: Of its configuration, beside those for all; by default anybody may connect.

        Raises:
            BackendUnavailableError: It is not installed, or does not start.
        """
        program = mosquitto()
        if program is None:
            raise BackendUnavailableError(
                "mosquitto is not installed; as root: apt-get install mosquitto"
            )
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.log = folder / "mosquitto.log"
        config = folder / "mosquitto.conf"
        text = [
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {folder.absolute()}/",
            # Started by root it would become a user who may not enter every folder.
            f"user {getpass.getuser()}",
            "log_type all",
            "log_dest stderr",
            "sys_interval 1",
            *(lines or ("allow_anonymous true",)),
        ]
        config.write_text("\n".join(text) + "\n", encoding="utf-8")
        self._command = [program, "-c", str(config)]
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it on its port, and wait until it listens."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise BackendUnavailableError(f"mosquitto does not start, see {self.log}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Have it write its state and end."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None
