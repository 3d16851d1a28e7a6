"""One network in every engine a user could choose, on this machine, in one run.

`python -m benchmarks.engines` builds the artifacts once (below `runs/bench/artifacts`), then
measures: one process an engine, interleaved rounds, warm-up, the same number of threads, the
network alone on one real clip. Beside them stand the machine's own limit (a stack of matrix
products through the same XNNPACK) and `textbook`, a LayerNorm MViT of its kind, lowered naively.
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

from benchmarks._engines.artifacts import Store, facts_of, size_of
from benchmarks._engines.base import (
    FAMILIES,
    INSTALL,
    OURS,
    Engine,
    chosen_engines,
    engine_named,
    has_bf16,
)
from benchmarks._engines.flags import command_of
from benchmarks._engines.rounds import Job, Timing, measure, ratio
from benchmarks._engines.tables import TEXTBOOK_SIZE, absences, agreement_table, goals, table
from runtime.errors import ConfigError, EdgeError
from runtime.options import EXIT_OK, OptionParser, guarded, option
from runtime.report import write_report

if TYPE_CHECKING:
    from benchmarks._engines.networks import Network

logger = logging.getLogger(__name__)

CLASSES = 8
SEED = 20
FLOAT, INT8 = "xnnpack-fp32", "xnnpack-int8"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What to measure, and how.

    Attributes are the flags; see their help.
    """

    variants: tuple[str, ...] = option(("nano",), "networks with random weights: pico nano tiny")
    model: str | None = option(None, "a checkpoint to measure instead of variants", metavar="PT")
    against: tuple[str, ...] = option(
        FAMILIES, "engines beside ours: torch onnxruntime openvino", metavar="ENGINE"
    )
    threads: int = option(2, "threads of each engine")
    rounds: int = option(10, "turns of each engine")
    turn_ms: float = option(300.0, "length of a turn, milliseconds; at least five runs")
    textbook: bool = option(True, "measure the naive LayerNorm MViT beside `nano-scratch`")
    calib_data: str | None = option(
        None, "videos for int8 ranges; else the reference data, else drawn clips", metavar="PATH"
    )
    calib_clips: int = option(32, "clips for int8 ranges")
    out: str = option("runs/bench", "folder for benchmark.json, benchmark.md and the artifacts")
    verbose: bool = option(False, "tell what is being done, and show tracebacks")

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: One cannot be used.
        """
        for name in ("threads", "rounds", "calib_clips"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if not self.turn_ms > 0:
            raise ConfigError(f"turn_ms is {self.turn_ms}, expected a positive time")
        chosen_engines(self.against)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRow:
    """One network in one engine.

    Attributes:
        network: Its name.
        engine: Name of engine and precision, `openvino-int8`.
        precision: Of the weights and most activations.
        gflop: Work of one clip, a multiply-add as two.
        missing: Why there are no figures; empty where there are.
        median_ms: Median time of a clip.
        p95_ms: 95th percentile.
        ours: Our time over this one's, ours in float32 against float32 and in int8 against all
            else; the median of the rounds' ratios. None for our own row.
        ceiling: Share of the machine's limit at this precision; None without one.
        load_s: Importing the engine, loading, and the first run.
        peak_mb: Most memory of the process.
        size_bytes: The artifact.
        delegation: What the delegate took, for ExecuTorch.
        agreement: Per output its error against torch in float32.
        rounds_ms: All times, by round.
    """

    network: str
    engine: str
    precision: str
    gflop: float
    missing: str = ""
    median_ms: float | None = None
    p95_ms: float | None = None
    ours: float | None = None
    ceiling: float | None = None
    load_s: float | None = None
    peak_mb: float | None = None
    size_bytes: int | None = None
    delegation: dict[str, Any] | None = None
    agreement: dict[str, Any] | None = None
    rounds_ms: tuple[tuple[float, ...], ...] = ()

    @property
    def gflops(self) -> float | None:
        """Speed, G operations a second."""
        return None if self.median_ms is None else self.gflop / self.median_ms * 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineReport:
    """A finished comparison.

    Attributes:
        rows: One an engine and network.
        text: The Markdown that was written.
        out: Folder of `benchmark.json` and `benchmark.md`.
    """

    rows: tuple[EngineRow, ...]
    text: str
    out: Path


def run(options: EngineOptions) -> EngineReport:
    """Build what is not built yet, measure, and write both files.

    Raises:
        ConfigError: A variant is unknown.
        ArtifactError: The checkpoint cannot be loaded.
        CalibrationError: The named videos give no clip.
    """
    load_before = os.getloadavg()[0]
    networks = make_networks(options)
    rows = compare(networks, options)
    notes = _notes(rows, networks, options, load_before)
    out = Path(options.out)
    command = command_of("benchmarks.engines", options)
    text = write_report(
        out, "benchmark", title="Engines", command=command, table=table(rows), notes=notes,
        content={
            "threads": options.threads,
            "rounds": options.rounds,
            "load_average_before": load_before,
            "clips": networks[0].clips.origin,
            "params": {network.name: network.params for network in networks},
            "rows": [{**dataclasses.asdict(row), "gflops": row.gflops} for row in rows],
        },
    )  # fmt: skip
    return EngineReport(rows=tuple(rows), text=text, out=out)


def make_networks(options: EngineOptions) -> list[Network]:
    """Build the networks to measure, with their clips."""
    from benchmarks._engines.networks import Network, load_clips, settle
    from benchmarks._engines.textbook import textbook
    from edge.model.checkpoint import load_checkpoint
    from edge.model.variants import build_model

    calib_data = Path(options.calib_data) if options.calib_data else None
    networks: list[Network] = []
    if options.model is not None:
        found = load_checkpoint(options.model)
        clips = load_clips(found.config, calib_data=calib_data, count=options.calib_clips)
        return [Network(Path(options.model).stem, found.model, clips)]
    for variant in options.variants:
        model = build_model(variant, num_classes=CLASSES, seed=SEED)
        clips = load_clips(model.config, calib_data=calib_data, count=options.calib_clips)
        settle(model, clips.calibration)
        networks.append(Network(variant, model, clips))
        if variant == TEXTBOOK_SIZE and options.textbook:
            networks.append(textbook(model.config, clips))
    return networks


def compare(networks: Sequence[Network], options: EngineOptions) -> list[EngineRow]:
    """Measure networks in the chosen engines, and the machine's limit with them."""
    from benchmarks._engines.networks import ceiling

    engines = chosen_engines(options.against)
    limit = ceiling()
    absent: dict[tuple[str, str], str] = {}
    jobs: list[Job] = []
    plan: list[tuple[Network, Engine]] = []
    for network in [*networks, limit]:
        chosen = _engines_for(network, engines)
        plan += [(network, engine) for engine in chosen]
    for network, engine in plan:
        reason, path = _artifact(network, engine, Path(options.out) / "artifacts")
        if path is None:
            absent[network.name, engine.name] = reason
        else:
            jobs.append(Job(network=network, engine=engine, path=path))
    timings = measure(jobs, threads=options.threads, rounds=options.rounds, turn_ms=options.turn_ms)
    for key, timing in timings.items():
        if timing.failure:
            absent[key] = f"not measured: {timing.failure}"
    good = {key: timing for key, timing in timings.items() if not timing.failure}
    paths = {job.key: job.path for job in jobs}
    return [_row(network, engine, good, paths, absent, limit) for network, engine in plan]


