"""Where a program's time goes: its most expensive operators, and what stayed outside the delegate.

`python -m benchmarks.by_operator --model PROGRAM.pte` runs a program under ExecuTorch's event
tracer (the wheel's runtime has it, XNNPACK's operator timer included), and gives each time to the
operator and shape it belongs to. The tracer costs little, but the sum of the operators is not the
time of a run: hand-over between threads lies between them. Both are printed.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._main import run_main
from benchmarks._program import Instruction, read_instructions
from benchmarks._store import ROOT
from benchmarks._trace import Timed, join
from runtime.errors import ArtifactError, BackendUnavailableError
from runtime.options import check_options, guarded, option
from runtime.report import command_of, markdown_table, write_report

_NEEDED = ("torch", "executorch", "pandas")
_BOUNDARIES = ("quantize", "dequantize", "requantize")
_HEADER = ("operators", "count", "ms", "of the time", "G op", "of the work", "G op/s")


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorOptions:
    """What to profile. Attributes are the flags; see their help."""

    model: str = option(dataclasses.MISSING, "a .pte program, or a bundle", metavar="PATH")
    threads: int = option(2, "threads", least=1)
    runs: int = option(30, "traced runs", least=1)
    top: int = option(12, "single operators to list", least=1)
    out: str = option("runs/bench", "folder for by_operator.json and by_operator.md")
    verbose: bool = option(False, "show tracebacks")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorReport:
    """Where a program's time goes.

    Attributes:
        plain_ms: Median time of a run without the tracer.
        operators: Every operator with its time, the costliest first.
        calls_ms: Time of each delegate call, by its number in the program.
        outside: Operators outside the delegates, with how often each is called.
        boundaries: Quantize, dequantize and requantize steps: how many, and how many values.
        text: The Markdown that was written.
    """

    plain_ms: float
    operators: tuple[Timed, ...]
    calls_ms: Mapping[int, float]
    outside: Mapping[str, int]
    boundaries: Mapping[str, tuple[int, int]]
    text: str = ""


def run(options: OperatorOptions) -> OperatorReport:
    """Profile a program, and write both files.

    Raises:
        ArtifactError: The file is no program, or does not run.
        BackendUnavailableError: ExecuTorch's Python side is not installed.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise BackendUnavailableError(
            f"a profile by operator needs {', '.join(missing)}; run: pip install '.[export]'"
        )
    with _program(Path(options.model)) as path:
        program, recorded = read_instructions(path), _record(path, options)
        operators, calls = join(recorded["events"], program)
        report = OperatorReport(
            plain_ms=recorded["plain_ms"],
            operators=tuple(sorted(operators, key=lambda timed: -timed.ms)),
            calls_ms=calls,
            outside=Counter(step.operator for step in program.values() if step.operator),
            boundaries=_boundaries(program),
        )
        return dataclasses.replace(report, text=_write(report, path, options))


@contextmanager
def _program(path: Path) -> Iterator[Path]:
    """Give the program of a path: itself, or a bundle's first while the bundle is open."""
    if path.suffix == ".pte":
        if not path.is_file():
            raise ArtifactError(f"there is no program at {path}; give a .pte file or a bundle")
        yield path
        return
    from runtime.bundle import Bundle

    with Bundle.load(path) as bundle:
        programs = [a for a in bundle.spec.artifacts if a.file.endswith(".pte")]
        if not programs:
            raise ArtifactError(f"{path} holds no .pte program; export it for xnnpack-int8")
        yield bundle.artifact_path(programs[0])


def _record(path: Path, options: OperatorOptions) -> dict[str, Any]:
    job = {"path": str(path.resolve()), "threads": options.threads, "runs": options.runs}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks._trace", json.dumps(job)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise ArtifactError(f"{path} does not run under the tracer: {lines[-1] if lines else ''}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _boundaries(program: Mapping[int, Instruction]) -> dict[str, tuple[int, int]]:
    counts: dict[str, tuple[int, int]] = {}
    for step in program.values():
        kinds = [(node.kind.split()[0], node.elements) for node in step.nodes]
        name = step.operator
        if "quantize" in name:
            kinds.append(("dequantize" if "dequantize" in name else "quantize", 0))
        for kind, elements in kinds:
            if kind in _BOUNDARIES:
                number, total = counts.get(kind, (0, 0))
                counts[kind] = number + 1, total + elements
    return counts


