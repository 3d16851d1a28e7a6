"""One network in every engine a user could choose, on this machine, in one run.

`python -m benchmarks.engines` builds the artifacts once (below `runs/bench/artifacts`), then
measures: one process an engine, interleaved rounds, warm-up, the same number of threads, the
network alone on one real clip. Beside them stands the machine's own limit, a stack of matrix
products through the same XNNPACK.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._engines import (
    FAMILIES,
    FLOAT,
    INT8,
    OURS,
    Engine,
    artifact,
    chosen_engines,
    delegated,
    engine_named,
)
from benchmarks._harness import Job, Key, Measured, measure, ratio, told
from benchmarks._main import run_main
from benchmarks._store import size_of
from runtime.options import check_options, guarded, option
from runtime.report import command_of, markdown_table, write_report

if TYPE_CHECKING:
    from benchmarks._networks import Network

logger = logging.getLogger(__name__)

_HEADER = ("network", "engine", "median", "p95", "ours / this", "G op/s", "of limit", "load",
           "peak", "size", "delegated")  # fmt: skip
_VARIANTS = ("variant", "input", "params", "GFLOP", "`.pte` fp32 / int8", "fp32", "int8",
             "peak fp32 / int8")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What to measure, and how. Attributes are the flags; see their help."""

    variants: tuple[str, ...] = option(
        ("nano",), "networks with random weights (pico nano tiny ...), or checkpoints (.pt)"
    )
    model: str | None = option(None, "a checkpoint to measure in place of variants", metavar="PT")
    against: tuple[str, ...] = option(
        FAMILIES, "engines beside ours: torch onnxruntime openvino", metavar="ENGINE"
    )
    limit: bool = option(True, "measure the machine's limit, a stack of matrix products")
    threads: int = option(2, "threads of each engine", least=1)
    rounds: int = option(10, "turns of each engine", least=1)
    turn_ms: float = option(300.0, "length of a turn, milliseconds; at least five runs", above=0)
    calib_data: str | None = option(
        None, "videos for int8 ranges; else the reference data, else a drawn video", metavar="PATH"
    )
    calib_clips: int = option(32, "clips for int8 ranges", least=1)
    out: str = option("runs/bench", "folder for the JSON, the Markdown and the artifacts")
    verbose: bool = option(False, "log what is done, and show tracebacks")

    def __post_init__(self) -> None:
        check_options(self)
        chosen_engines(self.against)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRow:
    """One network in one engine.

    Attributes:
        network: Its name.
        engine: Name of engine and precision, `openvino-int8`.
        gflop: Work of one clip, a multiply-add as two.
        missing: Why there are no figures; empty where there are.
        measured: Times, peak memory, errors against torch.
        ours: Our time over this one's, ours in float32 against float32 and in int8 against all
            else; the median of the rounds' ratios. None for our own row.
        limit: Share of the machine's limit at this precision; None without one.
        size_bytes: The artifact.
        delegated: What the delegate took, for our programs.
    """

    network: str
    engine: str
    gflop: float
    missing: str = ""
    measured: Measured | None = None
    ours: float | None = None
    limit: float | None = None
    size_bytes: int = 0
    delegated: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineReport:
    """A finished comparison: its rows, the Markdown, and the folder of both files."""

    rows: tuple[EngineRow, ...]
    text: str
    out: Path


