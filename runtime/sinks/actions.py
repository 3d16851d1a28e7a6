"""Events as JSON Lines of one run: who begins and ends what, in place of every result."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from runtime.events.actions import ActionTracker
from runtime.events.settings import ActionSettings
from runtime.events.types import ActionEvent
from runtime.results import Event, KeyframeResult
from runtime.sinks.jsonl import JsonLinesSink


class ActionLinesSink(JsonLinesSink):
    """Writes an `ActionEvent` as a line; the file appears when it is complete.

    Times of a live source are Unix seconds. Those of a file are its own, so that two runs over it
    say the same.
    """

    what = "events"

    def __init__(
        self, path: str | Path, *, camera: str, class_names: Sequence[str], live: bool,
        settings: ActionSettings | None = None, overwrite: bool = False,
    ) -> None:  # fmt: skip
        """Open the part file; raises as `JsonLinesSink`.

        Args:
            path: File to make.
            camera: What the events call the source.
            class_names: Names of the model's actions, in order.
            live: Whether frames come in their own time.
            settings: When an action begins and ends.
            overwrite: Replace a file of that name.
        """
        self._tracker = ActionTracker(camera, settings or ActionSettings(), class_names)
        self._live = live
        self._newest = 0.0
        super().__init__(path, overwrite=overwrite)

    def result(self, result: KeyframeResult) -> None:
        """Append what begins, continues or ends; the result needs its people's numbers.

        Raises:
            SinkError: The disk is full or gone.
        """
        self._newest = result.t
        if not self._live:  # how long the engine took has no place in the time of a file
            result = replace(result, latency_ms=0.0)
        now, monotonic = self._clocks()
        self._write(self._tracker.update(result, now=now, monotonic=monotonic))

    def event(self, event: Event) -> None:
        """End all at a gap: nobody is the same person behind it."""
        if event.kind == "gap":
            self._end()

    def close(self, *, ok: bool) -> None:
        """End what is open, and give the file its name."""
        if not self._file.closed:
            self._end()
        super().close(ok=ok)

    def _end(self) -> None:
        now, monotonic = self._clocks()
        self._write(self._tracker.lost(now=now, monotonic=monotonic))

    def _clocks(self) -> tuple[float, float]:
        return (time.time(), time.monotonic()) if self._live else (self._newest, self._newest)

    def _write(self, events: Sequence[ActionEvent]) -> None:
        for event in events:
            self._append(event.to_dict())
            self.written += 1
