"""A person detector as an ONNX file: its layout, and boxes of people out of a picture.

Three layouts are known by shapes and names:

* YOLOX: 1x3xHxW to 1xAx(5+C), A cells of strides 8, 16, 32; takes 0 - 255, BGR.
* FastestDet: 1x3xHxW to 1x(5+C)xHsxWs, a cell is a square of 16 px; takes 0 - 1, BGR.
* MoveNet MultiPose: 1x3xHxW to `center` 1x1xHqxWq, `box_scale` and `box_offset` 1x2xHqxWq (among
  others), a cell is a square of 4 px; takes 0 - 255, RGB, and the picture stretched to the input.

Frames go in as OpenCV decodes them, BGR, here and in all of this package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.labelling.boxes import F32, Boxes, suppress
from runtime.errors import ArtifactError, ArtifactMismatchError, ConfigError

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


Image = npt.NDArray[np.uint8]

_SAME_PERSON = 0.6
_MAX_BOXES = 300
PERSON = "person"
COCO_CLASSES = 80


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
        self.layout = read_layout(path, self._session)
        self.column = class_column(person_class, self.layout.num_classes)

    def detect(self, image_bgr: Image, floor: float) -> Boxes:
        """Find people in one picture.

        Args:
            image_bgr: uint8 (H, W, 3).
            floor: Least score of a box.

        Returns:
            Boxes in px of the picture, the surest first, one for each person.
        """
        layout = self.layout
        height, width = image_bgr.shape[:2]
        if layout.squash:
            tensor, ratios = squashed(image_bgr, layout.size_wh, layout.scale)
        else:
            tensor, ratio = letterbox(image_bgr, layout.size_wh, layout.scale)
            ratios = (ratio, ratio)
        if layout.rgb:
            tensor = np.ascontiguousarray(tensor[:, ::-1])
        outputs = self._session.run(layout.outputs, {self._input: tensor})
        xyxy, scores = layout.decode([np.asarray(o, np.float32) for o in outputs], self.column)
        good = (scores >= floor) & np.isfinite(xyxy).all(axis=1)
        in_picture = (xyxy[good] / np.array(ratios * 2, np.float32)).astype(np.float32)
        found = Boxes(in_picture, scores[good]).clipped(width, height)
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
    return _tensor(canvas, scale), ratio


def squashed(
    image_bgr: Image, size_wh: tuple[int, int], scale: float
) -> tuple[F32, tuple[float, float]]:
    """Stretch a picture to the input.

    Returns:
        float32 (1, 3, H, W) BGR, and px of the input for each px of the picture, in x and y.
    """
    height, width = image_bgr.shape[:2]
    ratios = (size_wh[0] / width, size_wh[1] / height)
    how = cv2.INTER_AREA if min(ratios) < 0.5 else cv2.INTER_LINEAR
    resized = cv2.resize(image_bgr, size_wh, interpolation=how)
    return _tensor(np.asarray(resized, np.uint8), scale), ratios


def _tensor(image_hwc: Image, scale: float) -> F32:
    tensor = image_hwc.transpose(2, 0, 1)[None].astype(np.float32)
    if scale != 1.0:
        tensor *= np.float32(scale)
    return np.ascontiguousarray(tensor)


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
    from edge.labelling.packages import needed

    runtime = needed("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong comes as an error, in one sentence
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own kinds of errors share no base that it exports
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise ArtifactError(f"{path} is no ONNX model that loads here: {reason}") from error
