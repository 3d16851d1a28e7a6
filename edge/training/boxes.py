"""Boxes as tensors: corners, overlap, and a generalised overlap that survives degenerate boxes."""

from __future__ import annotations

import torch
from torch import Tensor

_TINY = 1e-9  # an area below it is no area: 0 / 0 becomes 0, in forward and backward


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Turn (..., 4) centre and size into corners."""
    centre, half = boxes[..., :2], boxes[..., 2:] * 0.5
    return torch.cat([centre - half, centre + half], dim=-1)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """Turn (..., 4) corners into centre and size."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) * 0.5, high - low], dim=-1)


def generalized_iou(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return the overlap (IoU) and generalised overlap (GIoU) of boxes that broadcast.

    Pairwise: give (..., N, 1, 4) and (..., 1, M, 4). A box without area overlaps nothing: IoU 0,
    and GIoU stays in [-1, 1], without NaN.

    Args:
        first: Corners (..., 4), x1 <= x2 and y1 <= y2.
        second: Corners (..., 4), the same.
    """
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    union = _area(first) + _area(second) - shared
    around_low = torch.minimum(first[..., :2], second[..., :2])
    around_high = torch.maximum(first[..., 2:], second[..., 2:])
    around = (around_high - around_low).clamp(min=0).prod(-1)
    iou = shared / union.clamp(min=_TINY)
    return iou, iou - (around - union) / around.clamp(min=_TINY)


def share_inside(first: Tensor, second: Tensor) -> Tensor:
    """Return the share of the first boxes' area that lies in the second ones, which broadcast.

    Args:
        first: Corners (..., 4); a box without area has no share in anything.
        second: Corners (..., 4).
    """
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    return shared / _area(first).clamp(min=_TINY)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)
