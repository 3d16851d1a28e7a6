"""What an engine says of its runs: the methods of the newest, and each event of those traced."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

_native = pytest.importorskip("runtime._native", reason="the native runtime is not built here")


def _clip(engine: Any) -> np.ndarray:
    return np.zeros(engine.input_shape, dtype=np.float32)


def test_the_methods_of_the_newest_run(tiny_program: Any) -> None:
    whole = _native.Engine(str(tiny_program.path))
    assert whole.last_runs == []
    before = time.perf_counter()
    whole(_clip(whole))
    after = time.perf_counter()
    ((name, start, duration),) = whole.last_runs
    assert name == "forward"
    assert before <= start <= start + duration <= after
    steps = _native.Engine(str(tiny_program.path), 0, 2)
    steps(_clip(steps), 0)
    assert [run[0] for run in steps.last_runs] == ["stem", "stem", "trunk"]
    steps(_clip(steps), 2)
    assert [run[0] for run in steps.last_runs] == ["stem", "trunk"]


def test_a_trace_holds_each_event_once(tiny_program: Any) -> None:
    engine = _native.Engine(str(tiny_program.path), 0, 2, trace=True)
    engine.trace()  # what loading did
    engine(_clip(engine), 0)
    events = engine.trace()
    assert {event[0] for event in events} == {"stem", "trunk"}
    whole = [event for event in events if event[1] == "Method::execute"]
    assert [event[0] for event in whole] == ["stem", "stem", "trunk"]
    for method, _, _, step, start, duration in events:
        assert duration >= 0
        if step >= 0:
            # A delegate's timer counts whole microseconds.
            assert any(
                w[0] == method and w[4] - 1e-3 <= start and start + duration <= w[4] + w[5] + 1e-3
                for w in whole
            )
    assert engine.trace() == []


def test_an_engine_that_does_not_trace_keeps_nothing(tiny_program: Any) -> None:
    engine = _native.Engine(str(tiny_program.path))
    engine(_clip(engine))
    assert engine.trace() == []


def test_tracing_survives_another_number_of_threads(tiny_program: Any) -> None:
    engine = _native.Engine(str(tiny_program.path), 1, trace=True)
    _native.Engine(str(tiny_program.path), 2)
    engine(_clip(engine))
    assert any(event[1] == "Method::execute" for event in engine.trace())
