"""Decoded frames in, detections out: the two ways that are compared, as a device would run them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from benchmarks._engines.base import Floats, Run
from benchmarks._rivals.cells import ClipQueue, Grid, Image, decode_cells, scores
from runtime.bundle import Bundle
from runtime.bundle_spec import BUNDLE_FILE
from runtime.errors import DecodeError
from runtime.results import KeyframeResult
from runtime.runner import ClipRunner

STAGES = ("preprocess", "network", "decode")
# Results from which a threshold is taken: what stands above it changes a little from clip to clip.
_TRIAL_RESULTS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One result and its times.

    Attributes:
        total_ms: From asking for the result to having it; the decoded frames are there.
        stages_ms: Time of each of `STAGES`; what is missing to the total is bookkeeping.
        candidates: What stood above the threshold.
        found: Detections: the candidates, less doubles where a method removes them.
    """

    total_ms: float
    stages_ms: dict[str, float]
    candidates: int
    found: int


class Pipeline(Protocol):
    """One way from frames to detections."""

    def all_scores(self) -> Iterator[Floats]:
        """Yield the scores of all that could become a detection, clip by clip, without end."""

    def set_threshold(self, threshold: float) -> None:
        """Report what is above it from now on."""

    def results(self) -> Iterator[Result]:
        """Yield results without end."""


class FrameCapture:
    """Decoded frames in memory, over and over, as `cv2.VideoCapture` would give a file's."""

    def __init__(self, frames: Image, fps: float) -> None:
        """Take frames (F, H, W, 3), blue first, of a video at `fps`."""
        self._frames, self._fps, self._at = frames, fps, -1

    def grab(self) -> bool:
        """Go to the next frame."""
        self._at += 1
        return True

    def retrieve(self) -> tuple[bool, Image]:
        """Return the frame."""
        return True, self._frames[self._at % len(self._frames)]

    def get(self, prop: int, /) -> float:
        """Return the rate, and the time of the frame."""
        if prop == cv2.CAP_PROP_FPS:
            return self._fps
        return self._at / self._fps * 1e3 if prop == cv2.CAP_PROP_POS_MSEC else 0.0

    def release(self) -> None:
        """Do nothing: the frames are not its own."""


class Ours:
    """A bundle through the runtime that ships: `ClipRunner`, with its threads and bookkeeping."""

    def __init__(self, bundle: Path, frames: Image, *, new_frames: int, threads: int) -> None:
        """Load the bundle.

        Args:
            bundle: Its folder, with one artifact.
            frames: Decoded frames (F, H, W, 3), each of them a sample of the clip.
            new_frames: Samples from one result to the next.
            threads: Threads of the engine.
        """
        with Bundle.load(bundle) as opened:
            self._clip = opened.spec.clip
        self._bundle, self._frames, self._threads = bundle, frames, threads
        self._stride = new_frames * self._clip.sampling_rate
        self._threshold = 0.0

    def all_scores(self) -> Iterator[Floats]:
        """Yield the actor scores of all tokens, clip by clip."""
        for result in self._stream(0.0):
            yield result.detections.actor

    def set_threshold(self, threshold: float) -> None:
        """Report tokens whose actor score is above it from now on."""
        self._threshold = threshold

    def results(self) -> Iterator[Result]:
        """Yield results without end."""
        stream = self._stream(self._threshold)
        try:
            while True:
                start = time.perf_counter()
                result = next(stream)
                total_ms = (time.perf_counter() - start) * 1e3
                spent, found = result.timings, len(result.detections.actor)
                stages = (spent.preprocess_ms, spent.inference_ms, spent.decode_ms)
                yield Result(
                    total_ms=total_ms,
                    stages_ms=dict(zip(STAGES, stages, strict=True)),
                    candidates=found,
                    found=found,
                )
        finally:
            stream.close()

    def _stream(self, conf: float) -> Generator[KeyframeResult, None, None]:
        capture = FrameCapture(self._frames, self._clip.fps / self._clip.sampling_rate)
        with ClipRunner(
            self._bundle, conf=conf, stride=self._stride, num_threads=self._threads
        ) as runner:
            # The runtime looks whether the file exists; the capture is the one in memory.
            yield from runner.stream(self._bundle / BUNDLE_FILE, opener=lambda uri, config: capture)


