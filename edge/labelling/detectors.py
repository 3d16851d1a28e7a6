"""A person detector as an ONNX file: which layout it has, and boxes out of its numbers.

Two layouts are known, by the shapes of input and output:

    YOLOX        1x3xHxW -> 1xAx(5+C), A cells of strides 8, 16, 32; takes 0 - 255, BGR
    FastestDet   1x3xHxW -> 1x(5+C)xHsxWs, one cell a 16 px square; takes 0 - 1, BGR

Both were trained on the order of colours that OpenCV decodes, so frames go in as they come: BGR,
here and in all of this package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.labelling.fuse import F32, Boxes, suppress
from runtime.errors import ArtifactError, ArtifactMismatchError, ConfigError

Image = npt.NDArray[np.uint8]

PAD = 114
YOLOX_STRIDES = (8, 16, 32)
FASTESTDET_STRIDE = 16
# Decoded centres reach to the input's side; raw ones stay within a few cells of their own.
_RAW_REACH = 32.0
_SAME_PERSON = 0.6
_MAX_BOXES = 300
PERSON = "person"
COCO_CLASSES = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a detector's numbers mean.

    Attributes:
        name: `yolox` or `fastestdet`.
        size_wh: Width and height of the input, px.
        num_classes: How many kinds of things it tells apart.
        scale: What pixels of 0 - 255 are multiplied by.
        decode: Output and column of a class -> xyxy (N, 4) in px of the input, and scores (N,).
    """

    name: str
    size_wh: tuple[int, int]
    num_classes: int
    scale: float
    decode: Callable[[F32, int], tuple[F32, F32]]


class Detector:
    """One ONNX detector, for one class."""

    def __init__(self, path: Path, *, person_class: str = "person", threads: int = 1) -> None:
        """Load it and understand its layout.

        Args:
            path: The ONNX file.
            person_class: `person`, or the number of that class from 0.
            threads: Of ONNX Runtime.

        Raises:
            ConfigError: It has no such class.
            ArtifactError: It is missing or no ONNX that loads here.
            ArtifactMismatchError: Its layout is none of the known ones.
        """
        self.path = path
        self.sha256 = file_digest(path)
        self._session = _open(path, threads)
        self._input = str(self._session.get_inputs()[0].name)
        self.layout = _layout(path, self._session, self._input)
        self.column = class_column(person_class, self.layout.num_classes)

    def detect(self, image_bgr: Image, floor: float) -> Boxes:
        """Find people in one picture.

        Args:
            image_bgr: uint8 (H, W, 3).
            floor: Least score of a box.

        Returns:
            Boxes in px of the picture, the surest first, one for each person.
        """
        tensor, ratio = letterbox(image_bgr, self.layout.size_wh, self.layout.scale)
        (output,) = self._session.run(None, {self._input: tensor})
        xyxy, scores = self.layout.decode(np.asarray(output, np.float32), self.column)
        good = (scores >= floor) & np.isfinite(xyxy).all(axis=1)
        height, width = image_bgr.shape[:2]
        found = Boxes(xyxy[good] / ratio, scores[good]).clipped(width, height)
        return suppress(found, _SAME_PERSON, most=_MAX_BOXES)


