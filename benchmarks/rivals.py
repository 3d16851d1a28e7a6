"""Decoded frames in, detections out: this project's models beside what a user would pick instead.

`python -m benchmarks.rivals` runs `nano` and `pico` through the runtime that ships, and YOWOv2-Nano
(written anew, random weights) in ONNX Runtime, OpenVINO and torch, each in a process of its own, in
interleaved rounds with the same frames and the same number of threads. Each result costs bringing
the new frames into the clip, the network, and turning its outputs into detections.
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
from typing import TYPE_CHECKING

from benchmarks._engines.artifacts import Store
from benchmarks._engines.base import INSTALL, Engine, engine_named, has_bf16
from benchmarks._engines.flags import command_of
from benchmarks._engines.rounds import ratio
from benchmarks._rivals.rounds import Measured, PipelineJob, Plan, measure
from benchmarks._rivals.tables import INT8, OURS, RivalRow, absences, goals, table
from runtime.errors import ConfigError, EdgeError
from runtime.options import EXIT_OK, OptionParser, guarded, option
from runtime.report import write_report

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from benchmarks._engines.networks import Network

logger = logging.getLogger(__name__)

FLOAT = "xnnpack-fp32"
_FRAMES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class RivalOptions:
    """What to measure, and how.

    Attributes are the flags; see their help.
    """

    variants: tuple[str, ...] = option(("nano", "pico"), "our networks, with random weights")
    new_frames: int = option(1, "new sampled frames for each result, for every method")
    size: tuple[int, int] = option((640, 480), "width and height of the decoded frames, pixels")
    candidates: int = option(20, "candidates above the threshold, for every method")
    threads: int = option(2, "threads of each engine")
    rounds: int = option(10, "turns of each pipeline")
    turn_ms: float = option(400.0, "length of a turn, milliseconds; at least five results")
    calib_data: str | None = option(
        None, "videos for int8 ranges; else the reference data, else drawn clips", metavar="PATH"
    )
    calib_clips: int = option(32, "clips for int8 ranges")
    out: str = option("runs/bench", "folder for rivals.json, rivals.md and the artifacts")
    verbose: bool = option(False, "tell what is being done, and show tracebacks")

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: One cannot be used.
        """
        for name in ("new_frames", "candidates", "threads", "rounds", "calib_clips"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if len(self.size) != 2 or min(self.size) < 1:
            raise ConfigError(f"size is {self.size}, expected width and height in pixels")
        if not self.turn_ms > 0:
            raise ConfigError(f"turn_ms is {self.turn_ms}, expected a positive time")


@dataclass(frozen=True, slots=True, kw_only=True)
class RivalReport:
    """A finished comparison.

    Attributes:
        rows: One a method and engine.
        text: The Markdown that was written.
        out: Folder of `rivals.json` and `rivals.md`.
    """

    rows: tuple[RivalRow, ...]
    text: str
    out: Path


def run(options: RivalOptions) -> RivalReport:
    """Build what is not built yet, measure, and write both files.

    Raises:
        ConfigError: A variant is unknown.
        CalibrationError: The named videos give no clip.
    """
    from benchmarks._rivals.recipes import rival_network
    from benchmarks.engines import CLASSES, EngineOptions, make_networks

    load_before = os.getloadavg()[0]
    ours = make_networks(
        EngineOptions(
            variants=options.variants,
            textbook=False,
            calib_data=options.calib_data,
            calib_clips=options.calib_clips,
        )
    )
    calib_data = Path(options.calib_data) if options.calib_data else None
    rival = rival_network(CLASSES, calib_data=calib_data, calib_clips=options.calib_clips)
    rows = compare(ours, rival, options)
    out = Path(options.out)
    text = write_report(
        out, "rivals", title="Decoded frames in, detections out",
        command=command_of("benchmarks.rivals", options), table=table(rows),
        notes=_notes(rows, rival, options, load_before),
        content={
            "threads": options.threads,
            "rounds": options.rounds,
            "new_frames": options.new_frames,
            "size_wh": list(options.size),
            "load_average_before": load_before,
            "params": {network.name: network.params for network in [*ours, rival]},
            "rows": [{**dataclasses.asdict(r), "clips_per_s": r.clips_per_s} for r in rows],
        },
    )  # fmt: skip
    return RivalReport(rows=tuple(rows), text=text, out=out)


def compare(ours: Sequence[Network], rival: Network, options: RivalOptions) -> list[RivalRow]:
    """Measure our networks and the rival's in every engine that is here."""
    from benchmarks._rivals.recipes import ENGINES

    plan = [(network, engine_named(name)) for network in ours for name in (INT8, FLOAT)]
    plan += [(rival, engine) for engine in ENGINES]
    root = Path(options.out) / "artifacts"
    absent: dict[tuple[str, str], str] = {}
    jobs: list[PipelineJob] = []
    with tempfile.TemporaryDirectory(prefix="bmvit-rivals-") as folder:
        for network, engine in plan:
            found = _job(network, engine, network is rival, root, Path(folder))
            if isinstance(found, str):
                absent[network.name, engine.name] = found
            else:
                jobs.append(found)
        timings = measure(jobs, _plan(options, Path(folder)))
    for key, timing in timings.items():
        if timing.failure:
            absent[key] = f"not measured: {timing.failure}"
    good = {key: timing for key, timing in timings.items() if not timing.failure}
    return [_row(network, engine, good, absent) for network, engine in plan]


def decoded_frames(size_wh: tuple[int, int], count: int = _FRAMES) -> npt.NDArray[np.uint8]:
    """Return drawn frames (count, H, W, 3) as a decoder would give them; times ask for no more."""
    import cv2
    import numpy as np

    from edge.data.demo_clip import render_frame

    return np.stack(
        [
            cv2.resize(render_frame(0.15 * i), size_wh, interpolation=cv2.INTER_LINEAR)
            for i in range(count)
        ]
    )


def _plan(options: RivalOptions, folder: Path) -> Plan:
    import numpy as np

    path = folder / "frames.npy"
    np.save(path, decoded_frames(options.size))
    return Plan(
        frames=path,
        new_frames=options.new_frames,
        candidates=options.candidates,
        threads=options.threads,
        rounds=options.rounds,
        turn_ms=options.turn_ms,
    )


def _job(
    network: Network, engine: Engine, is_rival: bool, root: Path, folder: Path
) -> PipelineJob | str:
    """Return a pipeline to measure, or why there is none."""
    from benchmarks._rivals import recipes
    from benchmarks._rivals.bundles import bundle_program

    lacking = engine.missing()
    if lacking:
        return f"not measured: {INSTALL} (needs {', '.join(lacking)})"
    if "bf16" in engine.precision and not has_bf16():
        return "not measured: this processor has no bfloat16 arithmetic"
    logger.info("building %s for %s, or taking it from the cache", network.name, engine.name)
    store = Store(root, network.name, network.fingerprint)
    try:
        if is_rival:
            path = recipes.build(network, engine, store)
            shape = recipes.rival_shape(network)
            return PipelineJob(method=network.name, engine=engine.name, path=path, rival=shape)
        program = engine.load_module().build(network, engine.precision, store)
        out = folder / f"{network.name}-{engine.name}"
        bundle_program(network, program, engine.precision, out).close()
        return PipelineJob(method=network.name, engine=engine.name, path=out)
    except Exception as error:  # converters have kinds of their own; measure the rest
        logger.info("building failed", exc_info=True)
        said = " ".join(str(error).split())[:200]
        return f"not measured: building it failed ({type(error).__name__}: {said})"


def _row(
    network: Network,
    engine: Engine,
    timings: dict[tuple[str, str], Measured],
    absent: dict[tuple[str, str], str],
) -> RivalRow:
    key = (network.name, engine.name)
    row = RivalRow(
        method=network.name, engine=engine.name, gflop=network.gflop, missing=absent.get(key, "")
    )
    timing, ours = timings.get(key), timings.get((OURS, INT8))
    if timing is None:
        return row
    return dataclasses.replace(
        row,
        preprocess_ms=timing.stage_ms("preprocess"),
        network_ms=timing.stage_ms("network"),
        decode_ms=timing.stage_ms("decode"),
        median_ms=timing.median_ms,
        p95_ms=timing.p95_ms,
        ours=None if ours is None or ours is timing else ratio(ours, timing),
        peak_mb=timing.peak_mb,
        candidates=timing.facts["candidates"],
        detections=timing.facts["detections"],
        rounds_ms=tuple(tuple(times) for times in timing.rounds),
    )


def _notes(
    rows: Sequence[RivalRow], rival: Network, options: RivalOptions, load: float
) -> list[str]:
    from benchmarks._rivals.recipes import rival_facts

    width, height = options.size
    return [
        f"Per result: {options.new_frames} new decoded {width}x{height} frame"
        f"{'s' if options.new_frames > 1 else ''} in, detections in pixels out, the same for every "
        "method; older frames stay in the clip as they are. Decoding the video is outside.",
        "",
        "Ours is the runtime that ships (`ClipRunner` on a bundle): its reader thread, sampling by "
        "time, antialiased resize, bookkeeping. YOWOv2 is its bare loop: bilinear resize of the "
        "newest frame, a queue of 16 without copies, network, threshold, boxes, suppression by "
        "OpenCV, in NumPy. `network` holds all of the engine.",
        "",
        *rival_facts(rival),
        "",
        "All weights are random: times do not depend on them but by what stands above the "
        f"threshold, which is set so that it is about {options.candidates} everywhere "
        f"({_counts(rows)}).",
        "",
        *absences(rows),
        "",
        *goals(rows),
        "",
        f"{options.threads} threads; {options.rounds} interleaved rounds of "
        f"{options.turn_ms:.0f} ms; int8 ranges from {rival.clips.origin}; load average before "
        f"the run {load:.2f} (above about 0.3 the machine was not this benchmark's alone).",
        "",
    ]


def _counts(rows: Sequence[RivalRow]) -> str:
    found = [row.candidates for row in rows if row.candidates is not None]
    return f"medians {min(found):.0f} to {max(found):.0f}" if found else "nothing measured"


def main(argv: Sequence[str]) -> int:
    """Read the flags, run, print the report."""
    parser = OptionParser(prog="python -m benchmarks.rivals", description=__doc__)
    options = parser.parse_into(RivalOptions, argv)
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
