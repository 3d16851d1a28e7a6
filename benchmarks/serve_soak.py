"""`edge serve` for hours: cameras lost and found, a broker restarted, a full disk; what grows?

`python -m benchmarks.serve_soak --model BUNDLE --minutes 120`: four cameras over RTSP; each minute
one is switched off for 15 s, each tenth minute the broker is restarted, each twentieth the disk of
the history (a small tmpfs, where it can be mounted) is filled. Memory, threads and descriptors are
read each ten seconds; at the end every event that a sink acknowledged must be in the history.
"""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._main import run_main
from benchmarks._mosquitto import Mosquitto, free_port, mosquitto
from benchmarks._served import RtspCamera, Served, Viewer, draw_pictures
from runtime.bundle import DEFAULT_BUNDLE
from runtime.options import check_options, guarded, option
from runtime.report import write_report

CAMERAS = 4
OFF_S, SAMPLE_S, FLOOR_S = 15.0, 10.0, 600.0
BROKER_EVERY, DISK_EVERY = 10, 20  # minutes
DISK_MB = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakOptions:
    """How long, and what with. Attributes are the flags; see their help."""

    model: str = option(str(DEFAULT_BUNDLE), "bundle folder or zip", metavar="BUNDLE")
    minutes: float = option(120.0, "how long", above=0)
    warmup_minutes: float = option(10.0, "left out of the slope", least=0)
    work: str = option("runs/serve_soak", "folder for logs, events and history")
    out: str = option("runs/bench", "folder for serve_soak.json and serve_soak.md")
    verbose: bool = option(False, "show tracebacks")

    def __post_init__(self) -> None:
        check_options(self)


def run(options: SoakOptions) -> str:
    """Run it, write both files; return the Markdown."""
    work = Path(options.work).absolute()
    work.mkdir(parents=True, exist_ok=True)
    draw_pictures(work / "pictures")
    disk = _small_disk(work / "disk")
    cameras = [RtspCamera(work / "pictures") for _ in range(CAMERAS)]
    broker = Mosquitto(work / "broker") if mosquitto() else None
    events: dict[str, Any] = {
        "history": {"path": str(disk[0] / "history.db"), "max_mb": 48},
        "jsonl": {"path": str(work / "events.jsonl"), "max_mb": 1, "files": 100},
    }
    if broker is not None:
        events["mqtt"] = {"host": "127.0.0.1", "port": broker.port, "node": "soak"}
    config = {
        "model": str(Path(options.model).absolute()),
        "server": {"port": free_port()},
        "cameras": {f"c{i}": {"source": c.address} for i, c in enumerate(cameras)},
        "events": events,
    }
    served = Served(work, config)
    try:
        samples, done = _soak(options, served, cameras, broker, disk)
        sinks = _sink_counts(served)
        code, stop_s = served.stop()
    finally:
        served.process.kill()
        for camera in cameras:
            camera.stop()
        if broker is not None:
            broker.stop()
    written = _ids_of_jsonl(work)
    kept = _ids_of_history(disk[0] / "history.db")
    if disk[1]:
        subprocess.run(["umount", str(disk[0])], check=False)
    content = {
        "samples": samples, "done": done, "sinks": sinks, "exit_code": code, "stop_s": stop_s,
        "start_s": served.start_s, "events_in_jsonl": len(written), "events_in_history": len(kept),
        **_summary(samples, options.warmup_minutes),
    }  # fmt: skip
    return write_report(
        Path(options.out), "serve_soak", title="edge serve, soak",
        table=[[f"{CAMERAS} cameras", f"{options.minutes:g} minutes"], *_rows(content)],
        command=f"python -m benchmarks.serve_soak --minutes {options.minutes:g}",
        content=content, notes=[],
    )  # fmt: skip


