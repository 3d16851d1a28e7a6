"""Progress of a training run on stderr: a bar on a terminal, lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from edge.cli._progress import LINE_EVERY_S, StepLines, repeated
from edge.training.logs import Callback

_LOSSES = ("loss", "actor", "bbox", "giou", "action")


@contextmanager
def train_progress(*, quiet: bool, tick_s: float = 1.0) -> Iterator[Callback]:
    """Give what a run tells its progress to.

    Args:
        quiet: Show nothing.
        tick_s: How often the clock of a step is looked at, seconds.
    """
    if quiet:
        yield Callback()
    elif sys.stderr.isatty():
        bar = TrainBar()
        try:
            yield bar
        finally:
            bar.close()
    else:
        lines = TrainLines(sys.stderr)
        with repeated(lines.tick, tick_s):
            yield lines


class TrainLines(Callback):
    """A line now and then: the step, losses, speed and time left; and one for each validation."""

    def __init__(
        self,
        stream: TextIO,
        *,
        every_s: float = LINE_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write to a stream.

        Args:
            stream: Where to.
            every_s: Seconds between two lines at least; steps that take longer are said to last.
            clock: Gives seconds.
        """
        self._lines = StepLines(stream, every_s=every_s, clock=clock)
        self._every_s, self._clock = every_s, clock
        self._steps = 0
        self._begun: tuple[int, float] | None = None
        self._said: float | None = None
        self._lines("reading the data", 0, 1)

    def begin(self, step: int, steps: int) -> None:
        """Say that the run begins."""
        self._steps, self._begun = steps, (step, self._clock())
        self._lines.say(f"training from step {step} of {steps}")
        self.moved(step)

    def moved(self, step: int) -> None:
        """Take a step in."""
        self._lines.move("step", step, self._steps)

    def stepped(self, step: int, row: Mapping[str, float]) -> None:
        """Say the losses, if the last line is old."""
        now = self._clock()
        last = step == self._steps
        if self._said is not None and now - self._said < self._every_s and not last:
            return
        self._said = now
        losses = ", ".join(f"{name} {row[name]:.3f}" for name in _LOSSES if name in row)
        left = ""
        if self._begun is not None and step > self._begun[0] and not last:
            first, at = self._begun
            left = f", {_span((self._steps - step) * (now - at) / (step - first))} left"
        self._lines.say(
            f"step {step} of {self._steps}: {losses}, {row['clips_per_s']:.1f} clips/s{left}"
        )

    def validating(self, step: int) -> None:
        """Say that a validation begins."""
        self._lines(f"validating at step {step}", 0, 1)

    def validated(self, step: int, result: Mapping[str, Any]) -> None:
        """Say the mAP."""
        value = result["frame_map"]
        text = "no boxes to compare" if value is None else f"frame-mAP@0.5 {value:.3f}"
        self._lines.say(f"step {step}: {text}")
        self.moved(step)

    def tick(self) -> None:
        """Write a line if the last one is old."""
        self._lines.tick()


class TrainBar(Callback):
    """A progress bar: steps, losses, and the newest mAP."""

    def __init__(self) -> None:
        """Open nothing yet."""
        from tqdm import tqdm

        self._make = tqdm
        self._bar: Any = None
        self._shown: dict[str, str] = {}

    def begin(self, step: int, steps: int) -> None:
        """Open the bar at `step` of `steps`."""
        self._bar = self._make(total=steps, initial=step, dynamic_ncols=True, unit="step")

    def moved(self, step: int) -> None:
        """Move the bar."""
        self._bar.update(step - self._bar.n)

    def stepped(self, step: int, row: Mapping[str, float]) -> None:
        """Show the losses."""
        for name in _LOSSES:
            if name in row:
                self._shown[name] = f"{row[name]:.3f}"
        self._shown["clips/s"] = f"{row['clips_per_s']:.1f}"
        self._bar.set_postfix(self._shown)

    def validated(self, step: int, result: Mapping[str, Any]) -> None:
        """Show the mAP."""
        if result["frame_map"] is not None:
            self._shown["mAP"] = f"{result['frame_map']:.3f}"
        self._bar.set_postfix(self._shown)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(1, minutes)} min"
