"""Progress of a long job on stderr: a bar on a terminal, lines in a log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from runtime.types import Progress

LINE_EVERY_S = 30.0
"""A step that lasts says so this often in a log."""

TICK_S = 1.0
"""How often the clock of a step is looked at."""


@contextmanager
def progress_bar(
    *,
    quiet: bool,
    lines: bool = True,
    line_every_s: float = LINE_EVERY_S,
    tick_s: float = TICK_S,
) -> Iterator[Progress | None]:
    """Give a callback `(step, done, total)` that moves a bar; None where nothing is shown.

    The bar's clock moves on by itself: one step may be a minute inside another's code.

    Args:
        quiet: Show nothing.
        lines: Where stderr is no terminal, write a line for each step; else nothing there.
        line_every_s: How often a step that lasts is said in such lines, seconds.
        tick_s: How often the clock of a step is looked at, seconds.
    """
    terminal = sys.stderr.isatty()
    if quiet or not (terminal or lines):
        yield None
        return
    if not terminal:
        steps = StepLines(sys.stderr, every_s=line_every_s)
        with repeated(steps.tick, tick_s):
            yield steps
        return
    from tqdm import tqdm

    bar: tqdm[None] = tqdm(total=0, leave=False, dynamic_ncols=True)

    def move(step: str, done: int, total: int) -> None:
        if bar.desc != f"{step}: " or bar.total != total:
            bar.reset(total=max(total, 1))
            bar.set_description(step)
        bar.n = done
        bar.refresh()

    try:
        with repeated(bar.refresh, tick_s):
            yield move
    finally:
        bar.close()


class StepLines:
    """Writes a line when a step begins, and one now and then while it lasts."""

    def __init__(
        self,
        stream: TextIO,
        *,
        every_s: float = LINE_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write to a stream, which is kept: tools that are called may replace `sys.stderr`.

        Args:
            stream: Where to.
            every_s: Seconds between two lines of one step.
            clock: Gives seconds.
        """
        self._stream, self._every_s, self._clock = stream, every_s, clock
        self._lock = threading.Lock()
        self._begin = self._step_begin = self._said = clock()
        self._step, self._done, self._total = "", 0, 0

    def __call__(self, step: str, done: int, total: int) -> None:
        """Take a step in."""
        with self._lock:
            self._done, self._total = done, total
            if step != self._step:
                self._step, self._step_begin = step, self._clock()
                self._write(f"{step} ..." if total <= 1 else f"{step}: {total}")

    def move(self, step: str, done: int, total: int) -> None:
        """Take a step in without a line for its beginning."""
        with self._lock:
            if step != self._step:
                self._step, self._step_begin = step, self._clock()
            self._done, self._total = done, total

    def tick(self) -> None:
        """Write a line if the last one is old."""
        with self._lock:
            if self._step and self._clock() - self._said >= self._every_s:
                lasts = f"{self._clock() - self._step_begin:.0f} s"
                count = "" if self._total <= 1 else f"{self._done} of {self._total}, "
                self._write(f"{self._step}: {count}for {lasts}")

    def say(self, text: str) -> None:
        """Write a line of its own."""
        with self._lock:
            self._write(text)

    def _write(self, text: str) -> None:
        self._said = self._clock()
        print(f"{self._said - self._begin:6.0f} s  {text}", file=self._stream, flush=True)


@contextmanager
def repeated(call: Callable[[], object], every_s: float) -> Iterator[None]:
    """Call a function again and again, in a thread, for as long as the body runs."""
    ended = threading.Event()

    def loop() -> None:
        while not ended.wait(every_s):
            call()

    thread = threading.Thread(target=loop, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