def letterbox(image_bgr: Image, size_wh: tuple[int, int], scale: float) -> tuple[F32, float]:
    """Fit a picture into the input's upper left corner, its aspect kept, grey in the rest.

    Returns:
        float32 (1, 3, H, W) BGR, and px of the input for each px of the picture.
    """
    height, width = image_bgr.shape[:2]
    ratio = min(size_wh[0] / width, size_wh[1] / height)
    inner = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    canvas = np.full((size_wh[1], size_wh[0], 3), PAD, np.uint8)
    how = cv2.INTER_AREA if ratio < 0.5 else cv2.INTER_LINEAR
    canvas[: inner[1], : inner[0]] = cv2.resize(image_bgr, inner, interpolation=how)
    tensor = canvas.transpose(2, 0, 1)[None].astype(np.float32)
    if scale != 1.0:
        tensor *= np.float32(scale)
    return np.ascontiguousarray(tensor), ratio


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        ArtifactError: There is none.
    """
    if not path.is_file():
        raise ArtifactError(f"no detector at {path}, expected an ONNX file")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def class_column(name: str, num_classes: int) -> int:
    """Return the column of people's scores: 0 in COCO and where there is one class only.

    Raises:
        ConfigError: The detector has no such class, or what its classes are is not known.
    """
    if name.isdecimal():
        if int(name) >= num_classes:
            raise ConfigError(f"--person-class {name}: the detector has classes 0 to "
                              f"{num_classes - 1}")  # fmt: skip
        return int(name)
    if name != PERSON or num_classes not in (1, COCO_CLASSES):
        raise ConfigError(
            f"--person-class {name!r}: the detector has {num_classes} classes without names; give "
            "the number of the one for people, from 0"
        )
    return 0


def _open(path: Path, threads: int) -> Any:
    from edge.labelling.packages import onnxruntime

    runtime = onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong comes as an error, in one sentence
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own kinds of errors share no base that it exports
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise ArtifactError(f"{path} is no ONNX model that loads here: {reason}") from error


def _layout(path: Path, session: Any, name: str) -> Layout:
    """Recognise the layout by shapes, and raw YOLOX from decoded by one run on plain grey."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    came = (f"{path} takes {', '.join(str(one.shape) for one in inputs)} and gives "
            f"{', '.join(str(one.shape) for one in outputs)}")  # fmt: skip
    known = ("; known are YOLOX (1x3xHxW to 1xAx(5+classes), A cells of strides 8, 16 and 32) and "
             "FastestDet (1x3xHxW to 1x(5+classes)x(H/16)x(W/16)), of fixed sizes in float32, "
             "without NMS in the graph")  # fmt: skip
    shape = inputs[0].shape
    good = len(inputs) == len(outputs) == 1 and inputs[0].type == "tensor(float)"
    if not good or len(shape) != 4 or shape[1] != 3 or not _whole(shape[2:]):
        raise ArtifactMismatchError(came + known)
    height, width = int(shape[2]), int(shape[3])
    grey = np.full((1, 3, height, width), PAD, np.float32)
    try:
        (output,) = session.run(None, {name: grey})
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise ArtifactMismatchError(f"{came}, and does not run on one picture: {reason}") from error
    output = np.asarray(output)
    cells = [(height // s, width // s) for s in YOLOX_STRIDES]
    if output.ndim == 3 and output.shape[:2] == (1, sum(h * w for h, w in cells)):
        if output.shape[2] > 5:
            return _yolox(output, (width, height), cells)
    elif output.ndim == 4 and output.shape[0] == 1 and output.shape[1] > 5:
        rows, columns = output.shape[2:]
        if (rows, columns) == (height // FASTESTDET_STRIDE, width // FASTESTDET_STRIDE):
            return Layout(name="fastestdet", size_wh=(width, height), scale=1.0 / 255.0,
                          num_classes=output.shape[1] - 5,
                          decode=_fastestdet_decoder((width, height)))  # fmt: skip
    raise ArtifactMismatchError(came + known)


def _whole(sides: list[object]) -> bool:
    return all(isinstance(side, int) and side >= 32 for side in sides)


def _yolox(output: F32, size_wh: tuple[int, int], cells: list[tuple[int, int]]) -> Layout:
    decoded = float(np.abs(output[0, :, :2]).max()) > _RAW_REACH
    grids, strides = [], []
    for (rows, columns), px in zip(cells, YOLOX_STRIDES, strict=True):
        y, x = np.mgrid[:rows, :columns]
        grids.append(np.stack([x, y], axis=-1).reshape(-1, 2))
        strides.append(np.full((rows * columns, 1), px))
    grid = np.concatenate(grids).astype(np.float32)
    stride = np.concatenate(strides).astype(np.float32)

    def decode(values: F32, column: int) -> tuple[F32, F32]:
        rows = values[0]
        centre, size = rows[:, :2], rows[:, 2:4]
        if not decoded:
            centre = (centre + grid) * stride
            size = np.exp(np.minimum(size, 20.0)) * stride
        scores: F32 = rows[:, 4] * rows[:, 5 + column]
        return np.concatenate([centre - size / 2, centre + size / 2], axis=1), scores

    return Layout(name="yolox", size_wh=size_wh, num_classes=output.shape[2] - 5, scale=1.0,
                  decode=decode)  # fmt: skip


def _fastestdet_decoder(size_wh: tuple[int, int]) -> Callable[[F32, int], tuple[F32, F32]]:
    """Centres by tanh around their cell, sizes by a sigmoid as shares of the input."""

    def decode(values: F32, column: int) -> tuple[F32, F32]:
        planes = values[0].astype(np.float32)
        rows, columns = planes.shape[1:]
        y, x = np.mgrid[:rows, :columns]
        cx = (x + np.tanh(planes[1])) / columns * size_wh[0]
        cy = (y + np.tanh(planes[2])) / rows * size_wh[1]
        half_w = size_wh[0] / 2 / (1 + np.exp(-planes[3]))
        half_h = size_wh[1] / 2 / (1 + np.exp(-planes[4]))
        corners = np.stack([cx - half_w, cy - half_h, cx + half_w, cy + half_h], axis=-1)
        # The author's own mixture of "something is here" and "it is this".
        score = np.clip(planes[0], 0, 1) ** 0.6 * np.clip(planes[5 + column], 0, 1) ** 0.4
        return corners.reshape(-1, 4).astype(np.float32), score.reshape(-1).astype(np.float32)

    return decode
