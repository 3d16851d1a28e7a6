"""RoIAlign as two matrix products is RoIAlign as it is defined, sample by sample."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from edge.model.baselines.roi_align import roi_align

BOXES = [
    pytest.param((0.1, 0.2, 0.6, 0.9), id="inside"),
    pytest.param((0.0, 0.0, 1.0, 1.0), id="whole frame"),
    pytest.param((-0.4, -0.2, 0.3, 0.5), id="reaches out of the frame"),
    pytest.param((0.48, 0.5, 0.5, 0.52), id="smaller than a cell"),
    pytest.param((0.9, 0.8, 1.3, 1.5), id="below and to the right"),
    pytest.param((0.3, 0.3, 0.3, 0.3), id="a point"),
]


def _bilinear(plane: Tensor, y: float, x: float) -> float:
    """Return the value at a place between cells, as the definition says it."""
    rows, columns = plane.shape
    if y < -1.0 or y > rows or x < -1.0 or x > columns:
        return 0.0
    y, x = min(max(y, 0.0), rows - 1), min(max(x, 0.0), columns - 1)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
    dy, dx = y - top, x - left
    above = plane[top, left] * (1 - dx) + plane[top, right] * dx
    below = plane[bottom, left] * (1 - dx) + plane[bottom, right] * dx
    return float(above * (1 - dy) + below * dy)


def _by_hand(plane: Tensor, box: tuple[float, ...], size: int, samples: int) -> Tensor:
    rows, columns = plane.shape
    x0, y0, x1, y1 = box
    result = torch.zeros(size, size)
    for i in range(size):
        for j in range(size):
            total = 0.0
            for a in range(samples):
                for b in range(samples):
                    y = (y0 + (y1 - y0) * (i + (a + 0.5) / samples) / size) * rows - 0.5
                    x = (x0 + (x1 - x0) * (j + (b + 0.5) / samples) / size) * columns - 0.5
                    total += _bilinear(plane, y, x)
            result[i, j] = total / samples**2
    return result


@pytest.mark.parametrize("box", BOXES)
def test_it_is_the_mean_of_bilinear_samples(box):
    features = torch.randn(1, 3, 6, 9, generator=torch.Generator().manual_seed(0))
    found = roi_align(features, torch.tensor([[box]]), size=4, samples=2)
    expected = torch.stack([_by_hand(plane, box, 4, 2) for plane in features[0]])
    assert tuple(found.shape) == (1, 1, 3, 4, 4)
    torch.testing.assert_close(found[0, 0], expected, rtol=1e-5, atol=1e-5)


def test_boxes_and_clips_do_not_mix():
    random = torch.Generator().manual_seed(1)
    features = torch.randn(2, 5, 7, 8, generator=random)
    corners = torch.rand(2, 3, 2, 2, generator=random).sort(dim=2).values.flatten(2)
    together = roi_align(features, corners, size=3)
    for clip in range(2):
        for box in range(3):
            alone = roi_align(features[clip : clip + 1], corners[clip, box][None, None], size=3)
            torch.testing.assert_close(together[clip, box], alone[0, 0])


def test_torchvision_has_the_same_values():
    ops = pytest.importorskip("torchvision.ops", reason="torchvision is not installed")
    features = torch.randn(1, 4, 14, 14, generator=torch.Generator().manual_seed(2))
    box = torch.tensor([[0.2, 0.1, 0.7, 0.95]])
    theirs = ops.roi_align(features, [box * 14], 7, 1.0, 2, aligned=True)
    torch.testing.assert_close(roi_align(features, box[None])[0], theirs, rtol=1e-4, atol=1e-4)
