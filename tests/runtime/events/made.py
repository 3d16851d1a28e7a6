"""Results and events of tests, and waiting for what a thread does."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from runtime.decode import Detections
from runtime.events import ActionEvent, Phase
from runtime.results import KeyframeResult, Timings

NAMES = ("stand", "walk", "fall")


def result(
    people: Mapping[int, Mapping[str, float]] | None,
    *,
    action_conf: float | tuple[float, ...] = 0.5,
) -> KeyframeResult:
    """Return a result in which each person (by number) has these probabilities; None: untracked."""
    numbers = tuple(people or ())
    scores = [[of.get(name, 0.0) for name in NAMES] for of in (people or {}).values()]
    count = len(numbers)
    return KeyframeResult(
        frame=0, t=0.0, keyframe=0, keyframe_t=0.0, latency_ms=0.0, class_names=NAMES,
        action_conf=action_conf, trained=True, size_wh=(200, 100),
        people=None if people is None else numbers,
        timings=Timings(capture_ms=0, preprocess_ms=0, inference_ms=0, decode_ms=0),
        detections=Detections(
            xyxy=np.tile(np.array([[20, 10, 100, 120]], np.float32), (count, 1)),
            actor=np.full(count, 0.9, np.float32),
            actions=np.array(scores, np.float32).reshape(count, len(NAMES)),
            token=np.arange(count),
        ),
    )  # fmt: skip


def event(number: int = 0, *, phase: str = "begin", time: float | None = None,
          camera: str = "door", action: str = "walk") -> ActionEvent:  # fmt: skip
    """Return one of many events that differ."""
    return ActionEvent(
        event_id=f"event-{number}", camera=camera, phase=Phase(phase), action=action,
        person=number, score=0.75, box=(0.1, 0.1, 0.5, 1.0), started=1_700_000_000.0 + number,
        time=1_700_000_001.0 + number if time is None else time, duration_s=1.0,
    )  # fmt: skip


def until(condition: Callable[[], object], *, limit_s: float = 30.0) -> None:
    """Wait for something that another thread or process does; the limit only ends a failure."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def fill(disk: Path) -> Path:
    """Write a file until nothing fits any more, and return it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    break
                raise
    return filler
