"""Labelled clips and a bundle to fit thresholds with."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from edge.data.dataset import ClipDataset
from edge.data.samples import ClipSample
from edge.evaluation.clip_metrics import predict
from edge.evaluation.options import ModelChoice
from edge.evaluation.predictors import Predictor, open_predictor
from runtime.bundle import DEFAULT_BUNDLE, Bundle
from runtime.types import ClipSpec


class NoiseClips(ClipDataset):
    """Clips of noise; their actors stand where some tokens of the default model are."""

    def __init__(self, shape: ClipSpec, class_names: tuple[str, ...], count: int) -> None:
        self.shape, self.class_names, self.count = shape, class_names, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> ClipSample:
        shape = self.shape
        random = np.random.default_rng(index)
        size = (shape.num_frames, shape.height, shape.width, 3)
        frames = random.integers(0, 256, size, dtype=np.uint8)
        boxes = _some_boxes(frames)
        return ClipSample(
            frames_rgb=frames,
            boxes=boxes,
            labels=np.eye(len(self.class_names), dtype=np.float32)[
                random.integers(0, len(self.class_names), len(boxes))
            ],
            inactive_persons=np.zeros((0, 4), np.float32),
            clip_id=f"noise-{index}",
            size_wh=(shape.width, shape.height),
        )


@cache
def _default_model() -> Predictor:
    return open_predictor(ModelChoice(model=str(DEFAULT_BUNDLE), num_threads=1))


def _some_boxes(frames: np.ndarray) -> np.ndarray:
    """Return every ninth box, by falling score: of what it finds, and of what it does not."""
    found = predict(*_default_model().run([frames])[0])
    boxes = found.xyxy[::9]
    return boxes[((boxes[:, 2:] - boxes[:, :2]) > 0.01).all(axis=1)]


@pytest.fixture
def bundle_copy(tmp_path: Path) -> Path:
    """Return a copy of the default bundle that a test may change."""
    pytest.importorskip("runtime._native", reason="the native runtime is not built here")
    return Path(shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle"))


@pytest.fixture
def opened() -> list[ClipSpec]:
    """Return the shapes for which a data set was opened."""
    return []


@pytest.fixture
def open_noise(opened: list[ClipSpec]):
    def open_it(shape: ClipSpec) -> NoiseClips:
        opened.append(shape)
        return NoiseClips(shape, Bundle.load(DEFAULT_BUNDLE).spec.class_names, 6)

    return open_it
