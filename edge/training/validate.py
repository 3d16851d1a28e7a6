"""Frame-mAP of a model on a data set, by the figures that `edge val` reports."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from edge.data.annotations import place_of
from edge.data.samples import ClipDataset, ClipSample
from edge.data.video_labels import weak_classes
from edge.evaluation.clips import ClipMetrics, predict
from edge.evaluation.video_scores import VideoScores
from edge.model.bmvit import BMViTConfig
from edge.training.targets import Normalize, collate
from runtime.errors import CaptureError

logger = logging.getLogger(__name__)


@torch.no_grad()
def validate(
    model: nn.Module,
    config: BMViTConfig,
    dataset: ClipDataset,
    *,
    limit: int,
    batch: int,
    device: torch.device,
    columns: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Run a model over the first clips of a data set.

    Args:
        model: On `device`, in evaluation mode.
        config: What it was built from.
        dataset: The clips.
        limit: How many; 0 takes all.
        batch: Clips that run together.
        device: Where to run.
        columns: Which of the model's outputs stands for each class of the data set; None where
            they have the same classes.

    Returns:
        `ClipMetrics.result()`, at the threshold that is best on these clips, and how many clips
        are left out since they cannot be decoded, said in a warning, too. Where labels are of
        whole videos, `video_auc` is how well these are told apart, by class.
    """
    normalize = Normalize(config, device)
    videos = VideoScores.of(dataset)
    metrics = ClipMetrics(dataset.class_names, weak=weak_classes(dataset))
    count = min(limit or len(dataset), len(dataset))
    broken: list[str] = []
    chosen = list(range(len(dataset.class_names))) if columns is None else list(columns)
    for indices, samples in _groups(dataset, count, batch, broken):
        part = collate(samples)
        clip = part.frames.to(device, non_blocking=True)
        scales = None if part.scales is None else part.scales.to(device, non_blocking=True)
        outputs = model(normalize(clip)) if scales is None else model(clip, scales)
        arrays = [
            outputs[name].float().cpu().numpy().astype(np.float32)
            for name in ("pred_boxes", "pred_actor", "pred_actions")
        ]
        for index, sample, boxes, actor, actions in zip(indices, samples, *arrays, strict=True):
            found = predict(boxes, actor, actions[:, chosen])
            metrics.update(sample, found)
            place = None if videos is None else place_of(dataset, index)
            if videos is not None and place is not None:
                videos.add(place, found)
    if broken:
        logger.warning("%d of %d clips of the validation cannot be decoded and are left out; the "
                       "first: %s", len(broken), count, broken[0])  # fmt: skip
    result = {**metrics.result(), "undecodable_clips": len(broken)}
    return result if videos is None else {**result, "video_auc": videos.auc()}


def _groups(
    dataset: ClipDataset, count: int, size: int, broken: list[str]
) -> Iterator[tuple[list[int], list[ClipSample]]]:
    """Yield clips that run together, with their numbers.

    The reasons of those that cannot be decoded go to `broken`.
    """
    indices: list[int] = []
    group: list[ClipSample] = []
    for index in range(count):
        try:
            group.append(dataset[index])
            indices.append(index)
        except CaptureError as error:
            broken.append(str(error))
        if len(group) == size:
            yield indices, group
            indices, group = [], []
    if group:
        yield indices, group
