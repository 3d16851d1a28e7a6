"""What `edge serve` gives with four cameras, and what page, MQTT and metrics cost beside them.

`python -m benchmarks.serve --model BUNDLE`: four cameras over RTSP, 640x360 at 15 fps. Phases
take turns: alone (no viewer, broker or scrape), told (events go to a broker, Prometheus reads its
page each five seconds), and looked at (that, and a viewer reads all events and pictures as the
page does). The cost is the difference in processor time, in shares of what one camera takes alone;
medians over rounds, since other jobs may run beside.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._main import run_main
from benchmarks._mosquitto import Mosquitto, free_port, mosquitto
from benchmarks._served import RtspCamera, Served, Viewer, draw_pictures
from runtime.bundle import DEFAULT_BUNDLE
from runtime.options import check_options, guarded, option
from runtime.report import write_report

SCRAPE_S, SETTLE_S, RUNNING_S = 5.0, 3.0, 60.0
PHASES = ("alone", "told", "looked at")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeBenchOptions:
    """What to serve, and how long. Attributes are the flags; see their help."""

    model: str = option(str(DEFAULT_BUNDLE), "bundle folder or zip", metavar="BUNDLE")
    cameras: int = option(4, "RTSP cameras", least=1, most=16)
    rounds: int = option(6, "pairs of phases", least=1)
    seconds: float = option(15.0, "length of a phase", above=0)
    work: str = option("runs/serve", "folder for logs")
    out: str = option("runs/bench", "folder for serve.json and serve.md")
    verbose: bool = option(False, "show tracebacks")

    def __post_init__(self) -> None:
        check_options(self)


def run(options: ServeBenchOptions) -> str:
    """Measure, write both files; return the Markdown."""
    work = Path(options.work).absolute()
    work.mkdir(parents=True, exist_ok=True)
    draw_pictures(work / "pictures")
    cameras = [RtspCamera(work / "pictures") for _ in range(options.cameras)]
    broker = Mosquitto(work / "broker") if mosquitto() else None
    alone: dict[str, Any] = {
        "model": str(Path(options.model).absolute()),
        "server": {"port": free_port()},
        "cameras": {f"c{i}": {"source": c.address} for i, c in enumerate(cameras)},
    }
    told = dict(alone)
    if broker is not None:
        told["events"] = {"mqtt": {"host": "127.0.0.1", "port": broker.port}}
    served = Served(work, alone)
    phases: dict[str, list[dict[str, float]]] = {name: [] for name in PHASES}
    try:
        _until_running(served)
        for _ in range(options.rounds):
            for name, taken in phases.items():
                config = alone if name == "alone" else told
                taken.append(_phase(name, served, config, options.seconds))
        rss_mb = served.usage().rss_mb
        code, stop_s = served.stop()
    finally:
        served.process.kill()
        for camera in cameras:
            camera.stop()
        if broker is not None:
            broker.stop()
    cost = {name: _cost(phases, name, options.cameras) for name in PHASES[1:]}
    return write_report(
        Path(options.out), "serve", title="edge serve",
        table=[["", *phases], *_rows(phases)],
        command=f"python -m benchmarks.serve --cameras {options.cameras} --rounds {options.rounds} "
                f"--seconds {options.seconds:g}",
        content={"phases": phases, "cost_share_of_one_camera": cost, "rss_mb": rss_mb,
                 "start_s": served.start_s, "stop_s": stop_s, "exit_code": code,
                 "broker": broker is not None},
        notes=[
            f"{'MQTT' if broker is not None else 'No broker here,'} and metrics cost "
            f"{100 * cost['told']:.0f} % of one camera's processor time, with a viewer of all "
            f"pictures {100 * cost['looked at']:.0f} %. {rss_mb:.0f} MB; "
            f"started in {served.start_s:.2f} s, stopped in {stop_s:.2f} s.",
        ],
    )  # fmt: skip


def _until_running(served: Served) -> None:
    deadline = time.monotonic() + RUNNING_S
    while time.monotonic() < deadline:
        if all(c["results"] > 3 for c in served.cameras()):
            return
        time.sleep(0.2)


def _phase(name: str, served: Served, config: dict[str, Any], seconds: float) -> dict[str, float]:
    """Set up, settle, and measure one phase."""
    served.write(config)
    served.reload()
    viewer = Viewer(served.url) if name == "looked at" else None
    time.sleep(SETTLE_S)
    before, cameras, number = served.usage(), served.cameras(), served.get("/api/results")["next"]
    started = time.monotonic()
    while (left := seconds - (time.monotonic() - started)) > 0:
        if name != "alone":
            served.get("/metrics")
        time.sleep(min(left, SCRAPE_S))
    elapsed = time.monotonic() - started
    after, later = served.usage(), served.cameras()
    results = served.get(f"/api/results?limit=1000&since={number}")["results"]
    latencies = [r["latency_ms"] for r in results] or [0.0]
    found = {
        "cpu_share": (after.cpu_s - before.cpu_s) / elapsed,
        "results_per_s": _grown(cameras, later, "results") / elapsed,
        "dropped_clips_per_s": _grown(cameras, later, "dropped_clips") / elapsed,
        "dropped_frames_per_s": _grown(cameras, later, "dropped_frames") / elapsed,
        "latency_p50_ms": float(np.percentile(latencies, 50)),
        "latency_p95_ms": float(np.percentile(latencies, 95)),
        "rss_mb": after.rss_mb,
        "viewer_mb_per_s": 0.0,
    }
    if viewer is not None:
        found["viewer_mb_per_s"] = viewer.bytes / 1e6 / (elapsed + SETTLE_S)
        viewer.close()
    return found


def _grown(before: list[dict[str, Any]], after: list[dict[str, Any]], name: str) -> float:
    return float(sum(c[name] for c in after) - sum(c[name] for c in before))


def _cost(phases: dict[str, list[dict[str, float]]], name: str, cameras: int) -> float:
    """Return the median over rounds of what a phase costs more, in shares of one camera's time."""
    pairs = zip(phases["alone"], phases[name], strict=True)
    return statistics.median(
        (b["cpu_share"] - a["cpu_share"]) / (a["cpu_share"] / cameras) for a, b in pairs
    )


def _rows(phases: dict[str, list[dict[str, float]]]) -> list[list[str]]:
    forms = {
        "results_per_s": ("results a second, all cameras", "{:.1f}"),
        "latency_p50_ms": ("latency p50", "{:.0f} ms"),
        "latency_p95_ms": ("latency p95", "{:.0f} ms"),
        "dropped_clips_per_s": ("decisions dropped a second", "{:.2f}"),
        "dropped_frames_per_s": ("frames dropped a second", "{:.2f}"),
        "cpu_share": ("processor time, cores", "{:.3f}"),
        "rss_mb": ("memory", "{:.0f} MB"),
        "viewer_mb_per_s": ("sent to the viewer", "{:.2f} MB/s"),
    }
    return [
        [title, *(form.format(statistics.median(p[name] for p in one)) for one in phases.values())]
        for name, (title, form) in forms.items()
    ]


def main(argv: Sequence[str]) -> int:
    """Read the flags, measure, print the report."""
    return run_main(argv, "serve", __doc__, ServeBenchOptions, run)


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
