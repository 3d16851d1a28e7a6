"""Train a row of a table on kept features, and judge it: one loop and one criterion for all."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from benchmarks._method_rows import Row
from edge.data.dataset import ClipDataset
from edge.model.baselines import TwoStage
from edge.model.bmvit import BMViT
from edge.model.stem_mvit import StemMViT
from edge.model.stems import TAP_STRIDES
from edge.training.criterion import SetCriterion
from edge.training.ema import AveragedModel
from edge.training.feature_input import freeze_stem
from edge.training.features import FeatureAbout, unpack_features
from edge.training.loader import Share, batches_by_step
from edge.training.memory import keep_freed_memory
from edge.training.one_to_many import (
    MEAN_TOKENS,
    OneToManyHeads,
    OneToManyMatcher,
    token_centres,
)
from edge.training.schedule import Schedule, optimizer_of, set_rate
from edge.training.step import channels_innermost
from edge.training.targets import Batch, PackedTargets, pack
from runtime.errors import TrainingError
from runtime.types import Progress

logger = logging.getLogger(__name__)

LR = 2e-3
WEIGHT_DECAY = 0.05
JITTER = 0.1
"""Of true boxes in the training of two stages: largest shift and change of size, as a share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How long every row of a table trains.

    Attributes:
        steps: Steps.
        batch: Clips of a step.
        bf16: Arithmetic of the forward pass; weights stay float32.
    """

    steps: int
    batch: int
    bf16: bool


def slices_of(model: BMViT, packed: Tensor, scales: Tensor, about: FeatureAbout) -> list[Tensor]:
    """Turn kept features (B, K) of the whole stem into the slices of the backbone.

    A stem of other taps reads those of the maps that it has: strides 8, 16 and 32 are kept.
    """
    backbone = cast(StemMViT, model.backbone)
    maps = dict(zip(TAP_STRIDES, unpack_features(packed, scales, about), strict=False))
    kept = [maps[stride] for stride in backbone.stem.taps]
    features = backbone.trunk(backbone.fusion(kept), len(packed))
    return backbone.slices(features, len(packed))


class Learner(nn.Module):
    """A row's model, and the heads that training adds."""

    def __init__(self, row: Row, model: BMViT, about: FeatureAbout) -> None:
        super().__init__()
        self.model, self.about = model, about
        self.many = OneToManyHeads(model) if row.one_to_many else None

    def forward(self, batch: Batch, targets: PackedTargets) -> dict[str, Tensor]:
        """Return the outputs of a batch; those of the second heads behind `many_`."""
        assert batch.scales is not None
        slices = slices_of(self.model, batch.frames, batch.scales, self.about)
        if isinstance(self.model, TwoStage):
            boxes = jittered(targets.boxes)
            return self.model.triplets_of(slices, boxes, torch.full_like(boxes[..., 0], 0.5))
        outputs = self.model.triplets(slices)
        if self.many is not None:
            extra = self.many(len(batch.frames))
            outputs |= {f"many_{name}": value for name, value in extra.items()}
        return outputs


def jittered(cxcywh: Tensor) -> Tensor:
    """Return true boxes as a detector might have found them: (B, M, 4) corners in [0, 1]."""
    centre, size = cxcywh[..., :2], cxcywh[..., 2:]
    centre = centre + size * JITTER * (2 * torch.rand_like(centre) - 1)
    size = size * (1 + JITTER * (2 * torch.rand_like(size) - 1))
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1).clamp(0.0, 1.0)


def train_row(
    row: Row,
    model: BMViT,
    data: ClipDataset,
    about: FeatureAbout,
    budget: Budget,
    *,
    seed: int,
    progress: Progress | None = None,
) -> tuple[BMViT, list[float]]:
    """Train a model; all rows have the same criterion, optimizer, schedule and clips.

    Args:
        row: What is trained.
        model: With its first weights, those of the stem included.
        data: Kept features.
        about: What they are.
        budget: How long.
        seed: Of the order of clips and of all that is random.
        progress: Told of each step.

    Returns:
        The model with averaged weights in eval mode, and the loss of each step.

    Raises:
        TrainingError: A loss is not finite.
    """
    keep_freed_memory()
    device = torch.device("cpu")
    channels_innermost(model)
    freeze_stem(model, len(cast(StemMViT, model.backbone).stem.blocks))
    torch.manual_seed(seed)
    learner = Learner(row, model, about).train()
    average: AveragedModel[BMViT] = AveragedModel(model, 0.999)
    products = torch.bfloat16 if budget.bf16 else None
    optimizer = optimizer_of(
        learner, lr=LR, weight_decay=WEIGHT_DECAY, kind="muon", products=products
    )
    schedule = Schedule(
        lr0=LR, lr_final=0.01, warmup=max(1, budget.steps // 20), steps=budget.steps
    )
    criterion = SetCriterion()
    many = OneToManyMatcher(criterion.matcher)
    centres = token_centres(model) if row.one_to_many else torch.zeros(0, 2)
    losses: list[float] = []
    batches = batches_by_step(
        data, Share(batch=budget.batch), start=0, stop=budget.steps, seed=seed, workers=0, pin=False
    )
    for step, (batch,) in enumerate(batches):
        set_rate(optimizer, schedule(step))
        targets = pack(batch.targets, model.config.num_classes, device)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=budget.bf16):
            outputs = learner(batch, targets)
        people = max(1, targets.num_people)
        total = criterion(_named(outputs, "pred_"), targets, num_people=people).total
        if row.one_to_many:
            dense = {k.removeprefix("many_"): v for k, v in _named(outputs, "many_").items()}
            pairs = many(dense, targets, centres)
            total = (
                total
                + criterion.weigh(dense, targets, pairs, num_people=people * MEAN_TOKENS).total
            )
        torch.autograd.backward(total)
        losses.append(finite(float(total.detach()), row.name, step))
        take_step(learner, optimizer)
        average.update(model, step)
        if progress is not None:
            progress(f"training {row.name}, seed {seed}", step + 1, budget.steps)
    return average.model, losses


def take_step(learner: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Step along the gradients, of a norm of 1 at most, and forget them."""
    nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def finite(loss: float, row: str, step: int) -> float:
    """Return the loss of a step.

    Raises:
        TrainingError: It is not finite.
    """
    if not loss < float("inf"):
        raise TrainingError(f"the loss of step {step} of row {row} is {loss}")
    return loss


def _named(outputs: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k: v.float() for k, v in outputs.items() if k.startswith(prefix)}
