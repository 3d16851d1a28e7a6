"""Python and edge_runner give the same results on the same files."""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.errors import CaptureError
from runtime.results import Event
from runtime.runner import ClipRunner
from runtime.sources import Frame, Gap, SourceConfig, open_source

films = pytest.importorskip("tests.runtime.sources.films", reason="PyAV is not installed")
_native = pytest.importorskip("runtime._native", reason="the native runtime is not built here")
RUNNER = Path(
    os.environ.get("EDGE_RUNNER", Path(_native.__file__).with_name("bin") / "edge_runner")
)

pytestmark = pytest.mark.skipif(
    not RUNNER.is_file(), reason="edge_runner is not built (tools/build_native.sh)"
)


def steady(fps: float) -> Callable[[int], float]:
    return lambda index: index / fps


def jitter(index: int) -> float:
    return index / 30 + 0.012 * math.sin(5.0 * index)


def slowing(index: int) -> float:
    return index / 30 * (1 + index / 60)


def bursts(index: int) -> float:
    return index // 3 / 10 + index % 3 * 0.01


def pauses(index: int) -> float:
    return index / 30 + 0.8 * (index // 25)


def one_late(index: int) -> float:
    return index / 30 + (0.03 if index == 20 else 0.0)


def missing(index: int) -> float:
    return (index + index // 7) / 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """A file that the test draws."""

    stamp: Callable[[int], float]
    count: int = 60
    size_wh: tuple[int, int] = (96, 80)
    name: str = "film.mp4"
    stride: int | None = None


# The tiny bundle wants 4 samples, each 2 frames at 30 fps: 0.2 s.
FILMS = {
    "30 fps": Film(stamp=steady(30)),
    "25 fps": Film(stamp=steady(25)),
    "29.97 fps": Film(stamp=steady(29.97)),
    "24 fps in Matroska": Film(stamp=steady(24), name="film.mkv"),
    "60 fps": Film(stamp=steady(60), count=90),
    "12.5 fps": Film(stamp=steady(12.5), count=40),
    "5 fps, slower than the clip": Film(stamp=steady(5), count=30),
    "1.9 fps, every frame a gap": Film(stamp=steady(1.9), count=8),
    "jitter": Film(stamp=jitter),
    "ever slower": Film(stamp=slowing),
    "bursts": Film(stamp=bursts),
    "pauses": Film(stamp=pauses, count=80),
    "one late frame": Film(stamp=one_late),
    "lost frames": Film(stamp=missing),
    "wide": Film(stamp=steady(30), size_wh=(320, 82)),
    "tall": Film(stamp=steady(30), size_wh=(66, 240)),
    "every sample": Film(stamp=jitter, stride=2),
    "a stride that is rounded": Film(stamp=steady(30), stride=3),
    "seldom": Film(stamp=steady(30), stride=30),
    "too short": Film(stamp=steady(30), count=4),
}


def timed_frames(path: Path) -> tuple[bytes, tuple[int, int]]:
    """Return a file's frames as edge_runner takes them: time, then pixels."""
    content, size_wh = [], (0, 0)
    with open_source(path, SourceConfig(keep_all=True)) as source:
        while (item := source.read()) is not None:
            assert isinstance(item, Frame | Gap)
            if isinstance(item, Frame):
                content.append(struct.pack("=d", item.t) + item.image_bgr.tobytes())
                size_wh = (item.image_bgr.shape[1], item.image_bgr.shape[0])
    return b"".join(content), size_wh


def of_python(bundle: Path, path: Path, stride: int | None) -> list[dict[str, Any]] | None:
    """Return the lines of results and gaps, the latter without their words."""
    lines: list[dict[str, Any]] = []

    def note(event: Event) -> None:
        if event.kind == "gap":
            lines.append({"event": "gap", "t": event.to_dict()["t"]})

    with ClipRunner(bundle, conf=0.3, action_conf=0.4, stride=stride, num_threads=1) as runner:
        try:
            for result in runner.stream(path, on_event=note):
                lines.append(result.to_dict())
            return lines
        except CaptureError:
            return None


def of_edge_runner(bundle: Path, path: Path, stride: int | None) -> list[dict[str, Any]] | None:
    frames, (width, height) = timed_frames(path)
    flags = ["--conf", "0.3", "--action-conf", "0.4", "--threads", "1"]
    flags += [] if stride is None else ["--stride", str(stride)]
    done = subprocess.run(
        [RUNNER, "--model", bundle, "--raw", f"{width}x{height}", *flags],
        input=frames, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    said = done.stderr.decode()
    assert ("--stride 3 rounded up to 4" in said) == (stride == 3), said
    if done.returncode != 0:
        assert "the first clip needs" in said
        return None
    lines = [json.loads(line) for line in done.stdout.decode().splitlines()]
    for line in lines:
        assert bool(line.pop("message", "")) == ("event" in line)
    return lines


@pytest.mark.parametrize("name", FILMS)
def test_both_front_ends_give_the_same_results(name: str, make_bundle: Any, tmp_path: Path) -> None:
    film, bundle = FILMS[name], make_bundle()
    noise = np.random.default_rng(0).integers(0, 256, (film.count, 10, 8, 3), np.uint8)
    width, height = film.size_wh
    frames = (np.resize(one.repeat(30, 0).repeat(42, 1), (height, width, 3)) for one in noise)
    path = films.write_film(
        tmp_path / film.name, count=film.count, size_wh=film.size_wh, stamp=film.stamp,
        frames=frames,
    )  # fmt: skip
    expected = of_python(bundle, path, film.stride)
    found = of_edge_runner(bundle, path, film.stride)
    for one in [*(expected or []), *(found or [])]:
        assert "event" in one or one.pop("latency_ms") > 0
    assert found == expected
    assert (expected is None) == (name in ("too short", "1.9 fps, every frame a gap"))
