"""What happened when: spans of the stages, the newest of them kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from runtime.profiling import Percentiles, Profile

KEPT_SPANS = 20_000


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took time.

    Attributes:
        name: What.
        track: On which line of a timeline: `stages`, `programs`, `operators`.
        start_s: When it began, seconds of `time.perf_counter`.
        duration_s: How long it took.
        kind: Its class, for the colour and the sums; the name where there is none.
    """

    name: str
    track: str
    start_s: float
    duration_s: float
    kind: str = ""


class Timeline(Profile):
    """A profile that keeps the newest spans and every result's latency in bounded memory."""

    def __init__(self, keep: int = KEPT_SPANS) -> None:
        """Start empty; keep the newest `keep` spans."""
        self._keep = keep
        self.reset()

    def reset(self) -> None:
        """Forget everything: what came until now was warm-up."""
        super().__init__()
        self.spans: deque[Span] = deque(maxlen=self._keep)
        self.programs: dict[str, Percentiles] = {}
        self.sink = Percentiles()

    def span(self, stage: str, start_s: float, end_s: float) -> None:
        """Keep a part of a stage."""
        self.spans.append(Span(stage, "stages", start_s, end_s - start_s))

    def ran(self, runs: Iterable[tuple[str, float, float]]) -> None:
        """Count the programs that one result ran: (name, start s, duration s) each."""
        sums: dict[str, float] = {}
        for name, start_s, duration_s in runs:
            self.spans.append(Span(name, "programs", start_s, duration_s))
            sums[name] = sums.get(name, 0.0) + duration_s
        for name, duration_s in sums.items():
            self.programs.setdefault(name, Percentiles()).add(duration_s * 1e3)

    def sunk(self, start_s: float, end_s: float) -> None:
        """Count what the sinks took for one result."""
        self.spans.append(Span("sink", "stages", start_s, end_s - start_s))
        self.sink.add((end_s - start_s) * 1e3)