def by_kind(operators: Sequence[Timed]) -> list[list[str]]:
    """Return the table of what each kind of operator costs, the costliest first."""
    total_ms = sum(timed.ms for timed in operators) or 1.0
    total_macs = sum(timed.macs for timed in operators) or 1
    rows = [list(_HEADER)]
    for (kind,), count, ms, macs in _grouped(operators, "kind"):
        work = [f"{2 * macs / 1e9:.3f}", f"{macs / total_macs:.1%}"] if macs else ["-", "-"]
        rows.append(
            [kind, str(count), f"{ms:.3f}", f"{ms / total_ms:.1%}", *work, _speed(ms, macs)]
        )
    return rows


def _top(operators: Sequence[Timed], most: int) -> list[str]:
    """Return the table of single operators, those of equal kind and shape together."""
    rows = [["operator", "shapes", "kernel", "count", "ms together", "G op/s"]]
    for (kind, shapes, kernel), count, ms, macs in _grouped(operators, "kind", "shapes", "kernel"):
        rows.append([kind, shapes or "-", kernel, str(count), f"{ms:.3f}", _speed(ms, macs)])
    return markdown_table(rows[: most + 1])


def _grouped(
    operators: Sequence[Timed], *names: str
) -> list[tuple[tuple[str, ...], int, float, int]]:
    """Return key, count, milliseconds and multiply-adds of each group, the costliest first."""
    groups: dict[tuple[str, ...], list[Timed]] = defaultdict(list)
    for timed in operators:
        groups[tuple(getattr(timed, name) for name in names)].append(timed)
    rows = [
        (key, len(members), sum(t.ms for t in members), sum(t.macs for t in members))
        for key, members in groups.items()
    ]
    return sorted(rows, key=lambda row: -row[2])


def _speed(ms: float, macs: int) -> str:
    return f"{2 * macs / ms / 1e6:.0f}" if macs and ms else "-"


def _write(report: OperatorReport, path: Path, options: OperatorOptions) -> str:
    summed = sum(timed.ms for timed in report.operators)
    delegates = sorted(report.calls_ms.items(), key=lambda call: -call[1])
    costly = ", ".join(f"step {number} {ms:.2f} ms" for number, ms in delegates[:5])
    outside = ", ".join(f"{name} x {count}" for name, count in report.outside.items()) or "none"
    boundaries = ", ".join(
        f"{kind} x {count} ({elements / 1e6:.2f} M values)"
        for kind, (count, elements) in report.boundaries.items()
    )
    notes = [
        f"- a run takes {report.plain_ms:.2f} ms untraced; its operators sum to {summed:.2f} ms",
        f"- delegate calls: {len(delegates)}; the costliest: {costly or 'none'}",
        f"- operators outside the delegates: {outside}",
        f"- quantization boundaries: {boundaries or 'none'}",
        "",
        "The costliest operators, those of one shape together:",
        "",
        *_top(report.operators, options.top),
        "",
        f"{options.threads} threads, {options.runs} runs, times by ExecuTorch's event tracer.",
        "",
    ]
    return write_report(
        Path(options.out), "by_operator", title=f"Operators of {path.name}",
        command=command_of("python -m benchmarks.by_operator", options),
        content={
            "plain_ms": report.plain_ms,
            "summed_ms": summed,
            "calls_ms": dict(report.calls_ms),
            "outside": dict(report.outside),
            "boundaries": dict(report.boundaries),
            "operators": [dataclasses.asdict(timed) for timed in report.operators],
        },
        table=by_kind(report.operators), notes=notes,
    )  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Read the flags, profile, print the report."""
    return run_main(argv, "by_operator", __doc__, OperatorOptions, lambda o: run(o).text)


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