def run(
    options: EngineOptions, *, limit: Network | None = None, name: str = "engines"
) -> EngineReport:
    """Build what is not built yet, measure, and write both files.

    Args:
        options: What to measure.
        limit: The machine's limit in place of `benchmarks._networks.ceiling`'s own size.
        name: Of the files; `variants` puts the table of variants first.

    Raises:
        ConfigError: A variant is unknown.
        ArtifactError: The checkpoint cannot be loaded.
        CalibrationError: The videos give no clip.
    """
    from benchmarks._networks import ceiling

    load_before, out = os.getloadavg()[0], Path(options.out)
    networks = make_networks(options)
    rows = compare(networks, options, (limit or ceiling()) if options.limit else None)
    tables = [table(rows), *([variant_table(networks, rows)] if name == "variants" else [])]
    text = write_report(
        out, name, title=name.capitalize(),
        command=command_of(f"python -m benchmarks.{name}", options),
        table=tables[-1],
        notes=[
            *(markdown_table(tables[0]) if len(tables) > 1 else []),
            "",
            "`ours / this`: our time over the engine's, ours in fp32 for fp32 rows and in int8 for "
            "all others, the median of the rounds' ratios. `of limit`: share of what the same "
            "XNNPACK reaches on a stack of 256x256 linear layers with 800 tokens (`ceiling`). "
            "`load`: import, load and first run.",
            "",
            *(f"- {row.network}, {row.engine}: {row.missing}" for row in rows if row.missing),
            "",
            *_agreement_table(rows),
            "",
            f"{options.threads} threads; {options.rounds} interleaved rounds of "
            f"{options.turn_ms:.0f} ms; int8 ranges from {networks[0].clips.origin}; load average "
            f"before the run {load_before:.2f} (above about 0.3 other work ran on the machine).",
            "",
        ],
        content={
            "threads": options.threads, "rounds": options.rounds,
            "load_average_before": load_before,
            "variants": [{"name": network.name, "params": network.params, "gflop": network.gflop}
                         for network in networks],
            "rows": [dataclasses.asdict(row) for row in rows],
        },
    )  # fmt: skip
    return EngineReport(rows=tuple(rows), text=text, out=out)


def make_networks(options: EngineOptions) -> list[Network]:
    """Build the networks to measure, with their clips."""
    from benchmarks._networks import variant_network

    names = (options.model,) if options.model is not None else options.variants
    calib_data = Path(options.calib_data) if options.calib_data else None
    return [
        variant_network(
            name, calib_data=calib_data, count=options.calib_clips, out=Path(options.out)
        )
        for name in names
    ]


def compare(
    networks: Sequence[Network], options: EngineOptions, limit: Network | None
) -> list[EngineRow]:
    """Measure networks in the chosen engines, and the machine's limit with them."""
    plan = [(network, engine) for network in networks for engine in chosen_engines(options.against)]
    if limit is not None:
        plan += [(limit, engine_named(name)) for name in (FLOAT, INT8)]
    paths: dict[Key, Path] = {}
    absent: dict[Key, str] = {}
    with tempfile.TemporaryDirectory(prefix="bmvit-bench-") as folder:
        references = {network.name: _reference(network, Path(folder)) for network, _ in plan}
        for index, (network, engine) in enumerate(plan, start=1):
            logger.info("making %s for %s, %d of %d", network.name, engine.name, index, len(plan))
            made = artifact(network, engine, Path(options.out) / "artifacts")
            if isinstance(made, str):
                absent[network.name, engine.name] = made
            else:
                paths[network.name, engine.name] = made
        jobs = [
            Job(key=key, content={"kind": "network", "engine": key[1], "path": str(path.resolve()),
                                  "reference": str(references[key[0]])})
            for key, path in paths.items()
        ]  # fmt: skip
        found = measure(
            jobs, threads=options.threads, rounds=options.rounds, turn_ms=options.turn_ms
        )
    absent |= {key: taken.failure for key, taken in found.items() if taken.failure}
    good = {key: taken for key, taken in found.items() if not taken.failure}
    return [_row(network, engine, good, paths, absent, limit) for network, engine in plan]


def _reference(network: Network, folder: Path) -> Path:
    """Write a network's clips and expected outputs for the workers."""
    arrays: dict[str, Any] = {"count": np.array(len(network.clips.held_out))}
    for i, (clip, row) in enumerate(zip(network.clips.held_out, network.expected(), strict=True)):
        arrays[f"clip{i}"] = clip
        arrays |= {f"expected{i}_{k}": value for k, value in enumerate(row)}
    np.savez(folder / f"{network.name}.npz", **arrays)
    return folder / f"{network.name}.npz"


