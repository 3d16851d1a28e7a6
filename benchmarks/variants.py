"""The variants in one table: input, size, work, program, memory, and time in every engine.

`python -m benchmarks.variants` measures as `benchmarks.engines` does, and shares its artifacts: one
process an engine, interleaved rounds, the network alone on one real clip.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._engines.base import FAMILIES
from benchmarks._engines.flags import command_of
from benchmarks._engines.tables import absences
from benchmarks.engines import FLOAT, INT8, EngineOptions, EngineRow, compare, make_networks
from runtime.errors import ConfigError, EdgeError
from runtime.options import EXIT_OK, OptionParser, guarded, option
from runtime.report import markdown_table, write_report

if TYPE_CHECKING:
    from benchmarks._engines.networks import Network

_HEADER = (
    "variant", "input", "params", "GFLOP", "`.pte` fp32 / int8", "fp32", "int8",
    "peak fp32 / int8",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantOptions:
    """What to measure, and how.

    Attributes are the flags; see their help.
    """

    variants: tuple[str, ...] = option(("pico", "nano", "tiny"), "networks with random weights")
    against: tuple[str, ...] = option(
        FAMILIES, "engines beside ours: torch onnxruntime openvino", metavar="ENGINE"
    )
    threads: int = option(2, "threads of each engine")
    rounds: int = option(8, "turns of each engine")
    turn_ms: float = option(300.0, "length of a turn, milliseconds; at least five runs")
    calib_data: str | None = option(
        None, "videos for int8 ranges; else the reference data, else drawn clips", metavar="PATH"
    )
    calib_clips: int = option(32, "clips for int8 ranges")
    out: str = option("runs/bench", "folder for variants.json, variants.md and the artifacts")
    verbose: bool = option(False, "tell what is being done, and show tracebacks")

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: One cannot be used.
        """
        self.engines()

    def engines(self) -> EngineOptions:
        """Return the same for `benchmarks.engines`."""
        shared = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return EngineOptions(**shared, textbook=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantFacts:
    """What a variant is, whatever runs it.

    Attributes:
        name: `nano`.
        num_frames: Samples of a clip.
        height: Rows of a frame, pixels.
        width: Columns of a frame, pixels.
        params: Learnt parameters.
        gflop: Work of one clip, a multiply-add as two.
    """

    name: str
    num_frames: int
    height: int
    width: int
    params: int
    gflop: float

    @staticmethod
    def of(network: Network) -> VariantFacts:
        """Describe a measured network."""
        from edge.model.bmvit import BMViT

        assert isinstance(network.model, BMViT)
        config = network.model.config
        return VariantFacts(
            name=network.name,
            num_frames=config.num_frames,
            height=config.height,
            width=config.width,
            params=network.params,
            gflop=network.gflop,
        )


def table(variants: Sequence[VariantFacts], rows: Sequence[EngineRow]) -> list[list[str]]:
    """Return a line for each variant with our own engine's figures, the header first."""
    by_key = {(row.network, row.engine): row for row in rows}
    lines = [list(_HEADER)]
    for variant in variants:
        floats, ints = (by_key.get((variant.name, name)) for name in (FLOAT, INT8))
        lines.append(
            [
                f"`{variant.name}`",
                f"{variant.num_frames}x{variant.height}x{variant.width}",
                f"{variant.params / 1e6:.2f} M",
                f"{variant.gflop:.2f}",
                f"{_megabytes(floats)} / {_megabytes(ints)} MB",
                _time(floats),
                _time(ints),
                f"{_peak(floats)} / {_peak(ints)} MB",
            ]
        )
    return lines


def engine_table(variants: Sequence[VariantFacts], rows: Sequence[EngineRow]) -> list[list[str]]:
    """Return a line for each engine with each variant's time and peak memory, the header first."""
    names = [variant.name for variant in variants]
    lines = [["engine", *(f"`{name}`: median, p95, peak" for name in names)]]
    for engine in dict.fromkeys(row.engine for row in rows if row.network in names):
        by_name = {row.network: row for row in rows if row.engine == engine}
        lines.append([engine, *(_cell(by_name.get(name)) for name in names)])
    return lines


def run(options: VariantOptions) -> str:
    """Build what is not built yet, measure, write both files; return the Markdown.

    Raises:
        ConfigError: A variant is unknown.
        CalibrationError: The named videos give no clip.
    """
    load_before = os.getloadavg()[0]
    networks = make_networks(options.engines())
    rows = compare(networks, options.engines())
    facts = [VariantFacts.of(network) for network in networks]
    return write_report(
        Path(options.out), "variants", title="Variants", table=table(facts, rows),
        command=command_of("benchmarks.variants", options),
        notes=[
            "Random weights; the network alone through the native runtime, medians; peak memory of "
            "the process with Python and NumPy in it. The same network in every engine:",
            "",
            *markdown_table(engine_table(facts, rows)),
            "",
            *absences(rows),
            "",
            f"{options.threads} threads; {options.rounds} interleaved rounds of "
            f"{options.turn_ms:.0f} ms; int8 ranges from {networks[0].clips.origin}; load average "
            f"before the run {load_before:.2f} (above about 0.3 the machine was not this "
            "benchmark's alone).",
            "",
        ],
        content=_content(options, facts, rows, load_before),
    )  # fmt: skip


def _content(
    options: VariantOptions,
    facts: Sequence[VariantFacts],
    rows: Sequence[EngineRow],
    load_before: float,
) -> dict[str, Any]:
    return {
        "threads": options.threads,
        "rounds": options.rounds,
        "load_average_before": load_before,
        "variants": [dataclasses.asdict(variant) for variant in facts],
        "rows": [dataclasses.asdict(row) for row in rows],
    }


def _megabytes(row: EngineRow | None) -> str:
    return "-" if row is None or row.size_bytes is None else f"{row.size_bytes / 1e6:.1f}"


def _time(row: EngineRow | None) -> str:
    return "-" if row is None or row.median_ms is None else f"{row.median_ms:.2f} ms"


def _peak(row: EngineRow | None) -> str:
    return "-" if row is None or row.peak_mb is None else f"{row.peak_mb:.0f}"


def _cell(row: EngineRow | None) -> str:
    if row is None or row.median_ms is None:
        return "not measured"
    return f"{row.median_ms:.2f} ms, {row.p95_ms:.2f} ms, {_peak(row)} MB"


def main(argv: Sequence[str]) -> int:
    """Read the flags, run, print the report."""
    parser = OptionParser(prog="python -m benchmarks.variants", description=__doc__)
    options = parser.parse_into(VariantOptions, argv)
    level = logging.INFO if options.verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s")
    try:
        print(run(options))
    except ImportError as error:
        if isinstance(error, EdgeError):
            raise
        raise ConfigError(f"building needs {error.name}; run: pip install '.[dev]'") from error
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
