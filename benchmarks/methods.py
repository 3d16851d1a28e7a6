"""Decoded frames in, detections out: this project's models beside another method.

`python -m benchmarks.methods` runs `nano` and `pico` through the runtime that ships, the first of
them in ONNX Runtime and OpenVINO too, and YOWOv2-Nano (written anew, random weights) in ONNX
Runtime, OpenVINO and torch, each in a process of its own, in interleaved rounds with the same
frames and the same number of threads. Each result
costs bringing the new frames into the clip, the network, and turning its outputs into detections.

`python -m benchmarks.methods --table 1|2|3` trains instead: the tables of the paper on JHMDB-21 at
mobile size, each row on the same kept features and budget (`--table 2 --help` for its flags). A row
that is done is kept, and a second call goes on with the others.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmarks._engines import ENGINES, INT8, OURS, artifact
from benchmarks._harness import Job, Key, Measured, measure, ratio, told
from benchmarks._main import run_main
from benchmarks.engines import EngineOptions, make_networks
from runtime.errors import ConfigError
from runtime.options import check_options, guarded, option
from runtime.report import command_of, write_report

if TYPE_CHECKING:
    from benchmarks._networks import Network

PEER = "YOWOv2-Nano"
RUNTIMES = ("onnxruntime", "openvino")
_FRAMES = 32
_HEADER = ("method", "engine", "preprocess", "network", "decode", "total", "p95", "clips/s",
           "first int8 / this", "peak")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodOptions:
    """What to measure, and how. Attributes are the flags; see their help."""

    variants: tuple[str, ...] = option(
        ("nano", "pico"), "our networks, with random weights, or checkpoints (.pt)"
    )
    new_frames: int = option(1, "new sampled frames for each result, for every method", least=1)
    size: tuple[int, int] = option((640, 480), "width and height of the decoded frames, pixels")
    candidates: int = option(20, "candidates above the threshold, for every method", least=1)
    threads: int = option(2, "threads of each engine", least=1)
    rounds: int = option(10, "turns of each method", least=1)
    turn_ms: float = option(400.0, "length of a turn, milliseconds; at least five results", above=0)
    calib_data: str | None = option(
        None, "videos for int8 ranges; else the reference data, else a drawn video", metavar="PATH"
    )
    calib_clips: int = option(32, "clips for int8 ranges", least=1)
    out: str = option("runs/bench", "folder for methods.json, methods.md and the artifacts")
    verbose: bool = option(False, "log what is done, and show tracebacks")

    def __post_init__(self) -> None:
        check_options(self)
        if len(self.size) != 2 or min(self.size) < 1:
            raise ConfigError(f"size is {self.size}, expected width and height in pixels")


def run(options: MethodOptions) -> str:
    """Build what is not built yet, measure, write both files; return the Markdown.

    Raises:
        ConfigError: A variant is unknown.
        CalibrationError: The videos give no clip.
    """
    load_before = os.getloadavg()[0]
    asked = {name: getattr(options, name) for name in ("variants", "calib_data", "calib_clips")}
    ours = make_networks(EngineOptions(out=options.out, **asked))
    peer = peer_network(options)
    found, absent = compare(ours, peer, options)
    gflop = {network.name: network.gflop for network in [*ours, peer]}
    width, height = options.size
    return write_report(
        Path(options.out), "methods", title="Decoded frames in, detections out",
        command=command_of("python -m benchmarks.methods", options),
        table=table(found, absent, gflop),
        notes=[
            f"Per result: {options.new_frames} new decoded {width}x{height} frames in, detections "
            "in pixels out; older frames stay in the clip. Decoding the video is outside. Ours is "
            "the runtime that ships (`ClipRunner` on a bundle). YOWOv2 is its bare loop: resize of "
            "the newest frame, a queue of 16, network, threshold, boxes, NMS. Our network in other "
            "engines stands between the runtime's own preprocess and decode, and computes whole "
            "clips: what overlapping clips share is computed once by our runtime alone.",
            "",
            *_published(peer),
            "",
            "Weights are random but for networks given as checkpoints: the threshold of each lets "
            f"about {options.candidates} candidates through.",
            "",
            *(f"- {method}, {engine}: {why}" for (method, engine), why in absent.items()),
            "",
            *best_peer(found),
            "",
            f"{options.threads} threads; {options.rounds} interleaved rounds of "
            f"{options.turn_ms:.0f} ms; int8 ranges from {peer.clips.origin}; load average before "
            f"the run {load_before:.2f} (above about 0.3 other work ran on the machine).",
            "",
        ],
        content={
            "threads": options.threads, "rounds": options.rounds,
            "new_frames": options.new_frames, "size_wh": list(options.size),
            "load_average_before": load_before,
            "rows": [{"method": key[0], "engine": key[1], "median_ms": taken.median_ms,
                      "p95_ms": taken.p95_ms, **dataclasses.asdict(taken)}
                     for key, taken in found.items()],
        },
    )  # fmt: skip


def peer_network(options: MethodOptions) -> Network:
    """Return YOWOv2-Nano with its clips: those of `nano`, in its own form.

    Clips are (1, 16, 3, 224, 224), values 0 to 255, one frame of the video each.
    """
    import torch

    from benchmarks._networks import CLASSES, SEED, Clips, Network, load_clips
    from benchmarks._yowov2 import NUM_FRAMES, SIZE, random_yowov2
    from edge.model.bmvit import with_overrides
    from edge.model.variants import variant_config

    config = with_overrides(
        variant_config("nano"), num_frames=NUM_FRAMES, sampling_rate=1, height=SIZE, width=SIZE
    )
    calib_data = Path(options.calib_data) if options.calib_data else None
    read = load_clips(
        config, calib_data=calib_data, count=options.calib_clips, out=Path(options.out), held_out=1
    )
    mean, std = (np.array(v, np.float32).reshape(3, 1, 1) for v in (config.mean, config.std))
    raw = [np.rint((clip * std + mean) * 255.0).astype(np.float32)
           for clip in (*read.held_out, *read.calibration)]  # fmt: skip
    clips = Clips(
        calibration=tuple(raw[1:]), held_out=(raw[0],), videos=read.videos, origin=read.origin
    )
    return Network(PEER, random_yowov2(CLASSES, [torch.from_numpy(c) for c in raw[1:]], seed=SEED),
                   clips)  # fmt: skip


def compare(
    ours: Sequence[Network], peer: Network, options: MethodOptions
) -> tuple[dict[Key, Measured], dict[Key, str]]:
    """Measure our networks and the peer in every engine that is here, and say which is not."""
    own = [(n, e) for n in ours for e in ENGINES if e.family == OURS]
    # Of the same network the best that others have for it: int8, as ours.
    same = [(ours[0], e) for e in ENGINES if e.family in RUNTIMES and e.precision != "fp32"]
    plan = own + same + [(peer, e) for e in ENGINES if e.family != OURS]
    absent: dict[Key, str] = {}
    jobs: list[Job] = []
    with tempfile.TemporaryDirectory(prefix="bmvit-methods-") as folder:
        frames = Path(folder) / "frames.npy"
        np.save(frames, decoded_frames(options.size))
        for network, engine in plan:
            made = artifact(network, engine, Path(options.out) / "artifacts")
            key = (network.name, engine.name)
            if isinstance(made, str):
                absent[key] = made
                continue
            jobs.append(Job(key=key, content={
                "kind": "pipeline", "engine": engine.name, "path": str(made.resolve()),
                "network": None if engine.family == OURS else shape_of(network),
                "frames": str(frames), "new_frames": options.new_frames,
                "candidates": options.candidates,
            }))  # fmt: skip
        found = measure(
            jobs, threads=options.threads, rounds=options.rounds, turn_ms=options.turn_ms
        )
    absent |= {key: taken.failure for key, taken in found.items() if taken.failure}
    return {key: taken for key, taken in found.items() if not taken.failure}, absent


def shape_of(network: Network) -> dict[str, Any]:
    """Return what a pipeline needs to know of a network that our runtime does not run."""
    from benchmarks._yowov2 import STRIDES

    config = network.config
    if config is not None:
        return {"num_frames": config.num_frames, "height": config.height, "width": config.width,
                "mean": config.mean, "std": config.std}  # fmt: skip
    _, num_frames, _, size, _ = network.clips.held_out[0].shape
    return {"num_frames": num_frames, "size": size, "strides": STRIDES}


def decoded_frames(size_wh: tuple[int, int], count: int = _FRAMES) -> npt.NDArray[np.uint8]:
    """Return drawn frames (count, H, W, 3) as a decoder would give them; times ask for no more."""
    import cv2

    from edge.data.demo_clip import render_frame

    frames = [render_frame(0.15 * i) for i in range(count)]
    return np.stack([cv2.resize(f, size_wh, interpolation=cv2.INTER_LINEAR) for f in frames])


def table(
    found: Mapping[Key, Measured], absent: Mapping[Key, str], gflop: Mapping[str, float]
) -> list[list[str]]:
    """Return the main table, its header first."""
    first = next((taken for (_, engine), taken in found.items() if engine == INT8), None)
    lines = [list(_HEADER)]
    for (method, engine), taken in found.items():
        lines.append([
            f"{method}, {gflop[method]:.2f} GFLOP", engine,
            *(f"{taken.stage_ms(name):.2f} ms" for name in ("preprocess", "network", "decode")),
            f"{taken.median_ms:.2f} ms", f"{taken.p95_ms:.2f} ms", f"{1e3 / taken.median_ms:.0f}",
            told(None if first is None or first is taken else ratio(first, taken)),
            f"{taken.peak_mb:.0f} MB",
        ])  # fmt: skip
    for method, engine in absent:
        lines.append([method, engine, "not measured", *["-"] * (len(_HEADER) - 3)])
    return lines


def best_peer(found: Mapping[Key, Measured]) -> list[str]:
    """Return a line with our first network over the peer in the engine where it comes closest.

    By the ratio and not by the time: rounds are compared in pairs, so that drift cancels.
    """
    own = next(((key[0], taken) for key, taken in found.items() if key[1] == INT8), None)
    peers = [] if own is None else [
        (ratio(own[1], taken), key[1]) for key, taken in found.items() if key[0] == PEER
    ]  # fmt: skip
    if own is None or not peers:
        return []
    best, engine = max(peers)
    return [f"- {own[0]} int8 / {PEER} in its best engine ({engine}): {best:.2f}"]


def _published(peer: Network) -> list[str]:
    from benchmarks import _yowov2
    from edge.model.complexity import count

    classes = _yowov2.PUBLISHED_CLASSES
    shape = (1, _yowov2.NUM_FRAMES, 3, _yowov2.SIZE, _yowov2.SIZE)
    whole = count(_yowov2.YOWOv2Nano(classes), shape)
    return [
        f"{PEER} is written anew from its description: {whole.params / 1e6:.2f} M parameters "
        f"({_yowov2.PUBLISHED_MPARAMS} published) and {whole.macs / 1e9:.2f} G multiply-adds with "
        f"{classes} classes ({_yowov2.PUBLISHED_GMAC} published, norms and poolings counted too), "
        f"{peer.gflop:.2f} GFLOP with the classes measured here."
    ]


def main(argv: Sequence[str]) -> int:
    """Read the flags, run, print the report."""
    if any(word.split("=")[0] == "--table" for word in argv):
        from benchmarks import _method_tables as tables
        from benchmarks._method_options import TableOptions

        return run_main(argv, "methods", tables.__doc__, TableOptions, tables.run)
    return run_main(argv, "methods", __doc__, MethodOptions, run)


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
