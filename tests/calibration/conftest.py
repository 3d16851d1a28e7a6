"""Labelled clips and a bundle to fit thresholds with."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from edge.data.samples import ClipSample, ClipShape
from runtime.bundle import DEFAULT_BUNDLE, Bundle


class NoiseClips:
    """Clips of noise; their actors stand where some token of any model will be."""

    def __init__(self, shape: ClipShape, class_names: tuple[str, ...], count: int) -> None:
        self.shape, self.class_names, self.count = shape, class_names, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> ClipSample:
        shape = self.shape
        random = np.random.default_rng(index)
        size = (shape.num_frames, shape.height, shape.width, 3)
        grid = np.linspace(0.0, 0.8, 9, dtype=np.float32)
        corners = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
        side = np.float32(0.1 + 0.05 * (index % 6))
        boxes = np.concatenate([corners, np.minimum(corners + side, 1)], axis=1)
        return ClipSample(
            frames_rgb=random.integers(0, 256, size, dtype=np.uint8),
            boxes=boxes,
            labels=np.eye(len(self.class_names), dtype=np.float32)[
                random.integers(0, len(self.class_names), len(boxes))
            ],
            bystanders=np.zeros((0, 4), np.float32),
            clip_id=f"noise-{index}",
            size_wh=(shape.width, shape.height),
        )


@pytest.fixture
def bundle_copy(tmp_path: Path) -> Path:
    """Return a copy of the default bundle that a test may change."""
    pytest.importorskip("runtime._native", reason="the native runtime is not built here")
    return Path(shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle"))


@pytest.fixture
def opened() -> list[ClipShape]:
    """Return the shapes for which a data set was opened."""
    return []


@pytest.fixture
def open_noise(opened: list[ClipShape]):
    def open_it(shape: ClipShape) -> NoiseClips:
        opened.append(shape)
        return NoiseClips(shape, Bundle.load(DEFAULT_BUNDLE).spec.class_names, 6)

    return open_it