def _row(
    network: Network, engine: Engine, found: dict[Key, Measured], paths: dict[Key, Path],
    absent: dict[Key, str], limit: Network | None,
) -> EngineRow:  # fmt: skip
    key = (network.name, engine.name)
    row = EngineRow(network=network.name, engine=engine.name, gflop=network.gflop,
                    missing=absent.get(key, ""))  # fmt: skip
    taken = found.get(key)
    if taken is None:
        return row
    pair = FLOAT if engine.precision == "fp32" else INT8
    ours = None if engine.family == OURS else found.get((network.name, pair))
    top = None
    if limit is not None and network is not limit and engine.precision in ("fp32", "int8"):
        top = found.get((limit.name, pair))
    return dataclasses.replace(
        row,
        measured=taken,
        ours=None if ours is None else ratio(ours, taken),
        # The limit's time for this much work, over the time taken.
        limit=None if top is None or limit is None
        else ratio(top, taken) * network.gflop / limit.gflop,
        size_bytes=size_of(paths[key]),
        delegated=delegated(paths[key]) if engine.family == OURS else "",
    )  # fmt: skip


def table(rows: Sequence[EngineRow]) -> list[list[str]]:
    """Return the main table, its header first."""
    lines = [list(_HEADER)]
    for row in rows:
        head = [f"{row.network}, {row.gflop:.2f} GFLOP", row.engine]
        taken = row.measured
        if taken is None:
            lines.append([*head, "not measured", *["-"] * (len(_HEADER) - 3)])
            continue
        lines.append([
            *head, f"{taken.median_ms:.2f} ms", f"{taken.p95_ms:.2f} ms", told(row.ours),
            f"{row.gflop / taken.median_ms * 1e3:.0f}", told(row.limit, "{:.0%}"),
            f"{taken.load_s:.2f} s", f"{taken.peak_mb:.0f} MB",
            f"{row.size_bytes / 1e6:.1f} MB", row.delegated or "-",
        ])  # fmt: skip
    return lines


def variant_table(networks: Sequence[Network], rows: Sequence[EngineRow]) -> list[list[str]]:
    """Return a line for each variant with our own engine's figures, the header first."""
    by_key = {(row.network, row.engine): row for row in rows if row.measured is not None}
    lines = [list(_VARIANTS)]
    for network in networks:
        if network.config is None:
            continue
        clip = network.config.clip
        both = [by_key[k] for name in (FLOAT, INT8) if (k := (network.name, name)) in by_key]
        taken = [row.measured for row in both if row.measured is not None]
        times = [f"{each.median_ms:.2f} ms" for each in taken]
        lines.append([
            f"`{network.name}`", f"{clip.num_frames}x{clip.height}x{clip.width}",
            f"{network.params / 1e6:.2f} M", f"{network.gflop:.2f}",
            " / ".join(f"{row.size_bytes / 1e6:.1f}" for row in both) + " MB",
            *(times if len(times) == 2 else ["-", "-"]),
            " / ".join(f"{each.peak_mb:.0f}" for each in taken) + " MB",
        ])  # fmt: skip
    return lines


def _agreement_table(rows: Sequence[EngineRow]) -> list[str]:
    """Return the table of errors against torch: largest, and cosine."""
    known = [row for row in rows if row.measured is not None and row.network != "ceiling"]
    if not known:
        return []
    names = list(known[0].measured.facts["agreement"]) if known[0].measured else []
    lines = [["network", "engine", *(f"{name}: max error, cosine" for name in names)]]
    for row in known:
        assert row.measured is not None
        found = [row.measured.facts["agreement"].get(name, {}) for name in names]
        cells = [f"{f['max_abs']:.2g}, {f['cosine']:.5f}" if "cosine" in f else f.get("error", "-")
                 for f in found]  # fmt: skip
        lines.append([row.network, row.engine, *cells])
    return ["Against the float model in torch, on clips that no range was taken from:", "",
            *markdown_table(lines)]  # fmt: skip


def main(argv: Sequence[str], name: str = "engines", description: str | None = __doc__) -> int:
    """Read the flags, run, print the report."""
    return run_main(argv, name, description, EngineOptions, lambda o: run(o, name=name).text)


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