def _engines_for(network: Network, engines: Sequence[Engine]) -> list[Engine]:
    if not network.naive:
        return list(engines)
    names = [INT8] if network.name == "textbook" else [FLOAT, INT8]
    return [engine_named(name) for name in names]


def _artifact(network: Network, engine: Engine, root: Path) -> tuple[str, Path | None]:
    """Return why an engine has no artifact of a network, or the artifact."""
    lacking = engine.missing()
    if lacking:
        return f"not measured: {INSTALL} (needs {', '.join(lacking)})", None
    if "bf16" in engine.precision and not has_bf16():
        return "not measured: this processor has no bfloat16 arithmetic", None
    logger.info("building %s for %s, or taking it from the cache", network.name, engine.name)
    store = Store(root, network.name, network.fingerprint)
    try:
        return "", engine.load_module().build(network, engine.precision, store)
    except Exception as error:  # converters have kinds of their own; measure the rest
        logger.info("building failed", exc_info=True)
        said = " ".join(str(error).split())[:200]
        return f"not measured: building it failed ({type(error).__name__}: {said})", None


def _row(
    network: Network,
    engine: Engine,
    timings: dict[tuple[str, str], Timing],
    paths: dict[tuple[str, str], Path],
    absent: dict[tuple[str, str], str],
    limit: Network,
) -> EngineRow:
    key = (network.name, engine.name)
    row = EngineRow(
        network=network.name,
        engine=engine.name,
        precision=engine.precision,
        gflop=network.gflop,
        missing=absent.get(key, ""),
    )
    timing = timings.get(key)
    if timing is None:
        return row
    pair = FLOAT if engine.precision == "fp32" else INT8
    rival = timings.get((_ours_beside(network, timings), pair))
    top = timings.get((limit.name, pair)) if engine.precision in ("fp32", "int8") else None
    share = None
    if top is not None:
        # The limit's time for this much work, over the time taken.
        share = ratio(top, timing) * network.gflop / limit.gflop
    own = network is limit or (engine.family == OURS and not network.naive)
    facts = facts_of(paths[key])
    return dataclasses.replace(
        row,
        median_ms=timing.median_ms,
        p95_ms=timing.p95_ms,
        ours=None if own or rival is None else ratio(rival, timing),
        ceiling=None if network is limit else share,
        load_s=timing.load_s,
        peak_mb=timing.peak_mb,
        size_bytes=size_of(paths[key]),
        delegation=facts.get("delegation"),
        agreement=timing.agreement,
        rounds_ms=tuple(tuple(times) for times in timing.rounds),
    )


