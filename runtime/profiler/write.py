"""Write a profile: JSON, Markdown, the page and the trace, each whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from runtime.bundle import Bundle
from runtime.errors import ArtifactError
from runtime.outputs import write_atomically
from runtime.profiler.chrome import chrome_trace
from runtime.profiler.operators import OperatorTrace
from runtime.profiler.page import minute_cells, page
from runtime.profiler.session import Measured
from runtime.profiler.soak import verdict as judged
from runtime.profiling import peak_rss_mb
from runtime.report import host_facts, markdown_table, write_report

_TOP = 8
_POWER = ("RAPL", "Jetson power", "Raspberry Pi", "NVIDIA GPU")  # probes that may measure power
_PASSES = 24  # times that the golden clip follows itself in a folder


def write_profile(
    folder: Path, measured: Measured, operators: OperatorTrace, *, facts: Mapping[str, str],
    soak: float, command: str,
) -> str:  # fmt: skip
    """Write `profile.json`, `.md`, `.html` and `trace.json`; return the text for the terminal.

    Args:
        folder: Where they go; made when absent.
        measured: What a session measured.
        operators: Times of the operators.
        facts: What was run.
        soak: Minutes of the soak, 0 where there was none.
        command: The command that made the figures.
    """
    minutes = measured.minutes()
    verdict = ""
    if soak:
        verdict = judged(
            minutes, throttle_known=measured.watch.throttle_known,
            quiet=measured.quiet_during.quiet,
        )  # fmt: skip
    energy, per_result = _energy(measured)
    host = ", ".join(f"{k} {v}" for k, v in host_facts().items())
    notes = _notes(measured, operators, verdict, energy)
    if soak:
        head = ("minute", "results", "p50 ms", "p95 ms", "MHz", "°C", "W", "MB", "held back")
        notes += [*markdown_table([head, *map(minute_cells, minutes)]), ""]
    text = write_report(
        folder, "profile", title="Profile", command=command, table=_stage_rows(measured),
        notes=notes, content=_content(measured, operators, facts, verdict, energy, per_result),
    )  # fmt: skip
    html = page(
        f"Profile of {facts['bundle']}", {**facts, "machine": host, "command": command},
        measured, operators, _tiles(measured, per_result), verdict,
    )  # fmt: skip
    write_atomically(folder / "profile.html", html)
    trace = chrome_trace([*measured.timeline.spans, *operators.spans], measured.watch.samples)
    write_atomically(folder / "trace.json", trace)
    files = ", ".join(str(folder / name) for name in ("profile.html", "profile.json", "trace.json"))
    return f"{text}\nwrote {files}; open the trace in ui.perfetto.dev or chrome://tracing"


def _stage_rows(measured: Measured) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("stage", "p50 ms", "p95 ms", "p99 ms")]
    for name, stage in measured.stages().items():
        rows.append((name, *(f"{stage.at(p):.2f}" for p in (50, 95, 99))))
    return rows


def _notes(measured: Measured, operators: OperatorTrace, verdict: str, energy: str) -> list[str]:
    rate = measured.results / measured.seconds if measured.seconds else 0.0
    lines = [f"- {measured.results} results in {measured.seconds:.1f} s: {rate:.1f} a second"]
    if verdict:
        lines.append(f"- soak: {verdict}")
    lines += [
        f"- energy: {energy}",
        f"- before: {measured.quiet_before}",
        f"- during: {measured.quiet_during}",
        *(f"- {note}" for note in dict.fromkeys((*measured.before.notes, *measured.after.notes))),
        f"- operators: {_operators(operators)}",
        "",
    ]
    return lines


def _operators(operators: OperatorTrace) -> str:
    if operators.reason:
        return f"not known: {operators.reason}"
    total = sum(o.p50_ms for o in operators.operators)
    top = ", ".join(
        f"{o.program}: {o.kind} x {o.count} {o.p50_ms:.2f} ms" for o in operators.operators[:_TOP]
    )
    return f"{total:.2f} ms by {operators.tracer}; {top}"


def _energy(measured: Measured) -> tuple[str, float | None]:
    meter = measured.watch.energy
    joules, watts = meter.joules, meter.watts
    if joules is None or watts is None or not measured.results:
        absent = measured.before.absent
        why = meter.source or "; ".join(f"{n}: {absent[n]}" for n in _POWER if n in absent)
        return f"not known ({why})", None
    per_result = joules / measured.results
    return f"{per_result:.3f} J a result, {watts:.2f} W on average ({meter.source})", per_result


def _tiles(measured: Measured, per_result: float | None) -> list[tuple[str, str]]:
    total = measured.timeline.stages["total"]
    rate = measured.results / measured.seconds if measured.seconds else 0.0
    energy = "not known" if per_result is None else f"{per_result:.3f} J"
    return [
        (f"{total.at(50):.2f} ms", "a result, p50"), (f"{total.at(95):.2f} ms", "p95"),
        (f"{total.at(99):.2f} ms", "p99"), (f"{rate:.1f}", "results a second"),
        (energy, "energy of a result"), (f"{peak_rss_mb():.0f} MB", "peak memory"),
    ]  # fmt: skip


def _content(
    measured: Measured, operators: OperatorTrace, facts: Mapping[str, str], verdict: str,
    energy: str, per_result: float | None,
) -> dict[str, Any]:  # fmt: skip
    def state(of: Any) -> dict[str, Any]:
        return {"probes": of.lines, "not_here": of.absent, "notes": list(of.notes)}

    return {
        "run": dict(facts),
        "results": measured.results,
        "seconds": measured.seconds,
        "stages_ms": {
            name: {"p50": s.at(50), "p95": s.at(95), "p99": s.at(99), "mean": s.mean_ms}
            for name, s in measured.stages().items()
        },
        "operators": {
            "tracer": operators.tracer, "runs": operators.runs, "reason": operators.reason,
            "kinds": [asdict(o) for o in operators.operators],
        },
        "energy": {"text": energy, "joules_per_result": per_result,
                   "joules": measured.watch.energy.joules, "watts": measured.watch.energy.watts},
        "verdict": verdict,
        "minutes": [asdict(m) for m in measured.minutes()],
        "quiet": {"before": asdict(measured.quiet_before) | {"quiet": measured.quiet_before.quiet},
                  "during": asdict(measured.quiet_during) | {"quiet": measured.quiet_during.quiet}},
        "machine": {"before": state(measured.before), "after": state(measured.after)},
        "peak_mb": peak_rss_mb(),
    }  # fmt: skip


def golden_folder(bundle: Bundle, folder: Path) -> Path:
    """Write a bundle's golden clip as pictures, several times over; each is a sample of a clip.

    Returns:
        The folder of pictures.

    Raises:
        ArtifactError: The golden clip cannot be read.
    """
    path = bundle.golden_path()
    try:
        with np.load(path, allow_pickle=False) as golden:
            frames = golden["frames_rgb"]
    except (OSError, ValueError, KeyError) as error:
        raise ArtifactError(f"the golden clip {path.name} cannot be read ({error})") from error
    pictures = folder / "golden"
    pictures.mkdir()
    for index, frame in enumerate(frames):
        first = pictures / f"{index:05}.bmp"
        cv2.imwrite(str(first), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        for again in range(1, _PASSES):
            (pictures / f"{again * len(frames) + index:05}.bmp").hardlink_to(first)
    return pictures
