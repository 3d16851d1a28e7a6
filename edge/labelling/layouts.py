"""What the numbers of a detector's ONNX file mean: three layouts, known by shapes and names.

* YOLOX: 1x3xHxW to 1xAx(5+C), A cells of strides 8, 16, 32; takes 0 - 255, BGR.
* FastestDet: 1x3xHxW to 1x(5+C)xHsxWs, a cell is a square of 16 px; takes 0 - 1, BGR.
* MoveNet MultiPose: 1x3xHxW to `center` 1x1xHqxWq, `box_scale` and `box_offset` 1x2xHqxWq (among
  others), a cell is a square of 4 px; takes 0 - 255, RGB, and the picture stretched to the input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.labelling.fuse import F32
from runtime.errors import ArtifactMismatchError

PAD = 114
YOLOX_STRIDES = (8, 16, 32)
FASTESTDET_STRIDE = 16
MOVENET_STRIDE = 4
# Its outputs may carry a number behind the name, and there are others: key points, features.
_MOVENET_OUTPUTS = (("center", 1), ("box_scale", 2), ("box_offset", 2))
# Decoded centres reach to the input's side; raw ones stay within a few cells of their own.
_RAW_REACH = 32.0
_KNOWN = (
    "; known are YOLOX (1x3xHxW to 1xAx(5+classes), A cells of strides 8, 16 and 32), "
    "FastestDet (1x3xHxW to 1x(5+classes)x(H/16)x(W/16)) and MoveNet MultiPose (1x3xHxW to "
    "center, box_scale and box_offset of (H/4)x(W/4)), of fixed sizes in float32, without NMS in "
    "the graph"
)

Decode = Callable[[Sequence[F32], int], tuple[F32, F32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a detector's numbers mean.

    Attributes:
        name: `yolox`, `fastestdet` or `movenet`.
        size_wh: Width and height of the input, px.
        num_classes: How many kinds of things it tells apart.
        outputs: Names of the outputs that `decode` takes.
        decode: Outputs and column of a class -> xyxy (N, 4) in px of the input, and scores (N,).
        scale: What pixels of 0 - 255 are multiplied by.
        rgb: Whether it takes RGB; else BGR.
        squash: Whether a picture is stretched to the input; else its aspect is kept.
    """

    name: str
    size_wh: tuple[int, int]
    num_classes: int
    outputs: tuple[str, ...]
    decode: Decode
    scale: float = 1.0
    rgb: bool = False
    squash: bool = False


