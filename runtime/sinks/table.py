"""A line per keyframe for people who watch a terminal."""

from __future__ import annotations

from runtime.results import KeyframeResult
from runtime.sinks.base import Sink
from runtime.sinks.jsonl import write_line

HEADER = f"{'frame':>8} {'t s':>9} {'keyframe':>8} {'ms':>7}  actors"
MAX_ACTORS = 4


class TableSink(Sink):
    """Write `frame, t, keyframe, latency, who does what` to stdout."""

    def __init__(self) -> None:
        """Start; the header comes with the first result."""
        self._started = False

    def result(self, result: KeyframeResult) -> None:
        """Write one line.

        Raises:
            SinkError: stdout goes to a disk that is full.
        """
        if not self._started:
            self._started = True
            write_line(HEADER)
        write_line(row(result))


def row(result: KeyframeResult) -> str:
    """Return the line of one keyframe: the best four actors, each with its actions."""
    found = result.detections
    actors = []
    for i in range(min(len(found), MAX_ACTORS)):
        x1, y1, x2, y2 = (round(v) for v in found.xyxy[i].tolist())
        actions = ", ".join(f"{k} {v:.2f}" for k, v in result.actions(i).items())
        if not actions:  # none reaches its threshold
            actions = "{}? {:.2f}".format(*result.likeliest(i))
        number = "" if result.person(i) is None else f"#{result.person(i)} "
        actors.append(f"{number}{float(found.actor[i]):.2f} [{x1} {y1} {x2} {y2}] {actions}")
    if len(found) > MAX_ACTORS:
        actors.append(f"+{len(found) - MAX_ACTORS} more")
    mark = "" if result.trained else "  (untrained)"
    return (
        f"{result.frame:>8} {result.t:>9.3f} {result.keyframe:>8} {result.latency_ms:>7.1f}  "
        f"{'; '.join(actors) or '-'}{mark}"
    )
