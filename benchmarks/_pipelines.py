"""From decoded frames to detections: the runtime that ships, and YOWOv2's bare loop.

YOWOv2's queue and decoding are what its repository does in torch and Pillow, as fast as NumPy and
OpenCV allow, so that the network decides: only the newest frame is resized, the queue hands out a
view, only cells whose confidence alone can reach the threshold are looked at, NMS is OpenCV's.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks._engines import Floats, Run, engine_named, load
from benchmarks._loop import STAGES, Elsewhere, Image, Loop, Outputs, Result
from runtime.bundle import Bundle
from runtime.bundle_spec import BUNDLE_FILE
from runtime.errors import DecodeError
from runtime.runner import ClipRunner

Indices = npt.NDArray[np.int64]

# Values of YOWOv2's demo: overlap at which the weaker box goes, most candidates of a level.
NMS_IOU = 0.5
TOP_K = 40
# Results from which a threshold is taken.
_TRIAL_RESULTS = 16


class Method(Protocol):
    """One way from frames to detections.

    Attributes:
        threshold: Scores above it are reported.
    """

    threshold: float

    def all_scores(self) -> Iterator[Floats]:
        """Yield the scores of all that could become a detection, clip by clip, without end."""

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
    """A program of a bundle through the runtime that ships: `ClipRunner`, threads and all."""

    def __init__(self, program: Path, frames: Image, *, new_frames: int, threads: int) -> None:
        """Take a bundle's program, decoded frames (F, H, W, 3), and samples between results."""
        self._program, self._frames, self._threads = program, frames, threads
        with Bundle.load(program.parent) as opened:
            self._clip = opened.spec.clip
        self._stride = new_frames * self._clip.sampling_rate
        self.threshold = 0.0

    def all_scores(self) -> Iterator[Floats]:
        """Yield the actor scores of all tokens, clip by clip."""
        for result in self._stream(0.0):
            yield result.detections.actor

    def results(self) -> Iterator[Result]:
        """Yield results without end."""
        with closing(self._stream(self.threshold)) as stream:
            while True:
                start = time.perf_counter()
                result = next(stream)
                total_ms = (time.perf_counter() - start) * 1e3
                spent, found = result.timings, len(result.detections.actor)
                times = (spent.preprocess_ms, spent.inference_ms, spent.decode_ms)
                yield Result(total_ms=total_ms, stages_ms=dict(zip(STAGES, times, strict=True)),
                             candidates=found, found=found)  # fmt: skip

    def _stream(self, conf: float) -> Any:
        capture = FrameCapture(self._frames, self._clip.fps / self._clip.sampling_rate)
        folder, name = self._program.parent, self._program.stem
        with ClipRunner(
            folder, artifact=name, conf=conf, stride=self._stride, num_threads=self._threads
        ) as runner:
            # The runtime looks whether the file exists; the capture is the one in memory.
            yield from runner.stream(folder / BUNDLE_FILE, opener=lambda uri, config: capture)


class ClipQueue:
    """The newest frames as YOWOv2 takes them: RGB, 0 to 255, a square."""

    def __init__(self, num_frames: int, size: int) -> None:
        """Start with black frames."""
        # Every frame lies at two places, so that the newest ones are one block without moving any.
        self._ring = np.zeros((2 * num_frames, 3, size, size), np.float32)
        self._num_frames, self._size, self._next = num_frames, size, 0

    def push(self, frame: Image) -> None:
        """Put a decoded frame (H, W, 3), blue first, in the place of the oldest."""
        small = cv2.resize(frame, (self._size, self._size), interpolation=cv2.INTER_LINEAR)
        place = self._ring[self._next]
        for channel, plane in enumerate(reversed(cv2.split(small))):
            place[channel] = plane
        self._ring[self._next + self._num_frames] = place
        self._next = (self._next + 1) % self._num_frames

    def clip(self) -> Floats:
        """Return the clip (1, T, 3, S, S), oldest frame first; a view."""
        return self._ring[self._next : self._next + self._num_frames][None]


