"""A profile as one HTML file: plots inside, nothing from a network, light and dark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

from runtime.profiler.operators import OperatorTrace
from runtime.profiler.plots import bars, curve, flame, histogram
from runtime.profiler.session import Measured
from runtime.profiler.soak import Minute
from runtime.profiler.timeline import Span

_SHOWN_RESULTS = 3
_SHOWN_POINTS = 4000

_STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2430;--dim:#5b6675;--line:#dfe4ea;--card:#f5f7f9;
--warn:#b35900;--in:#fff;--s0:#2f6fd0;--s1:#d1762b;--s2:#3a9a5b;--s3:#a450b5;--s4:#c2483d;--s5:#1f97a3;
--s6:#8a7a1f;--s7:#6c63d8;--tail:#aac6ef}
@media(prefers-color-scheme:dark){:root{--bg:#12161c;--fg:#e4e9f0;--dim:#9aa6b4;--line:#2b333d;
--card:#1a2028;--warn:#ffb057;--in:#10151b;--s0:#6ea3f2;--s1:#eca063;--s2:#6cc98a;--s3:#cd86da;--s4:#ef8176;
--s5:#5fcbd6;--s6:#cdbb58;--s7:#a09af2;--tail:#31527f}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:980px;margin:0 auto;padding:28px 20px 60px}h1{font-size:24px;margin:0 0 4px}
h2{font-size:18px;margin:38px 0 10px;border-bottom:1px solid var(--line);padding-bottom:4px}
h3{font-size:13px;margin:14px 0 2px;color:var(--dim);font-weight:600}
.dim,.unknown{color:var(--dim)}.warn{color:var(--warn);font-weight:600}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(135px,1fr));gap:10px;margin:18px 0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 12px}
.tile b{display:block;font-size:19px;white-space:nowrap;font-variant-numeric:tabular-nums}
.tile span{color:var(--dim);font-size:13px}svg{width:100%;height:auto;display:block}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;
font-size:14px}th,td{text-align:right;padding:3px 8px;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left}td.text{text-align:left;overflow-wrap:anywhere}
svg text{font:11px system-ui,sans-serif;fill:var(--fg)}svg .axis{fill:var(--dim);font-size:10.5px}
svg .in{fill:var(--in);font-size:10.5px}svg .grid{stroke:var(--line);fill:none}
svg .curve{stroke:var(--s0);fill:none;stroke-width:1.6}
svg .dots{stroke:var(--s0);stroke-width:4;stroke-linecap:round;opacity:.6}
svg .tick{stroke:var(--fg);stroke-width:1.4}svg .tail{fill:var(--tail)}
""" + "".join(f"svg .s{i}{{fill:var(--s{i})}}" for i in range(8))


def page(
    title: str, facts: Mapping[str, str], measured: Measured, operators: OperatorTrace,
    tiles: Sequence[tuple[str, str]], verdict: str,
) -> str:  # fmt: skip
    """Return the HTML of a profile.

    Args:
        title: Its heading.
        facts: Name and text of what a reader has to know: bundle, program, source, machine.
        measured: What the session measured.
        operators: Times of the operators.
        tiles: (figure, what it is) of the figures in front.
        verdict: Of the soak; empty where there was none.
    """
    warn = [] if measured.quiet_before.quiet else [f"before: {measured.quiet_before}"]
    warn += [] if measured.quiet_during.quiet else [f"during: {measured.quiet_during}"]
    parts = [
        f"<h1>{escape(title)}</h1>",
        *(f'<p class="warn">{escape(line)}</p>' for line in warn),
        f"<p><b>Soak:</b> {escape(verdict)}</p>" if verdict else "",
        '<div class="tiles">',
        *(f'<div class="tile"><b>{escape(f)}</b><span>{escape(w)}</span></div>' for f, w in tiles),
        "</div>",
        _stages(measured),
        _latency(measured),
        _timeline(measured, operators),
        _operators(operators),
        _soak(measured.minutes()) if verdict else "",
        _machine(measured),
        "<h2>What was run</h2>", _table([("", "")], [(k, v) for k, v in facts.items()], text=True),
    ]  # fmt: skip
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _stages(measured: Measured) -> str:
    stages = measured.stages()
    rows = [(name, s.at(50), s.at(95), s.at(99)) for name, s in stages.items()]
    cells = [
        (name, *(f"{v:.3f}" for v in (s.at(50), s.at(95), s.at(99), s.mean_ms, s.max_ms)))
        for name, s in stages.items()
    ]
    head = [("stage", "p50", "p95", "p99", "mean", "largest, ms")]
    note = (
        '<p class="dim">For one result. Capture is waiting for frames; total is everything else. '
        "Bars and numbers are p50, behind them p95; the line is p99.</p>"
    )
    return f"<h2>Stages</h2>{note}{bars(rows, 'ms')}{_table(head, cells)}"


