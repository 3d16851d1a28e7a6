"""Frame-mAP of a model on a data set, by the figures that `edge val` reports."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from edge.data.dataset import ClipDataset
from edge.data.samples import ClipSample
from edge.evaluation.evaluator import Evaluator, RunClips
from edge.model.bmvit import BMViTConfig
from edge.training.targets import Normalize, collate
from runtime.types import Outputs

logger = logging.getLogger(__name__)


def validate(
    model: nn.Module,
    config: BMViTConfig,
    dataset: ClipDataset,
    *,
    limit: int,
    batch: int,
    device: torch.device,
    class_names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Run a model over the first clips of a data set.

    Args:
        model: On `device`, in evaluation mode.
        config: What it was built from.
        dataset: The clips.
        limit: How many; 0 takes all.
        batch: Clips that run together.
        device: Where to run.
        class_names: Classes of the model's outputs; None are those of the data set.

    Returns:
        `Evaluator.result()`, at the threshold that is best on these clips. Clips that cannot be
        decoded are left out, with a warning.
    """
    evaluator = Evaluator(dataset, class_names)
    evaluator.run(run_torch(model, config, device), batch=batch, limit=limit, refuse=False)
    broken = evaluator.left_out
    if broken:
        logger.warning("%d of %d clips of the validation cannot be decoded and are left out; the "
                       "first: %s", len(broken), len(broken) + len(evaluator.metrics),
                       broken[0])  # fmt: skip
    return evaluator.result()


def run_torch(model: nn.Module, config: BMViTConfig, device: torch.device) -> RunClips:
    """Return a model in torch as `Evaluator` takes it, for clips of frames or of features."""
    normalize = Normalize(config, device)

    @torch.no_grad()
    def run(samples: Sequence[ClipSample]) -> list[Outputs]:
        part = collate(samples)
        clip = part.frames.to(device, non_blocking=True)
        scales = None if part.scales is None else part.scales.to(device, non_blocking=True)
        outputs = model(normalize(clip)) if scales is None else model(clip, scales)
        boxes, actor, actions = (
            outputs[name].float().cpu().numpy().astype(np.float32)
            for name in ("pred_boxes", "pred_actor", "pred_actions")
        )
        return list(map(Outputs, boxes, actor, actions))

    return run