def read_layout(path: Path, session: Any) -> Layout:
    """Recognise the layout by shapes and names, and raw YOLOX from decoded by one plain picture.

    Args:
        path: The file, for messages.
        session: ONNX Runtime's.

    Raises:
        ArtifactMismatchError: It is none of the known ones.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    came = (f"{path} takes {', '.join(str(one.shape) for one in inputs)} and gives "
            f"{', '.join(str(one.shape) for one in outputs)}")  # fmt: skip
    shape: list[object] = list(inputs[0].shape) if len(inputs) == 1 else []
    good = len(shape) == 4 and shape[1] == 3 and inputs[0].type == "tensor(float)"
    sides = [side for side in shape[2:] if isinstance(side, int) and side >= 32]
    if not good or len(sides) != 2:
        raise ArtifactMismatchError(came + _KNOWN)
    size_wh = (sides[1], sides[0])
    movenet = _movenet(outputs, size_wh)
    if movenet is not None:
        return movenet
    if len(outputs) != 1:
        raise ArtifactMismatchError(came + _KNOWN)
    grey = np.full((1, 3, size_wh[1], size_wh[0]), PAD, np.float32)
    try:
        (output,) = session.run(None, {inputs[0].name: grey})
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise ArtifactMismatchError(f"{came}, and does not run on one picture: {reason}") from error
    name = str(outputs[0].name)
    found = _yolox(np.asarray(output), size_wh, name) or _fastestdet(output, size_wh, name)
    if found is None:
        raise ArtifactMismatchError(came + _KNOWN)
    return found


def _yolox(output: F32, size_wh: tuple[int, int], name: str) -> Layout | None:
    cells = [(size_wh[1] // s, size_wh[0] // s) for s in YOLOX_STRIDES]
    if output.ndim != 3 or output.shape[:2] != (1, sum(h * w for h, w in cells)):
        return None
    if output.shape[2] <= 5:
        return None
    decoded = float(np.abs(output[0, :, :2]).max()) > _RAW_REACH
    grids, strides = [], []
    for (rows, columns), px in zip(cells, YOLOX_STRIDES, strict=True):
        y, x = np.mgrid[:rows, :columns]
        grids.append(np.stack([x, y], axis=-1).reshape(-1, 2))
        strides.append(np.full((rows * columns, 1), px))
    grid = np.concatenate(grids).astype(np.float32)
    stride = np.concatenate(strides).astype(np.float32)

    def decode(outputs: Sequence[F32], column: int) -> tuple[F32, F32]:
        rows = outputs[0][0]
        centre, size = rows[:, :2], rows[:, 2:4]
        if not decoded:
            centre = (centre + grid) * stride
            size = np.exp(np.minimum(size, 20.0)) * stride
        scores: F32 = rows[:, 4] * rows[:, 5 + column]
        return _corners(centre, size), scores

    return Layout(name="yolox", size_wh=size_wh, num_classes=output.shape[2] - 5, outputs=(name,),
                  decode=decode)  # fmt: skip


def _fastestdet(output: F32, size_wh: tuple[int, int], name: str) -> Layout | None:
    """Centres by tanh around their cell, sizes by a sigmoid as shares of the input."""
    grid = (size_wh[1] // FASTESTDET_STRIDE, size_wh[0] // FASTESTDET_STRIDE)
    if output.ndim != 4 or output.shape[0] != 1 or output.shape[2:] != grid or output.shape[1] <= 5:
        return None

    def decode(outputs: Sequence[F32], column: int) -> tuple[F32, F32]:
        planes = outputs[0][0].astype(np.float32)
        rows, columns = planes.shape[1:]
        y, x = np.mgrid[:rows, :columns]
        cx = (x + np.tanh(planes[1])) / columns * size_wh[0]
        cy = (y + np.tanh(planes[2])) / rows * size_wh[1]
        width = size_wh[0] / (1 + np.exp(-planes[3]))
        height = size_wh[1] / (1 + np.exp(-planes[4]))
        # The author's own mixture of "something is here" and "it is this".
        score = np.clip(planes[0], 0, 1) ** 0.6 * np.clip(planes[5 + column], 0, 1) ** 0.4
        xyxy = _corners(np.stack([cx, cy], axis=-1), np.stack([width, height], axis=-1))
        return xyxy.reshape(-1, 4), score.reshape(-1).astype(np.float32)

    return Layout(name="fastestdet", size_wh=size_wh, num_classes=output.shape[1] - 5,
                  outputs=(name,), decode=decode, scale=1.0 / 255.0)  # fmt: skip


def _movenet(outputs: Sequence[Any], size_wh: tuple[int, int]) -> Layout | None:
    """Peaks of a map of centres; sizes (height, width) and offsets (y, x) in cells."""
    grid = [size_wh[1] // MOVENET_STRIDE, size_wh[0] // MOVENET_STRIDE]
    names = []
    for name, planes in _MOVENET_OUTPUTS:
        fit = [one.name for one in outputs
               if one.name.startswith(name) and list(one.shape) == [1, planes, *grid]]  # fmt: skip
        if len(fit) != 1:
            return None
        names.append(str(fit[0]))

    def decode(outputs: Sequence[F32], column: int) -> tuple[F32, F32]:
        logits, sizes, offsets = (output[0] for output in outputs)
        # A peak is no less than its eight neighbours: people have one each, and few more.
        peaks = logits[0] >= cv2.dilate(logits[0], np.ones((3, 3), np.uint8))
        y, x = np.nonzero(peaks)
        centre = np.stack([x + offsets[1, y, x], y + offsets[0, y, x]], axis=-1)
        size = np.stack([sizes[1, y, x], sizes[0, y, x]], axis=-1)
        xyxy = _corners(centre * MOVENET_STRIDE, size * MOVENET_STRIDE)
        return xyxy, 1.0 / (1.0 + np.exp(-np.clip(logits[0, y, x], -40.0, 40.0)))

    return Layout(name="movenet", size_wh=size_wh, num_classes=1, outputs=tuple(names),
                  decode=decode, rgb=True, squash=True)  # fmt: skip


def _corners(centre: F32, size: F32) -> F32:
    corners = np.concatenate([centre - size / 2, centre + size / 2], axis=-1)
    return np.asarray(corners, np.float32)
