"""Tell systemd how the service is, by the datagrams of sd_notify(3); nothing without it."""

from __future__ import annotations

import os
import socket
import time


def watchdog_s() -> float | None:
    """Return at which interval systemd wants a sign of life, seconds, or None."""
    mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    text = os.environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if mine and text.isdecimal() and int(text) > 0 else None


def notify(**state: object) -> bool:
    """Send `READY=1` and the like; False where no systemd listens.

    Args:
        state: Names in lower case, such as ready=1 or status="text".
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if "reloading" in state:
        state["monotonic_usec"] = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    lines = "\n".join(f"{name.upper()}={_line(value)}" for name, value in state.items())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)  # a sign of life must not be what hangs
            sender.connect("\0" + address[1:] if address.startswith("@") else address)
            sender.send(lines.encode())
    except OSError:
        return False
    return True


def _line(value: object) -> str:
    return " ".join(str(value).split())
