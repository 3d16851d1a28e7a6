"""A person detector as an ONNX file: boxes of people out of a picture.

Frames go in as OpenCV decodes them, BGR, here and in all of this package; a detector that takes
another order of colours says so in its layout (`layouts.py`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.labelling.fuse import F32, Boxes, suppress
from edge.labelling.layouts import PAD, read_layout
from runtime.errors import ArtifactError, ConfigError

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
