"""RoIAlign (Mask R-CNN, arXiv 1703.06870), exact, as two matrix products.

A bin of RoIAlign is the mean of bilinear samples on a regular grid. A bilinear sample is a product
of two weights, one of its row and one of its column, and a mean over a grid of such products is the
product of two means. So the bins of a box are A F B^T, where A (bins x rows) and B (bins x columns)
hold the mean weights of each axis: no gather, which no mobile delegate has.
"""

from __future__ import annotations

import torch
from torch import Tensor


def roi_align(features: Tensor, boxes_xyxy: Tensor, *, size: int = 7, samples: int = 2) -> Tensor:
    """Pool the features of boxes, as `torchvision.ops.roi_align(..., aligned=True)` does.

    Args:
        features: (B, C, H, W).
        boxes_xyxy: (B, K, 4) corners as shares of the grid's width and height; one without an area
            is taken as a point.
        size: Bins along each side of a box.
        samples: Samples along each side of a bin.

    Returns:
        (B, K, C, size, size).
    """
    batch, channels, rows, columns = features.shape
    count = boxes_xyxy.shape[1]
    across = axis_weights(boxes_xyxy[..., 0], boxes_xyxy[..., 2], columns, size, samples)
    down = axis_weights(boxes_xyxy[..., 1], boxes_xyxy[..., 3], rows, size, samples)
    # (B, K*size, H) x (B, H, C*W), then each bin row x (W, size).
    by_row = features.permute(0, 2, 1, 3).reshape(batch, rows, channels * columns)
    pooled = torch.bmm(down.reshape(batch, count * size, rows), by_row)
    pooled = pooled.reshape(batch * count, size * channels, columns)
    bins = torch.bmm(pooled, across.reshape(batch * count, size, columns).transpose(1, 2))
    return bins.reshape(batch, count, size, channels, size).transpose(2, 3)


def axis_weights(low: Tensor, high: Tensor, cells: int, size: int, samples: int) -> Tensor:
    """Return the weight of each cell in each bin along one axis, (B, K, size, cells).

    Args:
        low: Beginning of the boxes along the axis, (B, K) in [0, 1].
        high: Their end.
        cells: Cells of the grid along it.
        size: Bins of a box.
        samples: Samples of a bin.
    """
    place = (torch.arange(size * samples, device=low.device) + 0.5) / (size * samples)
    # Coordinates count cells from the centre of the first one.
    at = (low[..., None] + (high - low)[..., None] * place) * cells - 0.5
    inside = ((at >= -1.0) & (at <= cells)).to(low.dtype)
    at = at.clamp(0.0, float(cells - 1))
    cell = torch.arange(cells, device=low.device, dtype=low.dtype)
    near = torch.relu(1.0 - (at[..., None] - cell).abs()) * inside[..., None]
    return near.reshape(*low.shape, size, samples, cells).mean(-2)
