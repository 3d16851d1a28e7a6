"""Plots as inline SVG, in colours that the page defines for light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from runtime.profiler.timeline import Span

WIDTH = 920
_LEFT, _RIGHT = 64, 14
# Classes of the page's style sheet, one after the other by first appearance.
_SERIES = 8


def bars(rows: Sequence[tuple[str, float, float, float]], unit: str) -> str:
    """Return horizontal bars: (name, p50, p95, p99) of each row, one scale for all."""
    most = max((p99 for *_, p99 in rows), default=0.0) or 1.0
    left, step = 300, 26
    scale = (WIDTH - left - 76) / most
    parts = []
    for index, (name, p50, p95, p99) in enumerate(rows):
        y = index * step + 6
        told = f"{name}: p50 {p50:.3g}, p95 {p95:.3g}, p99 {p99:.3g} {unit}"
        parts.append(
            f"<g><title>{escape(told)}</title>"
            f'<text class="label" x="{left - 8}" y="{y + 12}" text-anchor="end">'
            f"{escape(_short(name, 46))}</text>"
            f'<rect class="tail" x="{left}" y="{y}" width="{p95 * scale:.1f}" height="15" rx="2"/>'
            f'<rect class="s0" x="{left}" y="{y}" width="{p50 * scale:.1f}" height="15" rx="2"/>'
            f'<path class="tick" d="M{left + p99 * scale:.1f} {y - 1}v17"/>'
            f'<text x="{WIDTH - 4}" y="{y + 12}" text-anchor="end">{p50:.3g} {unit}</text>'
            "</g>"
        )
    return _svg("".join(parts), len(rows) * step + 10, f"bars in {unit}")


def curve(
    points: Sequence[tuple[float, float | None]], *, unit: str, title: str, across: str,
    height: int = 150, dots: bool = False,
) -> str:  # fmt: skip
    """Return a curve over time; a gap where a value is None. Nothing is known of an empty one."""
    known = [(x, y) for x, y in points if y is not None]
    if not known:
        return f'<p class="unknown">{escape(title)}: not known</p>'
    low, high = min(y for _, y in known), max(y for _, y in known)
    pad = (high - low) * 0.08 or max(abs(high) * 0.05, 0.5)
    low, high = max(low - pad, 0.0) if low >= 0 else low - pad, high + pad
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1e-9)
    bottom = height - 24

    def place(x: float, y: float) -> tuple[float, float]:
        across_share = (x - first) / (last - first)
        return (
            _LEFT + across_share * (WIDTH - _LEFT - _RIGHT),
            bottom - (y - low) / (high - low) * (bottom - 12),
        )

    parts = [_grid(low, high, bottom, unit), _across(first, last, height, across)]
    if dots:
        parts += ['<path class="dots" d="' + "".join(
            "M{:.1f} {:.1f}h0".format(*place(x, y)) for x, y in known) + '"/>']  # fmt: skip
    else:
        path, pen = "", "M"
        for x, y in points:
            if y is None:
                pen = "M"
                continue
            path += "{}{:.1f} {:.1f}".format(pen, *place(x, y))
            pen = "L"
        parts.append(f'<path class="curve" d="{path}"/>')
        if len(known) <= 60:
            parts += [_dot(place(x, y), f"{across} {x:.4g}: {y:.4g} {unit}") for x, y in known]
    return f"<h3>{escape(title)}</h3>" + _svg("".join(parts), height, f"{title} in {unit}")


def histogram(values: Sequence[float], unit: str, bins: int = 48) -> str:
    """Return how often each value came; the longest 0.5 % are in the last bin."""
    if not values:
        return ""
    ordered = sorted(values)
    low, high = ordered[0], ordered[min(int(len(ordered) * 0.995), len(ordered) - 1)]
    width = (high - low) / bins or 1.0
    counts = [0] * bins
    for value in ordered:
        counts[min(int((value - low) / width), bins - 1)] += 1
    most, height = max(counts), 140
    step = (WIDTH - _LEFT - _RIGHT) / bins
    parts = [_across(low, low + width * bins, height, unit)]
    for index, count in enumerate(counts):
        tall = count / most * (height - 36)
        told = f"{low + index * width:.3g} to {low + (index + 1) * width:.3g} {unit}: {count}"
        parts.append(
            f'<rect class="s0" x="{_LEFT + index * step:.1f}" y="{height - 24 - tall:.1f}" '
            f'width="{max(step - 1, 0.5):.1f}" height="{tall:.1f}"><title>{told}</title></rect>'
        )
    return _svg("".join(parts), height, f"histogram in {unit}")


def flame(spans: Sequence[Span], tracks: Sequence[str]) -> str:
    """Return what happened when, one row a track; the name of a span is its tooltip."""
    shown = [span for span in spans if span.track in tracks]
    if not shown:
        return ""
    begun = min(span.start_s for span in shown)
    ended = max(span.start_s + span.duration_s for span in shown)
    scale = (WIDTH - _LEFT - 34) / max(ended - begun, 1e-9)
    left, row = _LEFT + 20, 30
    kinds: dict[str, int] = {}
    parts = []
    for index, track in enumerate(tracks):
        y = index * (row + 6) + 4
        parts.append(f'<text class="label" x="{left - 8}" y="{y + 19}" text-anchor="end">'
                     f"{escape(track)}</text>")  # fmt: skip
        for span in shown:
            if span.track != track:
                continue
            colour = kinds.setdefault(span.kind or span.name, len(kinds)) % _SERIES
            x, wide = left + (span.start_s - begun) * scale, max(span.duration_s * scale, 0.4)
            told = f"{span.name}: {span.duration_s * 1e3:.3f} ms"
            text = ""
            if wide > 7 * len(span.name) + 6:
                text = f'<text class="in" x="{x + 4:.1f}" y="{y + 19}">{escape(span.name)}</text>'
            parts.append(
                f'<g><title>{escape(told)}</title><rect class="s{colour}" x="{x:.1f}" y="{y}" '
                f'width="{wide:.1f}" height="{row}" rx="1"/>{text}</g>'
            )
    height = len(tracks) * (row + 6) + 30
    axis = _across(0.0, (ended - begun) * 1e3, height, "ms", left=left, right=14)
    return _svg("".join(parts) + axis, height, "timeline")


def _dot(at: tuple[float, float], told: str) -> str:
    x, y = at
    title = f"<title>{escape(told)}</title>"
    return f'<circle class="s0" cx="{x:.1f}" cy="{y:.1f}" r="2.6">{title}</circle>'


def _svg(content: str, height: float, name: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(name)}">'
        f"{content}</svg>"
    )


def _grid(low: float, high: float, bottom: float, unit: str) -> str:
    parts = []
    step = _nice((high - low) / 4)
    value = math.ceil(low / step) * step
    while value <= high:
        y = bottom - (value - low) / (high - low) * (bottom - 12)
        parts.append(
            f'<path class="grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>'
            f'<text class="axis" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{value:.6g}</text>"
        )
        value += step
    parts.append(f'<text class="axis" x="4" y="10">{escape(unit)}</text>')
    return "".join(parts)


def _across(
    low: float, high: float, height: float, unit: str, left: float = _LEFT, right: float = _RIGHT
) -> str:
    parts = []
    step = _nice((high - low) / 8)
    value = math.ceil(low / step) * step
    while value <= high + 1e-9:
        x = left + (value - low) / (high - low) * (WIDTH - left - right)
        parts.append(f'<text class="axis" x="{x:.1f}" y="{height - 8:.0f}" text-anchor="middle">'
                     f"{value:.6g}</text>")  # fmt: skip
        value += step
    parts.append(
        f'<text class="axis" x="{left - 6}" y="{height - 8:.0f}" text-anchor="end">'
        f"{escape(unit)}</text>"
    )
    return "".join(parts)


def _nice(step: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten."""
    if not step > 0:
        return 1.0
    power = 10 ** math.floor(math.log10(step))
    return float(next(m * power for m in (1, 2, 5, 10) if m * power >= step * 0.999))


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