class YOWOv2:
    """YOWOv2-Nano in an engine: queue, network, cells to boxes."""

    def __init__(
        self,
        run: Run,
        frames: Image,
        *,
        new_frames: int,
        num_frames: int,
        size: int,
        strides: tuple[int, ...],
    ) -> None:
        """Set up.

        Args:
            run: The network, loaded.
            frames: Decoded frames (F, H, W, 3), each of them a sample of the clip.
            new_frames: Samples from one result to the next.
            num_frames: Frames of a clip.
            size: Side of the network's input, pixels.
            strides: Of its levels, pixels.
        """
        self._run, self._frames, self._new_frames = run, frames, new_frames
        self._source = itertools.cycle(frames)
        self._queue = ClipQueue(num_frames, size)
        self._grid = Grid.of(size, strides)
        self._threshold = 0.5

    def all_scores(self) -> Iterator[Floats]:
        """Yield the scores of all cells and classes, clip by clip."""
        while True:
            conf, classes, _ = self._network(self._fill())
            yield scores(conf, classes).ravel()

    def set_threshold(self, threshold: float) -> None:
        """Report cells and classes above it from now on."""
        self._threshold = threshold

    def results(self) -> Iterator[Result]:
        """Yield results without end."""
        size_wh = (self._frames.shape[2], self._frames.shape[1])
        while True:
            start = time.perf_counter()
            clip = self._fill()
            filled = time.perf_counter()
            conf, classes, box = self._network(clip)
            ran = time.perf_counter()
            boxes = decode_cells(
                conf, classes, box, grid=self._grid, threshold=self._threshold, size_wh=size_wh
            )
            done = time.perf_counter()
            times = (filled - start, ran - filled, done - ran)
            yield Result(
                total_ms=(done - start) * 1e3,
                stages_ms={name: s * 1e3 for name, s in zip(STAGES, times, strict=True)},
                candidates=boxes.candidates,
                found=len(boxes.score),
            )

    def _fill(self) -> Floats:
        for _ in range(self._new_frames):
            self._queue.push(next(self._source))
        return self._queue.clip()

    def _network(self, clip: Floats) -> tuple[Floats, Floats, Floats]:
        conf, classes, box = self._run(clip)
        return conf[0], classes[0], box[0]


def fix_candidates(pipeline: Pipeline, count: int) -> dict[str, float]:
    """Set a pipeline's threshold so that about `count` candidates, or some more, stand above it.

    Weights are random here, so any other threshold would let through none, or hundreds.

    Returns:
        The threshold; medians of candidates and detections with it.

    Raises:
        DecodeError: Scores are not finite.
    """
    bounds = []
    for found in itertools.islice(pipeline.all_scores(), _TRIAL_RESULTS):
        ordered = np.sort(found)[::-1]
        bounds.append(float(ordered[min(count, len(ordered)) - 1]))
    # Just below the last one wanted: scores of an int8 network are often equal.
    middle = np.quantile(bounds, 0.5, method="lower")
    if not np.isfinite(middle):
        raise DecodeError(f"the scores of a network are {middle}, expected probabilities")
    bound = np.float32(np.clip(middle, 1e-6, 1.0 - 1e-6))
    threshold = float(np.nextafter(bound, np.float32(0.0)))
    pipeline.set_threshold(threshold)
    after = list(itertools.islice(pipeline.results(), _TRIAL_RESULTS))
    return {
        "threshold": threshold,
        "candidates": float(np.median([result.candidates for result in after])),
        "detections": float(np.median([result.found for result in after])),
    }
