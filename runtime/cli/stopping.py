"""How signals end a run: with its files finished and its summary said."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from runtime.interrupts import interrupt


class Stop:
    """Which signal ended the run.

    Attributes:
        number: The first signal that came, or None.
    """

    number: int | None = None

    @property
    def normal(self) -> bool:
        """Tell whether this is how a service manager ends a run, which is no failure."""
        return self.number == signal.SIGTERM


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Let Ctrl-C, SIGTERM and a terminal that goes away end a run by `KeyboardInterrupt`.

    An impatient second signal would cut off the finishing, so only a third one does.
    """
    stop, count = Stop(), 0

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count == 2:
            sys.stderr.write("finishing the files; once more gives them up\n")
            return
        if count == 1:
            stop.number = number
            interrupt()
            return
        raise KeyboardInterrupt

    before: dict[int, Any] = {}
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # Ignored from outside (`nohup`, a shell's background job) stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handle)
    except ValueError:  # not the main thread: the program around us handles signals
        yield stop
        return
    try:
        yield stop
    finally:
        for changed, handler in before.items():
            signal.signal(changed, handler)
