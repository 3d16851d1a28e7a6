"""YOWOv2 around its network, in NumPy and OpenCV: the queue of frames, and cells to boxes.

What its repository does in torch and Pillow, done as fast as seems possible here, so that the
network decides: only the newest frame is resized (bilinear; its own bicubic costs more), the queue
hands out a view, only cells whose confidence alone can reach the threshold are looked at, and the
suppression of doubles is OpenCV's.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

# Its demo's values: overlap at which the weaker box goes, and the most candidates of a level.
NMS_IOU = 0.5
TOP_K = 40


class ClipQueue:
    """The newest frames as the network takes them: RGB, 0 to 255, a square."""

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
        ends = np.cumsum([len(level) for level in centres])
        return Grid(
            centre=np.concatenate(centres),
            stride=np.concatenate(widths),
            ends=tuple(int(end) for end in ends),
            size=size,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """What was found.

    Attributes:
        xyxy: (K, 4) pixels of the frame.
        score: (K,) square root of confidence times class probability.
        label: (K,) class.
        candidates: How many pairs of cell and class stood above the threshold before doubles went.
    """

    xyxy: Floats
    score: Floats
    label: npt.NDArray[np.int64]
    candidates: int


def scores(conf: Floats, classes: Floats) -> Floats:
    """Return the score (M, C) of each cell and class from logits (M,) and (M, C)."""
    product: Floats = np.sqrt(_sigmoid(conf)[:, None] * _sigmoid(classes))
    return product


def decode_cells(
    conf: Floats,
    classes: Floats,
    box: Floats,
    *,
    grid: Grid,
    threshold: float,
    size_wh: tuple[int, int],
    nms_iou: float = NMS_IOU,
    top_k: int = TOP_K,
) -> Boxes:
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
    centre = grid.centre[cell] + box[cell, :2] * stride
    size = np.exp(box[cell, 2:]) * stride
    corner = centre - 0.5 * size
    best: npt.NDArray[np.int64] = np.zeros(0, np.int64)
    if len(score):
        xywh = np.concatenate([corner, size], axis=1)
        kept = cv2.dnn.NMSBoxesBatched(
            xywh.tolist(), score.tolist(), label.tolist(), threshold, nms_iou
        )
        best = np.asarray(kept, np.int64).ravel()
    xyxy = np.concatenate([corner[best], (corner + size)[best]], axis=1)
    scale = np.array(size_wh * 2, np.float32)
    xyxy = np.clip(xyxy / grid.size, 0.0, 1.0) * scale
    return Boxes(
        xyxy=xyxy.astype(np.float32, copy=False),
        score=score[best],
        label=label[best],
        candidates=len(score),
    )


def _best_of_levels(
    cell: npt.NDArray[np.int64], score: Floats, ends: tuple[int, ...], top_k: int
) -> npt.NDArray[np.int64]:
    """Return the indices of at most `top_k` candidates of each level, the best ones."""
    if len(cell) <= top_k:
        return np.arange(len(cell))
    kept, start = [], 0
    for bound in np.searchsorted(cell, ends):
        level = np.arange(start, bound)
        if len(level) > top_k:
            level = level[np.argpartition(-score[level], top_k)[:top_k]]
        kept.append(level)
        start = int(bound)
    return np.concatenate(kept)


def _sigmoid(logits: Floats) -> Floats:
    with np.errstate(over="ignore"):  # one over infinity is the zero it should be
        found: Floats = np.reciprocal(np.float32(1.0) + np.exp(-logits))
    return found
