"""The comparison as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runtime.report import markdown_table

if TYPE_CHECKING:
    from benchmarks.engines import EngineRow

# What `nano` of both forms is held to: our time over the engine's, at most.
HELD = ("nano", "nano-scratch")
TEXTBOOK_SIZE = "nano-scratch"
GOALS: tuple[tuple[str, str, float], ...] = (
    ("textbook", "xnnpack-int8", 0.42),
    *(
        (name, engine, limit)
        for name in HELD
        for engine, limit in (
            ("onnxruntime-int8", 0.60),
            ("openvino-int8", 0.95),
            ("openvino-int8-bf16", 0.95),
            ("onnxruntime-fp32", 0.85),
        )
    ),
)
CEILING_GOAL = 0.50

_HEADER = (
    "network", "engine", "median", "p95", "ours / this", "G op/s", "of limit", "load", "peak",
    "size", "delegated",
)  # fmt: skip


def table(rows: Sequence[EngineRow]) -> list[list[str]]:
    """Return the main table, its header first."""
    lines = [list(_HEADER)]
    for row in rows:
        head = [f"{row.network}, {row.gflop:.2f} GFLOP", row.engine]
        if row.median_ms is None:
            lines.append([*head, "not measured", *["-"] * (len(_HEADER) - 3)])
            continue
        taken = row.delegation
        lines.append(
            [
                *head,
                f"{row.median_ms:.2f} ms",
                f"{row.p95_ms:.2f} ms",
                _or_dash(row.ours, "{:.2f}"),
                _or_dash(row.gflops, "{:.0f}"),
                _or_dash(row.ceiling, "{:.0%}"),
                f"{row.load_s:.2f} s",
                f"{row.peak_mb:.0f} MB",
                f"{(row.size_bytes or 0) / 1e6:.1f} MB",
                f"{taken['share']:.1%} in {taken['calls']}" if taken else "-",
            ]
        )
    return lines


def agreement_table(rows: Sequence[EngineRow]) -> list[str]:
    """Return the lines of the table that says how far each engine's outputs are from torch."""
    measured = [row for row in rows if row.agreement and row.network != "ceiling"]
    if not measured:
        return []
    outputs = list(measured[0].agreement or {})
    header = ["network", "engine", *(f"{o}: max error, cosine" for o in outputs)]
    lines = [header]
    for row in measured:
        cells = [_agreement((row.agreement or {}).get(name, {})) for name in outputs]
        lines.append([row.network, row.engine, *cells])
    return ["Against the float model in torch, on clips that no range was taken from:", "",
            *markdown_table(lines)]  # fmt: skip


def absences(rows: Sequence[EngineRow]) -> list[str]:
    """Return a line for each network and engine that was not measured, and why."""
    return [f"- {row.network}, {row.engine}: {row.missing}" for row in rows if row.missing]


def goals(rows: Sequence[EngineRow]) -> list[str]:
    """Return a line for each goal that these rows can be held to."""
    by_key = {(row.network, row.engine): row for row in rows}
    lines: list[str] = []
    for network, engine, limit in GOALS:
        row = by_key.get((network, engine))
        if row is None or row.ours is None:
            continue
        name, what, extra = network, engine, ""
        if network == "textbook":
            name, what = TEXTBOOK_SIZE, "textbook"
            ours = by_key.get((TEXTBOOK_SIZE, "xnnpack-int8"))
            if ours is not None:
                extra = f"; {row.ours * row.gflop / ours.gflop:.2f} at equal GFLOP"
        met = _met(row.ours <= limit)
        lines.append(f"- {name} / {what}: {row.ours:.2f}, goal {limit:.2f}{met}{extra}")
    for name in HELD:
        ours = by_key.get((name, "xnnpack-int8"))
        if ours is not None and ours.ceiling is not None:
            met = _met(ours.ceiling >= CEILING_GOAL)
            share = f"{ours.ceiling:.0%}, goal {CEILING_GOAL:.0%}"
            lines.append(f"- {name} int8 of the limit: {share}{met}")
    return lines


def _met(reached: bool) -> str:
    return " (met)" if reached else " (not met)"


def _agreement(found: dict[str, object]) -> str:
    if "error" in found:
        return str(found["error"])
    if not found:
        return "-"
    return f"{found['max_abs']:.2g}, {found['cosine']:.5f}"


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
