"""What everything around the engine costs: capture, resize, buffer, decode, Python.

`python -m benchmarks.overhead` runs, in turn and each in a process of its own, the engine alone on
clips that overlap as the video's do, and the whole runner on a video file as fast as it goes. Two
figures come out, both over the engine's own time per clip:

* `around`: what the engine's thread does besides the engine: waiting for frames, resizing, filling
  the clip, decoding, Python. It is what a result waits for.
* `with the video`: the wall time of the whole run per clip. FFmpeg then decodes all frames, wanted
  or not, on the same processors that the engine computes on.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from benchmarks._child import run_child
from edge.data.demo_clip import write_demo_clip
from runtime.bundle import DEFAULT_BUNDLE
from runtime.report import write_report

ENGINE_CHILD = """
import json, sys, time
import numpy as np
from runtime.bundle import Bundle
from runtime.engine import load_engine
bundle = Bundle.load(sys.argv[1])
stride = int(sys.argv[3]) // bundle.spec.clip.sampling_rate
engine = load_engine(bundle, num_threads=int(sys.argv[2]), stride=stride)
clip = np.random.default_rng(0).standard_normal(bundle.spec.clip.input_shape).astype(np.float32)
first, times = 0, []
for _ in range(120):
    start = time.perf_counter()
    engine(clip, first)
    times.append((time.perf_counter() - start) * 1e3)
    first += stride
times = times[20:]
print(json.dumps({"ms": sorted(times)[50]}))
"""

RUNNER_CHILD = """
import json, sys, time
from runtime.runner import ClipRunner
with ClipRunner(sys.argv[1], num_threads=int(sys.argv[2]), stride=int(sys.argv[4])) as runner:
    results = iter(runner.stream(source=sys.argv[3]))
    for _ in range(3):
        next(results)
    clips, start, cpu = 0, time.perf_counter(), time.process_time()
    for _ in results:
        clips += 1
    wall = (time.perf_counter() - start) * 1e3 / clips
    stages = {name: s.at(50) for name, s in runner.profile.stages.items()}
    print(json.dumps({"ms": wall, "cpu_ms": (time.process_time() - cpu) * 1e3 / clips,
                      "clips": clips, "stages": stages}))
"""


NOTE = """\
Per clip, medians. `around`: on the engine's thread, over the engine's time; `waiting` for frames,
`resize` of the clip's new samples and `decode` of its tokens are parts of it. `with the video`:
wall time of the whole run over the engine's, FFmpeg decoding beside it on the same processors."""


def measure(model: str, source: str, *, threads: int, stride: int, rounds: int) -> dict[str, Any]:
    """Return medians over interleaved rounds; times in milliseconds per clip."""
    engine, runner = [], []
    for _ in range(rounds):
        engine.append(run_child(ENGINE_CHILD, model, str(threads), str(stride)))
        runner.append(run_child(RUNNER_CHILD, model, str(threads), source, str(stride)))
    pairs = list(zip(runner, engine, strict=True))
    whole = [r["ms"] / e["ms"] - 1 for r, e in pairs]
    around = [_around(r) / e["ms"] for r, e in pairs]
    return {
        "source": Path(source).name,
        "stride": stride,
        "clips": runner[0]["clips"],
        "engine_ms": statistics.median(e["ms"] for e in engine),
        "runner_ms": statistics.median(r["ms"] for r in runner),
        "around": statistics.median(around),
        "around_rounds": around,
        "with_video": statistics.median(whole),
        "with_video_rounds": whole,
        "stages_ms": {
            name: statistics.median(r["stages"][name] for r in runner)
            for name in ("capture", "preprocess", "inference", "decode", "total")
        },
    }


def _around(run: dict[str, Any]) -> float:
    """Return the milliseconds per clip that the engine's thread spends outside the engine."""
    stages = run["stages"]
    return float(stages["capture"] + stages["total"] - stages["inference"])


def main() -> None:
    """Measure, print the table, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=str(DEFAULT_BUNDLE))
    parser.add_argument("--source", nargs="*", help="video files; else the demo clip is made")
    parser.add_argument("--strides", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    args = parser.parse_args()
    sources = args.source
    if not sources:
        sources = [str(args.out / "demo10s.mp4")]
        write_demo_clip(Path(sources[0]), seconds=10.0)
    header = [
        "source", "stride", "engine", "around", "with the video", "waiting", "resize", "decode",
    ]  # fmt: skip
    rows, results = [header], []
    for source in sources:
        for stride in args.strides:
            result = measure(
                args.model, source, threads=args.threads, stride=stride, rounds=args.rounds
            )
            results.append(result)
            stages = result["stages_ms"]
            rows.append([
                result["source"], str(stride), f"{result['engine_ms']:.2f} ms",
                f"{result['around']:.1%}", f"{result['with_video']:.1%}",
                f"{stages['capture']:.2f} ms", f"{stages['preprocess']:.2f} ms",
                f"{stages['decode']:.2f} ms",
            ])  # fmt: skip
    text = write_report(
        args.out, "overhead", title="Cost of everything around the engine", table=rows,
        command=f"python -m benchmarks.overhead --threads {args.threads} --rounds {args.rounds}",
        content={"results": results, "model": args.model},
        notes=[NOTE, ""],
    )  # fmt: skip
    print(text)


if __name__ == "__main__":
    main()