def _small_disk(folder: Path) -> tuple[Path, bool]:
    """Mount a small disk that can be filled; without the right to, a folder that cannot."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}M", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return folder, False
    return folder, True


def _soak(
    options: SoakOptions, served: Served, cameras: list[RtspCamera], broker: Mosquitto | None,
    disk: tuple[Path, bool],
) -> tuple[list[dict[str, Any]], dict[str, int]]:  # fmt: skip
    """Do harm by the minute and read by the sample."""
    samples: list[dict[str, Any]] = []
    done = {"cameras": 0, "broker": 0, "disk": 0}
    rng = random.Random(0)
    viewer = Viewer(served.url)
    start = time.monotonic()
    minute, off = 0, -1
    filler = disk[0] / "filler"
    while (now := time.monotonic() - start) < 60 * options.minutes:
        if now >= 60 * (minute + 1):
            minute += 1
            off = rng.randrange(CAMERAS)
            cameras[off].stop()
            done["cameras"] += 1
            if broker is not None and minute % BROKER_EVERY == 0:
                broker.stop()
                broker.start()
                done["broker"] += 1
            filler.unlink(missing_ok=True)
            if disk[1] and minute % DISK_EVERY == 0:
                _fill(filler)
                done["disk"] += 1
        if off >= 0 and now >= 60 * minute + OFF_S:
            cameras[off].start()
            off = -1
        samples.append({"t": round(now, 1), **_sample(served)})
        with (Path(options.work) / "samples.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(samples[-1]) + "\n")
        time.sleep(SAMPLE_S)
    filler.unlink(missing_ok=True)
    if off >= 0:
        cameras[off].start()
    time.sleep(SAMPLE_S)
    viewer.close()
    return samples, done


def _fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)


def _sample(served: Served) -> dict[str, Any]:
    with urllib.request.urlopen(served.url + "/metrics", timeout=20) as response:
        response.read()
    cameras = served.cameras()
    return {
        **asdict(served.usage()),
        "running": sum(c["state"] == "running" for c in cameras),
        "results": sum(c["results"] for c in cameras),
        "dropped_clips": sum(c["dropped_clips"] for c in cameras),
        "reconnects": sum(c["reconnects"] for c in cameras),
        "latency_p95_ms": max((c["latency_p95_ms"] or 0.0) for c in cameras),
    }


def _sink_counts(served: Served) -> dict[str, float]:
    text = served.get("/metrics").decode()
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith(("edge_sink_", "edge_events_total"))
    }


def _ids_of_jsonl(work: Path) -> set[tuple[str, str]]:
    found = set()
    for path in work.glob("events.jsonl*"):
        for line in path.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            found.add((event["event_id"], event["phase"]))
    return found


def _ids_of_history(path: Path) -> set[tuple[str, str]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return set(connection.execute("SELECT event_id, phase FROM events"))


def _summary(samples: list[dict[str, Any]], warmup_minutes: float) -> dict[str, Any]:
    """Return slopes after the warm-up, an hour, and the extremes."""
    late = [s for s in samples if s["t"] >= 60 * warmup_minutes] or samples
    hours = np.array([s["t"] for s in late]) / 3600
    found: dict[str, Any] = {}
    for name in ("rss_mb", "threads", "descriptors"):
        values = np.array([s[name] for s in late], dtype=float)
        slope = float(np.polyfit(hours, values, 1)[0]) if len(late) > 2 else 0.0
        found[name] = {
            "slope_per_hour": round(slope, 3), "first": values[0], "last": values[-1],
            "least": float(values.min()), "most": float(values.max()),
        }  # fmt: skip
    # Memory follows how many cameras run; what is never given back lifts the least of it, too.
    floors: dict[int, float] = {}
    for one in late:
        part = int(one["t"] // FLOOR_S)
        floors[part] = min(floors.get(part, one["rss_mb"]), one["rss_mb"])
    found["rss_floors_mb"] = list(floors.values())
    rise = np.polyfit(np.array(list(floors)) * FLOOR_S / 3600, found["rss_floors_mb"], 1)
    found["rss_floor_slope_per_hour"] = round(float(rise[0]), 3) if len(floors) > 2 else 0.0
    span = samples[-1]["t"] - samples[0]["t"]
    found["results_per_s"] = round((samples[-1]["results"] - samples[0]["results"]) / span, 2)
    found["cpu_share"] = round((samples[-1]["cpu_s"] - samples[0]["cpu_s"]) / span, 3)
    found["latency_p95_ms"] = float(np.median([s["latency_p95_ms"] for s in late]))
    return found


def _rows(content: dict[str, Any]) -> list[list[str]]:
    done, memory = content["done"], content["rss_mb"]

    def an_hour(name: str) -> str:
        return f"{content[name]['slope_per_hour']:+.2f}"

    return [
        ["memory, MB", f"{memory['least']:.0f} - {memory['most']:.0f}"],
        ["memory, MB/h", an_hour("rss_mb")],
        ["least of ten minutes, MB/h", f"{content['rss_floor_slope_per_hour']:+.2f}"],
        ["threads/h", an_hour("threads")],
        ["descriptors/h", an_hour("descriptors")],
        ["cameras lost", str(done["cameras"])],
        ["broker restarts", str(done["broker"])],
        ["disk full", str(done["disk"])],
        ["events acknowledged", str(content["events_in_jsonl"])],
        ["in the history", str(content["events_in_history"])],
        ["results/s", f"{content['results_per_s']:.1f}"],
        ["latency p95, ms", f"{content['latency_p95_ms']:.0f}"],
        ["cores", f"{content['cpu_share']:.2f}"],
        ["start, s", f"{content['start_s']:.2f}"],
        ["stop, s", f"{content['stop_s']:.2f}"],
        ["exit code", str(content["exit_code"])],
    ]


def main(argv: Sequence[str]) -> int:
    """Read the flags, run, print the report."""
    return run_main(argv, "serve_soak", __doc__, SoakOptions, run)


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
