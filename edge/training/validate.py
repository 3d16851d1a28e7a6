"""Frame-mAP of a model on a data set, by the figures that `edge val` reports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from edge.data.samples import ClipDataset, ClipSample
from edge.evaluation.clips import ClipMetrics, predict
from edge.model.bmvit import BMViTConfig
from edge.training.targets import Normalize, collate


@torch.no_grad()
def validate(
    model: nn.Module,
    config: BMViTConfig,
    dataset: ClipDataset,
    *,
    limit: int,
    batch: int,
    device: torch.device,
) -> dict[str, Any]:
    """Run a model over the first clips of a data set.

    Args:
        model: On `device`, in evaluation mode.
        config: What it was built from.
        dataset: The clips.
        limit: How many; 0 takes all.
        batch: Clips that run together.
        device: Where to run.

    Returns:
        `ClipMetrics.result()`, at the threshold that is best on these clips.
    """
    normalize = Normalize(config, device)
    metrics = ClipMetrics(dataset.class_names)
    count = min(limit or len(dataset), len(dataset))
    for samples in _groups(dataset, count, batch):
        outputs = model(normalize(collate(samples).frames.to(device, non_blocking=True)))
        arrays = [
            outputs[name].float().cpu().numpy().astype(np.float32)
            for name in ("pred_boxes", "pred_actor", "pred_actions")
        ]
        for sample, boxes, actor, actions in zip(samples, *arrays, strict=True):
            metrics.update(sample, predict(boxes, actor, actions))
    return metrics.result()


class KeptClips:
    """The same clips, each made once: a validation is not to wait for them every time.

    Clips beyond `limit_bytes` are made anew.
    """

    def __init__(self, dataset: ClipDataset, limit_bytes: int = 1 << 30) -> None:
        """Keep clips of `dataset` as they are asked for."""
        self._dataset, self._room = dataset, limit_bytes
        self._kept: dict[int, ClipSample] = {}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the actions."""
        return self._dataset.class_names

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self._dataset)

    def __getitem__(self, index: int) -> ClipSample:
        """Return clip `index`."""
        if index in self._kept:
            return self._kept[index]
        sample = self._dataset[index]
        if sample.frames_rgb.nbytes <= self._room:
            self._room -= sample.frames_rgb.nbytes
            self._kept[index] = sample
        return sample


def _groups(dataset: ClipDataset, count: int, size: int) -> Iterator[list[ClipSample]]:
    for start in range(0, count, size):
        yield [dataset[index] for index in range(start, min(start + size, count))]
