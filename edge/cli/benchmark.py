"""`edge benchmark`: measure the speed and memory of a bundle on this machine."""

from __future__ import annotations

import importlib
import importlib.util
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.cli._progress import progress_bar
from runtime.backend_library import use_backend_library
from runtime.bundle import DEFAULT_BUNDLE, Bundle
from runtime.bundle_spec import Artifact
from runtime.errors import BackendUnavailableError
from runtime.measure import ColdStart, Latency, measure_cold_start, measure_latency
from runtime.options import CommonOptions, OptionParser, check_options, option, section
from runtime.profiler import look
from runtime.quiet import Busy
from runtime.report import command_of, write_report


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkOptions:
    """Flags of `edge benchmark`."""

    model: str = option(str(DEFAULT_BUNDLE), "bundle folder or zip", metavar="BUNDLE")
    artifact: str | None = option(None, "only this artifact; else every one that runs here")
    source: str | None = option(None, "video for the cold start; else a drawn clip")
    num_threads: int = option(0, "threads of the engine; 0 = one for each that it may use")
    backend_library: str | None = option(
        None, "load this backend of ExecuTorch beside the runtime; several are divided by a colon",
        metavar="FILE.so",
    )  # fmt: skip
    warmup: int = option(20, "warm-up runs, not counted", least=1)
    runs: int = option(100, "counted runs", least=1)
    cold_starts: int = option(5, "fresh processes for the cold start", least=1)
    out: str = option("runs/benchmark", "folder for benchmark.json and benchmark.md")
    common: CommonOptions = section(CommonOptions)

    def __post_init__(self) -> None:
        check_options(self)


# Flags that ask for more than the bundle alone: they need the source tree and its `[bench]` extra.
COMPARISONS = {"--against": "benchmarks.engines", "--by-operator": "benchmarks.by_operator"}


def main(argv: Sequence[str]) -> int:
    """Measure every artifact and the cold start; print the table and write both files."""
    for flag, module in COMPARISONS.items():
        if any(word.split("=")[0] == flag for word in argv):
            return _compare(flag, module, argv)
    parser = OptionParser(
        prog="edge benchmark", description=__doc__,
        epilog="edge benchmark --against onnxruntime openvino torch: the same network in other "
               "engines; edge benchmark --by-operator: where its time goes (source tree only)",
    )  # fmt: skip
    options = parser.parse_into(BenchmarkOptions, argv)
    use_backend_library(options.backend_library)
    before, quiet_before = look()
    busy = Busy()
    with (
        Bundle.load(options.model) as bundle,
        tempfile.TemporaryDirectory() as folder,
        progress_bar(quiet=False) as progress,
    ):
        tell = progress or (lambda step, done, total: None)
        artifacts = bundle.spec.artifacts
        if options.artifact is not None:
            artifacts = (bundle.artifact(options.artifact),)
        source = options.source or _drawn(Path(folder))
        rows, content = [], []
        for index, artifact in enumerate(artifacts):
            tell(f"measuring {artifact.stem}", index, len(artifacts))
            latency = measure_latency(
                options.model, artifact.stem, threads=options.num_threads,
                warmup=options.warmup, runs=options.runs,
            )  # fmt: skip
            tell(f"cold starts of {artifact.stem}", index, len(artifacts))
            colds = [
                measure_cold_start(
                    options.model, source, artifact=artifact.stem, threads=options.num_threads
                )
                for _ in range(options.cold_starts)
            ]
            rows.append(_row(artifact, latency, colds))
            content.append(_content(artifact, latency, colds))
        trained = bundle.spec.trained
    machine = [
        *(("before", str(quiet_before)), ("during", str(busy.since()))),
        *(("clocks", before.lines[name]) for name in ("processor clocks",) if name in before.lines),
        *(("note", note) for note in before.notes),
    ]
    print(_report(options, rows, content, machine, trained=trained))
    return 0


LEAST_FOR_P99 = 100
HEADER = (
    "artifact", "precision", "MB", "mAP@0.5", "p50 ms", "p95 ms", "p99 ms", "clips/s",
    "cold start s", "peak MB",
)  # fmt: skip


def _row(artifact: Artifact, latency: Latency, colds: Sequence[ColdStart]) -> tuple[str, ...]:
    accuracy = (artifact.accuracy or {}).get("frame_map_50")
    return (
        artifact.stem,
        artifact.precision,
        f"{artifact.size_bytes / 1e6:.2f}",
        "not measured" if accuracy is None else f"{accuracy:.3f}",
        *(f"{latency.at(percent):.2f}" for percent in (50, 95)),
        # Of fewer runs the largest would stand here under another name.
        f"{latency.at(99):.2f}" if len(latency.ms) >= LEAST_FOR_P99 else "-",
        f"{1e3 / latency.at(50):.1f}",
        f"{statistics.median(c.total_s for c in colds):.2f}",
        f"{max(c.peak_mb for c in colds):.0f}",
    )


def _content(artifact: Artifact, latency: Latency, colds: Sequence[ColdStart]) -> dict[str, object]:
    return {
        "artifact": artifact.stem,
        "threads": latency.threads,
        "latency_ms": latency.ms,
        "engine_peak_mb": latency.peak_mb,
        "cold_start_s": [c.total_s for c in colds],
        "peak_mb": [c.peak_mb for c in colds],
        "torch_imported": any(c.torch_imported for c in colds),
    }


def _report(
    options: BenchmarkOptions, rows: Sequence[Sequence[str]], content: object,
    machine: Sequence[tuple[str, str]], *, trained: bool,
) -> str:  # fmt: skip
    notes = ["Latency is the network alone; cold start is a fresh process to its first result on a "
             "file, peak memory that process's, with OpenCV.", "",
             *(f"- {name}: {text}" for name, text in machine), ""]  # fmt: skip
    if not trained:
        notes.insert(0, "UNTRAINED weights: the times are real, the detections mean nothing.\n")
    return write_report(
        Path(options.out), "benchmark", title="Benchmark", table=[HEADER, *rows], notes=notes,
        command=command_of("edge benchmark", options),
        content={"artifacts": content, "machine": [list(row) for row in machine]},
    )  # fmt: skip


def _drawn(folder: Path) -> str:
    from edge.data.demo_clip import write_demo_clip

    path = folder / "demo.mp4"
    write_demo_clip(path, seconds=2.0)
    return str(path)


def _compare(flag: str, module: str, argv: Sequence[str]) -> int:
    if importlib.util.find_spec(module.split(".")[0]) is None:
        raise BackendUnavailableError(
            f"{flag} compares engines on a development machine: run it in the source tree, after "
            "pip install -e '.[bench]'"
        )
    rest = [word for word in argv if word != "--by-operator"]
    if flag == "--by-operator" and not any(word.split("=")[0] == "--model" for word in rest):
        rest += ["--model", str(DEFAULT_BUNDLE)]
    return int(importlib.import_module(module).main(rest))
