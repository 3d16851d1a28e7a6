"""Measure a bundle on this machine, each figure in a process of its own.

Latency is of the network alone on the bundle's golden clip; cold start is from the start of the
interpreter to the first result on a file, with everything that `edge run` does on the way.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import EdgeError

_LATENCY = """
import json, sys, time
import numpy as np
from runtime.bundle import Bundle
from runtime.engine import load_engine
from runtime.preprocess import normalize
model, artifact, threads, warmup, runs = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
with Bundle.load(model) as bundle:
    engine = load_engine(bundle, artifact=artifact, num_threads=threads)
    with np.load(bundle.golden_path(), allow_pickle=False) as golden:
        clip = normalize(golden["frames_rgb"], bundle.spec.clip)
    for _ in range(warmup):
        engine(clip)
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        engine(clip)
        times.append((time.perf_counter() - start) * 1e3)
    from runtime.profiling import peak_rss_mb
    found = {"ms": times, "peak_mb": peak_rss_mb(), "threads": engine.num_threads}
    sys.stdout.write(json.dumps(found))
"""

# The child prints the system-wide monotonic clock, so the interpreter's own start is counted too.
_COLD = """
import json, sys, time
started = time.monotonic()
from runtime.runner import ClipRunner
imported = time.monotonic()
with ClipRunner(sys.argv[1], artifact=sys.argv[2] or None, num_threads=int(sys.argv[4])) as runner:
    loaded = time.monotonic()
    next(runner.stream(source=sys.argv[3]))
    first = time.monotonic()
    from runtime.profiling import peak_rss_mb
    found = {"started": started, "imported": imported, "loaded": loaded, "first": first}
    found |= {"peak_mb": peak_rss_mb(), "torch": "torch" in sys.modules}
    sys.stdout.write(json.dumps(found))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Times of one artifact's network.

    Attributes:
        ms: Each run, milliseconds, in order.
        peak_mb: Most memory of the process, MB (10^6 bytes).
        threads: Threads that computed.
    """

    ms: tuple[float, ...]
    peak_mb: float
    threads: int

    def at(self, percent: float) -> float:
        """Return the time that `percent` % of the runs do not exceed, ms."""
        ordered = sorted(self.ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """One fresh process from nothing to its first result.

    Attributes:
        interpreter_s: Until the first line of Python, seconds.
        import_s: Importing the runtime, NumPy and OpenCV.
        load_s: Reading, checking and self-testing the bundle.
        first_result_s: Opening the file, filling the clip, the first result.
        peak_mb: Most memory so far, MB (10^6 bytes).
        torch_imported: Whether torch crept in.
    """

    interpreter_s: float
    import_s: float
    load_s: float
    first_result_s: float
    peak_mb: float
    torch_imported: bool

    @property
    def total_s(self) -> float:
        """From the start of the process to the first result, seconds."""
        return self.interpreter_s + self.import_s + self.load_s + self.first_result_s


def measure_latency(
    model: str | Path, artifact: str, *, threads: int = 0, warmup: int = 20, runs: int = 100
) -> Latency:
    """Run one artifact of a bundle on its golden clip in a fresh process.

    Args:
        model: Bundle folder or zip.
        artifact: File name or stem.
        threads: Threads of the engine; 0 leaves it to the engine.
        warmup: Runs before the first that counts.
        runs: Runs that count.

    Raises:
        EdgeError: The child failed; its sentence is passed on.
    """
    found = _child(_LATENCY, str(model), artifact, str(threads), str(warmup), str(runs))
    return Latency(ms=tuple(found["ms"]), peak_mb=found["peak_mb"], threads=found["threads"])


def measure_cold_start(
    model: str | Path, source: str | Path, *, artifact: str = "", threads: int = 0
) -> ColdStart:
    """Start a fresh process and let it give its first result on a file.

    Args:
        model: Bundle folder or zip.
        source: Video file.
        artifact: File name or stem; empty takes the best that runs here.
        threads: Threads of the engine; 0 leaves it to the engine.

    Raises:
        EdgeError: The child failed; its sentence is passed on.
    """
    begun = time.monotonic()
    found = _child(_COLD, str(model), artifact, str(source), str(threads))
    return ColdStart(
        interpreter_s=found["started"] - begun,
        import_s=found["imported"] - found["started"],
        load_s=found["loaded"] - found["imported"],
        first_result_s=found["first"] - found["loaded"],
        peak_mb=found["peak_mb"],
        torch_imported=found["torch"],
    )


def _child(code: str, *args: str) -> dict[str, Any]:
    # The child must find the very package that runs here, also from a source tree.
    home = str(Path(__file__).resolve().parent.parent)
    paths = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        env={**os.environ, "PYTHONPATH": paths}, check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no word of why"]
        raise EdgeError(f"the measuring process failed: {last[0]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result