def _latency(measured: Measured) -> str:
    points = [(t - measured.begun_s, ms) for t, ms in measured.latencies]
    thin = max(len(points) // _SHOWN_POINTS, 1)
    over = curve(points[::thin], unit="ms", title="Each result over time", across="s", dots=True)
    spread = histogram([ms for _, ms in points], "ms")
    note = '<p class="dim">Preprocess, inference and decode together.</p>'
    return f"<h2>Cost of a result</h2>{note}{over}<h3>How often</h3>{spread}"


def _timeline(measured: Measured, operators: OperatorTrace) -> str:
    shown = last_results(list(measured.timeline.spans), _SHOWN_RESULTS)
    tracks = [t for t in ("stages", "programs") if any(s.track == t for s in shown)]
    note = (
        '<p class="dim">The last results; hover for names and times. trace.json holds more: open '
        "it in ui.perfetto.dev or chrome://tracing.</p>"
    )
    traced = flame(operators.spans, ["operators"])
    more = f"<h3>Operators, in traced runs of their own</h3>{traced}" if traced else ""
    return f"<h2>Timeline</h2>{note}{flame(shown, tracks)}{more}"


def last_results(spans: Sequence[Span], results: int) -> list[Span]:
    """Return the spans of the newest results: all behind the sink before them."""
    sinks = [s for s in spans if s.name == "sink" and s.track == "stages"]
    if len(sinks) <= results:
        return list(spans)
    from_s = sinks[-results - 1].start_s + sinks[-results - 1].duration_s
    return [span for span in spans if span.start_s >= from_s]


def _operators(operators: OperatorTrace) -> str:
    if operators.reason:
        return f'<h2>Operators</h2><p class="unknown">Not known: {escape(operators.reason)}</p>'
    total = sum(o.p50_ms for o in operators.operators) or 1.0
    many = len({o.program for o in operators.operators}) > 1

    def name(program: str, kind: str) -> str:
        return f"{program}: {kind}" if many else kind

    top = operators.operators[:14]
    rows = [(name(o.program, o.kind), o.p50_ms, o.p95_ms, o.p99_ms) for o in top]
    cells = [
        (name(o.program, o.kind), str(o.count), f"{o.p50_ms:.3f}", f"{o.p95_ms:.3f}",
         f"{o.p99_ms:.3f}", f"{o.p50_ms / total:.1%}")
        for o in operators.operators
    ]  # fmt: skip
    head = [("operator", "count", "p50 ms", "p95 ms", "p99 ms", "of the sum")]
    note = (
        f'<p class="dim">Those of one kind together, for one result; {operators.runs} runs of '
        f"their own, times by {escape(operators.tracer)}.</p>"
    )
    return f"<h2>Operators</h2>{note}{bars(rows, 'ms')}{_table(head, cells)}"


def _soak(minutes: Sequence[Minute]) -> str:
    plots: list[tuple[str, str, Callable[[Minute], float | None]]] = [
        ("Latency, p50", "ms", lambda m: m.p50_ms), ("Latency, p95", "ms", lambda m: m.p95_ms),
        ("Processor clock", "MHz", lambda m: m.clock_mhz),
        ("Hottest sensor", "°C", lambda m: m.temperature_c), ("Power", "W", lambda m: m.watts),
        ("Memory", "MB", lambda m: m.memory_mb),
    ]  # fmt: skip
    drawn = "".join(
        curve(
            [(float(m.number), pick(m)) for m in minutes], unit=unit, title=name, across="min",
            height=120,
        )
        for name, unit, pick in plots
    )  # fmt: skip
    head = [("minute", "results", "p50 ms", "p95 ms", "MHz", "°C", "W", "MB", "held back")]
    return f"<h2>By minute</h2>{drawn}{_table(head, [minute_cells(m) for m in minutes])}"


def minute_cells(minute: Minute) -> tuple[str, ...]:
    """Return a row of the table by minute; a dash where nothing is known."""

    def cell(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    return (
        str(minute.number), str(minute.results), cell(minute.p50_ms, 2), cell(minute.p95_ms, 2),
        cell(minute.clock_mhz, 0), cell(minute.temperature_c, 1), cell(minute.watts, 2),
        cell(minute.memory_mb, 1), ", ".join(minute.throttled) or "-",
    )  # fmt: skip


def _machine(measured: Measured) -> str:
    before, after = measured.before, measured.after
    rows = [
        ("quiet", str(measured.quiet_before), str(measured.quiet_during)),
        ("notes", "; ".join(before.notes) or "none", "; ".join(after.notes) or "none"),
        *((name, text, after.lines.get(name, "-")) for name, text in before.lines.items()),
        *((name, f"not here: {reason}", "") for name, reason in before.absent.items()),
    ]
    return "<h2>Machine</h2>" + _table([("", "before", "during, after")], rows, text=True)


def _table(
    head: Sequence[Sequence[str]], rows: Sequence[Sequence[str]], *, text: bool = False
) -> str:
    kind = ' class="text"' if text else ""
    top = "".join(f"<th{kind}>{escape(c)}</th>" for c in head[0]) if any(head[0]) else ""
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{escape(c)}</td>" for c in row) + "</tr>" for row in rows
    )
    inner = f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table>{inner}</table></div>'
