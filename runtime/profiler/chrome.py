"""A timeline in the trace format that Chrome's `about://tracing` and Perfetto open."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from runtime.profiler.timeline import Span
from runtime.profiler.watch import Sample

_PROCESS, _TRACED = 1, 2
_THREADS = {"stages": (_PROCESS, 1), "programs": (_PROCESS, 2), "operators": (_TRACED, 1)}
_NAMES = {
    _PROCESS: "the stream", _TRACED: "operators (traced runs of their own)",
}  # fmt: skip


def chrome_trace(spans: Iterable[Span], samples: Sequence[Sample] = ()) -> str:
    """Return the JSON of a trace.

    Args:
        spans: What took time.
        samples: Of the probes; they become curves.
    """
    spans = list(spans)
    begun = min([s.start_s for s in spans] + [s.t_s for s in samples], default=0.0)
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": name}}
        for pid, name in _NAMES.items()
    ]
    events += [
        {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": track}}
        for track, (pid, tid) in _THREADS.items()
    ]
    for span in sorted(spans, key=lambda span: span.start_s):
        pid, tid = _THREADS[span.track]
        events.append(
            {
                "ph": "X", "name": span.name, "cat": span.kind or span.track, "pid": pid,
                "tid": tid, "ts": _microseconds(span.start_s - begun),
                "dur": _microseconds(span.duration_s),
            }
        )  # fmt: skip
    for sample in samples:
        curves = {
            "clock MHz": sample.clock_mhz, "temperature °C": sample.temperature_c,
            "power W": sample.watts, "memory MB": sample.memory_mb,
        }  # fmt: skip
        events += [
            {"ph": "C", "name": name, "pid": _PROCESS, "tid": 0,
             "ts": _microseconds(sample.t_s - begun), "args": {name: round(value, 3)}}
            for name, value in curves.items() if value is not None
        ]  # fmt: skip
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}, ensure_ascii=False) + "\n"


def _microseconds(seconds: float) -> float:
    return round(seconds * 1e6, 3)