def _ours_beside(network: Network, timings: dict[tuple[str, str], Timing]) -> str:
    """Return the network whose time in our engine stands against this one."""
    return TEXTBOOK_SIZE if network.name == "textbook" else network.name


def _notes(
    rows: Sequence[EngineRow], networks: Sequence[Network], options: EngineOptions, load: float
) -> list[str]:
    return [
        "`ours / this`: our time over the engine's, ours in fp32 for fp32 rows and in int8 for all "
        "others, the median of the rounds' ratios. `of limit`: share of what the same XNNPACK "
        "reaches on a stack of 256x256 linear layers with 800 tokens (`ceiling`). `load`: import, "
        "load and first run.",
        "",
        *absences(rows),
        "",
        *agreement_table(rows),
        "",
        *goals(rows),
        "",
        f"{options.threads} threads; {options.rounds} interleaved rounds of "
        f"{options.turn_ms:.0f} ms; int8 ranges from {networks[0].clips.origin}; load average "
        f"before the run {load:.2f} (above about 0.3 the machine was not this benchmark's alone).",
        "",
    ]


def main(argv: Sequence[str]) -> int:
    """Read the flags, run, print the report."""
    parser = OptionParser(prog="python -m benchmarks.engines", description=__doc__)
    options = parser.parse_into(EngineOptions, argv)
    level = logging.INFO if options.verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s")
    try:
        print(run(options).text)
    except ImportError as error:
        if isinstance(error, EdgeError):
            raise
        raise ConfigError(f"building needs {error.name}; run: pip install '.[dev]'") from error
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
