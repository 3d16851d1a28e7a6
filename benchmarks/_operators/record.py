"""Run a program with ExecuTorch's event tracer: `python -m benchmarks._operators.record JOB`.

The wheel's runtime is built with the tracer, XNNPACK's own operator timer included; it times whole
microseconds. Its process is its own: it imports torch, and OpenMP's threads would spin beside
XNNPACK's. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

_WARM_UP = 5


def main() -> None:
    """Record, and print what was recorded."""
    job: dict[str, Any] = json.loads(sys.argv[1])
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        warnings.simplefilter("ignore")
        answers.write(json.dumps(record(Path(job["path"]), job["threads"], job["runs"])))


def record(path: Path, threads: int, runs: int) -> dict[str, Any]:
    """Return each event's times over all runs, and the time of a run without the tracer."""
    import torch
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    torch.set_num_threads(1)
    portable_lib._unsafe_reset_threadpool(threads)
    runtime = Runtime.get()
    plain = runtime.load_program(str(path)).load_method("forward")
    traced_program = runtime.load_program(str(path), enable_etdump=True)
    traced = traced_program.load_method("forward")
    shape = plain.metadata.input_tensor_meta(0).sizes()
    clip = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    times: list[float] = []
    for index in range(_WARM_UP + runs):
        start = time.perf_counter()
        plain.execute([clip])
        if index >= _WARM_UP:
            times.append((time.perf_counter() - start) * 1e3)
    for _ in range(_WARM_UP + runs):
        traced.execute([clip])
    with tempfile.TemporaryDirectory(prefix="bmvit-trace-") as folder:
        dump = Path(folder) / "trace.etdp"
        traced_program.write_etdump_result_to_file(str(dump), str(Path(folder) / "debug.bin"))
        events = _events(dump)
    return {
        "plain_ms": statistics.median(times),
        "threads": portable_lib._threadpool_get_thread_count(),
        "events": events,
    }


def _events(dump: Path) -> list[dict[str, Any]]:
    """Return the events of `forward` in the order of its first run, without the warm-up's times."""
    from executorch.devtools import Inspector

    found: list[dict[str, Any]] = []
    for block in Inspector(etdump_path=str(dump)).event_blocks:
        if block.name != "Execute":
            continue
        for event in block.events:
            if event.perf_data is None:
                continue
            found.append(
                {
                    "name": event.name,
                    "delegated": bool(event.is_delegated_op),
                    "instruction": event._instruction_id,
                    "ms": [float(ms) for ms in event.perf_data.raw[_WARM_UP:]],
                }
            )
    return found


if __name__ == "__main__":
    main()