class YOWOv2(Loop):
    """YOWOv2-Nano in an engine: queue, network, cells to boxes."""

    def __init__(
        self, run: Run, frames: Image, *, new_frames: int, num_frames: int, size: int,
        strides: tuple[int, ...],
    ) -> None:  # fmt: skip
        """Take the loaded network, decoded frames (F, H, W, 3), and the network's shape."""
        super().__init__(run, frames, ClipQueue(num_frames, size), new_frames=new_frames)
        self._grid = Grid.of(size, strides)
        self.threshold = 0.5

    def all_scores(self) -> Iterator[Floats]:
        """Yield the scores of all cells and classes, clip by clip."""
        while True:
            conf, classes, _ = self._network(self._fill())
            yield scores(conf, classes).ravel()

    def _network(self, clip: Floats) -> Outputs:
        conf, classes, box = self._run(clip)
        return conf[0], classes[0], box[0]

    def _decode(self, outputs: Outputs) -> tuple[int, int]:
        boxes = decode_cells(
            *outputs, grid=self._grid, threshold=self.threshold, size_wh=self._size_wh
        )
        return boxes.candidates, len(boxes.score)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The cells of all levels, in the order of the network's outputs.

    Attributes:
        centre: (M, 2) x, y in pixels of the network's input.
        stride: (M, 1) of each cell, pixels.
        ends: Index behind the last cell of each level.
        size: Side of the network's input, pixels.
    """

    centre: Floats
    stride: Floats
    ends: tuple[int, ...]
    size: int

    @staticmethod
    def of(size: int, strides: tuple[int, ...]) -> Grid:
        """Lay out the cells of a square input."""
        centres, widths = [], []
        for stride in strides:
            steps = (np.arange(size // stride, dtype=np.float32) + 0.5) * stride
            x, y = np.meshgrid(steps, steps)
            centres.append(np.stack([x.ravel(), y.ravel()], axis=1))
            widths.append(np.full((steps.size**2, 1), stride, np.float32))
        ends = tuple(int(end) for end in np.cumsum([len(level) for level in centres]))
        return Grid(
            centre=np.concatenate(centres), stride=np.concatenate(widths), ends=ends, size=size
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """What was found.

    Attributes:
        xyxy: (K, 4) pixels of the frame.
        score: (K,) square root of confidence times class probability.
        label: (K,) class.
        candidates: How many pairs of cell and class stood above the threshold before NMS.
    """

    xyxy: Floats
    score: Floats
    label: Indices
    candidates: int


def scores(conf: Floats, classes: Floats) -> Floats:
    """Return the score (M, C) of each cell and class from logits (M,) and (M, C)."""
    with np.errstate(over="ignore"):  # one over infinity is the zero it should be
        product: Floats = np.reciprocal((1 + np.exp(-conf))[:, None] * (1 + np.exp(-classes)))
    return np.sqrt(product)


def decode_cells(
    conf: Floats, classes: Floats, box: Floats, *, grid: Grid, threshold: float,
    size_wh: tuple[int, int], nms_iou: float = NMS_IOU, top_k: int = TOP_K,
) -> Boxes:  # fmt: skip
    """Turn the network's outputs into boxes, one for each cell and class above a threshold.

    Args:
        conf: (M,) logits.
        classes: (M, C) logits.
        box: (M, 4) offsets, see `YOWOv2Nano.forward`.
        grid: The cells.
        threshold: On the score, in (0, 1).
        size_wh: Width and height of the frame, pixels.
        nms_iou: Of two boxes of one class that overlap by more, the one of lower score goes.
        top_k: Candidates kept at each level.
    """
    # The score is at most the root of the confidence: no other cell can reach the threshold.
    least = threshold * threshold
    cells = np.flatnonzero(conf > np.log(least / (1.0 - least)))
    found = scores(conf[cells], classes[cells])
    row, label = np.nonzero(found > threshold)
    score, cell = found[row, label], cells[row]
    keep = _best_of_levels(cell, score, grid.ends, top_k)
    score, cell, label = score[keep], cell[keep], label[keep]
    stride = grid.stride[cell]
    size = np.exp(box[cell, 2:]) * stride
    corner = grid.centre[cell] + box[cell, :2] * stride - 0.5 * size
    best: Indices = np.zeros(0, np.int64)
    if len(score):
        xywh = np.concatenate([corner, size], axis=1).tolist()
        kept = cv2.dnn.NMSBoxesBatched(xywh, score.tolist(), label.tolist(), threshold, nms_iou)
        best = np.asarray(kept, np.int64).ravel()
    xyxy = np.concatenate([corner[best], (corner + size)[best]], axis=1)
    xyxy = np.clip(xyxy / grid.size, 0.0, 1.0) * np.array(size_wh * 2, np.float32)
    return Boxes(xyxy=xyxy.astype(np.float32, copy=False), score=score[best], label=label[best],
                 candidates=len(score))  # fmt: skip


def _best_of_levels(cell: Indices, score: Floats, ends: tuple[int, ...], top_k: int) -> Indices:
    """Return the indices of at most `top_k` candidates of each level, the best ones."""
    kept, start = [], 0
    for bound in np.searchsorted(cell, ends):
        level = np.arange(start, bound)
        if len(level) > top_k:
            level = level[np.argpartition(-score[level], top_k)[:top_k]]
        kept.append(level)
        start = int(bound)
    return np.concatenate(kept)


def fix_candidates(method: Method, count: int) -> dict[str, Any]:
    """Set a method's threshold so that about `count` candidates, or some more, stand above it.

    Weights are random here, so any other threshold would let through none, or hundreds.

    Returns:
        The threshold; medians of candidates and detections with it.

    Raises:
        DecodeError: Scores are not finite.
    """
    bounds = []
    for found in itertools.islice(method.all_scores(), _TRIAL_RESULTS):
        ordered = np.sort(found)[::-1]
        bounds.append(float(ordered[min(count, len(ordered)) - 1]))
    # Just below the last one wanted: scores of an int8 network are often equal.
    middle = np.quantile(bounds, 0.5, method="lower")
    if not np.isfinite(middle):
        raise DecodeError(f"the scores of a network are {middle}, expected probabilities")
    bound = np.float32(np.clip(middle, 1e-6, 1.0 - 1e-6))
    method.threshold = float(np.nextafter(bound, np.float32(0.0)))
    after = list(itertools.islice(method.results(), _TRIAL_RESULTS))
    return {
        "threshold": method.threshold,
        "candidates": float(np.median([result.candidates for result in after])),
        "detections": float(np.median([result.found for result in after])),
    }


class Pipeline:
    """One method in one engine, for `benchmarks._worker`."""

    def __init__(self, job: dict[str, Any]) -> None:
        """Load it, and set its threshold."""
        threads, new_frames = int(job["threads"]), int(job["new_frames"])
        cv2.setNumThreads(threads)
        frames, path = np.load(job["frames"]), Path(job["path"])
        method: Method
        shape = job["network"]
        if shape is None:
            method = Ours(path, frames, new_frames=new_frames, threads=threads)
        else:
            run = load(path, engine_named(job["engine"]), threads)
            kind = YOWOv2 if "strides" in shape else Elsewhere
            method = kind(run, frames, new_frames=new_frames, **shape)
        self.facts = fix_candidates(method, int(job["candidates"]))
        self._results = method.results()

    def run(self) -> tuple[float, dict[str, float]]:
        """Take one result; return its time and that of each stage, milliseconds."""
        result = next(self._results)
        return result.total_ms, result.stages_ms
