"""Train YOWOv2-Nano as it is published: SimOTA, its three losses, AdamW; a run can be resumed.

Assignment, losses and weights are those of its paper and public configuration (yjh0410/YOWOv2); the
code is this project's own. What the rows beside it share is theirs: the number of clips, the
schedule of the learning rate, the clipping of gradients, the average of the weights.
"""

from __future__ import annotations

import io
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks._method_training import finite, take_step
from benchmarks._pipelines import Grid
from benchmarks._yowov2 import STRIDES, ChannelAttention, YOWOv2Nano
from edge.data.dataset import ClipDataset
from edge.training.boxes import cxcywh_to_xyxy, generalized_iou
from edge.training.ema import AveragedModel
from edge.training.loader import Share, batches_by_step
from edge.training.memory import keep_freed_memory
from edge.training.schedule import Schedule, optimizer_of, set_rate
from edge.training.targets import Batch
from runtime.outputs import write_atomically
from runtime.types import Progress

logger = logging.getLogger(__name__)

# Published: assignment, weights of the losses, weight decay, probability that a cell begins with,
# clips of a GPU, over which its norms take their statistics.
RADIUS = 2.5
TOP_IOUS = 10
IOU_COST = 3.0
BOX_WEIGHT = 5.0
WEIGHT_DECAY = 5e-4
RARE = 0.01
PART = 16
# Its own rate, 1e-4, is for weights that are trained already. On eight clips the loss falls from 18
# to 10.5 in 16 steps with 1e-3, to 8.9 with 2e-3, to 7.7 with 4e-3.
LR = 3e-3
_FAR = 1e5
_LEAST_LOG = -100.0
KEPT_EVERY = 10


class Assignment(NamedTuple):
    """Cells that learn a person.

    Attributes:
        cell: (K,) their numbers.
        person: (K,) whom each of them learns.
        iou: (K,) how well its box fits already.
    """

    cell: Tensor
    person: Tensor
    iou: Tensor


class Cells:
    """All cells of an input as tensors: `centre` (M, 2) and `stride` (M, 1), pixels."""

    def __init__(self, size: int) -> None:
        """Lay out the cells of a square input."""
        grid = Grid.of(size, STRIDES)
        self.size, self.ends = size, grid.ends
        self.centre, self.stride = torch.from_numpy(grid.centre), torch.from_numpy(grid.stride)

    def boxes(self, offsets: Tensor) -> Tensor:
        """Return corners (..., M, 4) in pixels from offsets, see `YOWOv2Nano.forward`."""
        middle = self.centre + offsets[..., :2] * self.stride
        half = 0.5 * offsets[..., 2:].exp() * self.stride
        return torch.cat([middle - half, middle + half], dim=-1)


@torch.no_grad()
def assign(
    conf: Tensor, classes: Tensor, boxes: Tensor, true_boxes: Tensor, labels: Tensor, cells: Cells
) -> Assignment:
    """Choose the cells that learn the people of a clip: SimOTA.

    Args:
        conf: (M,) logits.
        classes: (M, C) logits.
        boxes: (M, 4) corners, pixels.
        true_boxes: (N, 4) corners, pixels; at least one.
        labels: (N, C) 1 for each action.
        cells: The cells.
    """
    low, high = true_boxes[:, None, :2], true_boxes[:, None, 2:]
    inside = ((cells.centre > low) & (cells.centre < high)).all(-1)
    away = (cells.centre - (low + high) / 2).abs()
    near = (away < RADIUS * cells.stride).all(-1)
    candidates = (inside | near).any(0).nonzero()[:, 0]
    iou, _ = generalized_iou(true_boxes[:, None], boxes[candidates])
    score = (conf[:, None].sigmoid() * classes.sigmoid()).sqrt()[candidates]
    yes, no = (log.clamp(min=_LEAST_LOG).T for log in (score.log(), (1.0 - score).log()))
    wrong = -(labels @ yes + (1.0 - labels) @ no)
    best = (inside & near)[:, candidates]
    cost = wrong - IOU_COST * (iou + 1e-8).log() + _FAR * ~best
    # As many cells for a person as its best boxes make together, in whole boxes.
    wanted = iou.topk(min(TOP_IOUS, len(candidates)), dim=1).values.sum(1).int().clamp(min=1)
    taken = torch.zeros_like(cost, dtype=torch.bool)
    for row, count in enumerate(wanted.tolist()):
        taken[row, cost[row].topk(count, largest=False).indices] = True
    several = (taken.sum(0) > 1).nonzero()[:, 0]
    taken[:, several] = False
    taken[cost[:, several].argmin(0), several] = True
    chosen = taken.any(0).nonzero()[:, 0]
    person = taken[:, chosen].int().argmax(0)
    return Assignment(candidates[chosen], person, iou[person, chosen])


def losses(outputs: tuple[Tensor, Tensor, Tensor], batch: Batch, cells: Cells) -> dict[str, Tensor]:
    """Return the three losses of a batch, weighted, each over the number of cells that learn.

    Args:
        outputs: Of the network for the batch.
        batch: Its targets, boxes in shares of the clip.
        cells: The cells.
    """
    conf, classes, offsets = (output.float() for output in outputs)
    boxes = cells.boxes(offsets)
    learns = torch.zeros_like(conf)
    wrong_class, wrong_box, count = conf.new_zeros(()), conf.new_zeros(()), 0
    for index, target in enumerate(batch.targets):
        if not len(target["boxes"]):
            continue
        true, labels = cxcywh_to_xyxy(target["boxes"]) * cells.size, target["labels"]
        found = assign(conf[index], classes[index], boxes[index], true, labels, cells)
        learns[index, found.cell] = 1.0
        count += len(found.cell)
        soft = labels[found.person] * found.iou[:, None]
        wrong_class = wrong_class + functional.binary_cross_entropy_with_logits(
            classes[index, found.cell], soft, reduction="sum"
        )
        _, giou = generalized_iou(boxes[index, found.cell], true[found.person])
        wrong_box = wrong_box + (1.0 - giou).sum()
    wrong_conf = functional.binary_cross_entropy_with_logits(conf, learns, reduction="sum")
    scale = 1.0 / max(1, count)
    return {
        "conf": wrong_conf * scale, "classes": wrong_class * scale,
        "box": BOX_WEIGHT * wrong_box * scale,
    }  # fmt: skip


def fresh_yowov2(num_classes: int, seed: int) -> YOWOv2Nano:
    """Return the network as its training begins, from random weights alone.

    The published one begins with networks of people in images (COCO) and of actions (Kinetics).
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = YOWOv2Nano(num_classes)
        for module in model.modules():
            if isinstance(module, ChannelAttention):
                module.gain.zero_()
        for last in (*model.conf, *model.classes):
            assert isinstance(last, nn.Conv2d)
            assert last.bias is not None
            last.bias.fill_(-torch.tensor((1 - RARE) / RARE).log())
    return model


class PlanePool(nn.Module):
    """3D max pooling by three, every second place, as one of planes and one of times.

    The same values and weights: torch's own turns the layout of its gradient, which costs a third
    of a step.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Pool (B, C, T, H, W) of values that are not negative; T is even."""
        batch, channels, times = x.shape[:3]
        planes = x.transpose(1, 2).reshape(batch * times, channels, *x.shape[3:])
        planes = functional.max_pool2d(planes, 3, stride=2, padding=1)
        rows = planes.view(batch, times, channels, *planes.shape[2:])
        even, odd = rows[:, 0::2], rows[:, 1::2]
        before = torch.cat([torch.zeros_like(odd[:, :1]), odd[:, :-1]], dim=1)
        return torch.maximum(torch.maximum(even, odd), before).transpose(1, 2)


def ready(model: YOWOv2Nano) -> YOWOv2Nano:
    """Lay the network out as a CPU trains it fastest; values and names of weights stay."""
    model.video.pool = PlanePool()  # type: ignore[assignment]
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        elif isinstance(module, nn.Conv3d):
            module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        elif isinstance(module, nn.ReLU | nn.LeakyReLU):
            module.inplace = True
    return model.train()


def clip_of(frames: Tensor) -> Tensor:
    """Turn bytes (B, T, H, W, 3) into the network's input (B, T, 3, H, W), 0 to 255."""
    return frames.permute(0, 1, 4, 2, 3).float()


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerBudget:
    """How long it trains.

    Attributes:
        steps: Steps.
        batch: Clips of a step.
        lr: Highest learning rate.
    """

    steps: int
    batch: int
    lr: float = LR


def train_yowov2(
    model: YOWOv2Nano,
    data: ClipDataset,
    budget: PeerBudget,
    *,
    seed: int,
    kept: Path,
    progress: Progress | None = None,
) -> tuple[YOWOv2Nano, list[float], float]:
    """Train the network, from where a run that was stopped has come to.

    Args:
        model: With its first weights, see `fresh_yowov2`.
        data: Clips of frames, square, with one label or several for each person.
        budget: How long.
        seed: Of the order of clips.
        kept: Where the state is kept, every ten steps.
        progress: Told of each step.

    Returns:
        The network with averaged weights in eval mode, the loss of each step, and the seconds of
        the processor over all parts of the run.

    Raises:
        TrainingError: A loss is not finite.
    """
    keep_freed_memory()
    ready(model)
    average: AveragedModel[YOWOv2Nano] = AveragedModel(model, 0.999)
    optimizer = optimizer_of(model, lr=budget.lr, weight_decay=WEIGHT_DECAY, kind="adamw")
    schedule = Schedule(
        lr0=budget.lr, lr_final=0.01, warmup=max(1, budget.steps // 20), steps=budget.steps
    )
    parts = budget.batch // PART if budget.batch % PART == 0 else 1
    done: list[float] = []
    start, before_s = time.process_time(), 0.0
    if kept.exists():
        state: dict[str, Any] = torch.load(kept, weights_only=True)
        model.load_state_dict(state["model"])
        average.model.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        done, before_s = state["losses"], state["cpu_s"]
        logger.info("going on behind step %d of %d", len(done), budget.steps)
    cells: Cells | None = None
    batches = batches_by_step(
        data, Share(batch=budget.batch, accumulate=parts), start=len(done), stop=budget.steps,
        seed=seed, workers=0, pin=False,
    )  # fmt: skip
    for step, batch in enumerate(batches, start=len(done)):
        set_rate(optimizer, schedule(step))
        taken: dict[str, float] = {}
        for part in batch:
            cells = cells or Cells(part.frames.shape[2])
            found = losses(model(clip_of(part.frames)), part, cells)
            torch.autograd.backward(torch.stack(list(found.values())).sum() / parts)
            for name, value in found.items():
                taken[name] = taken.get(name, 0.0) + float(value.detach()) / parts
        done.append(finite(sum(taken.values()), "yowov2", step))
        take_step(model, optimizer)
        average.update(model, step)
        if (step + 1) % KEPT_EVERY == 0:
            told = ", ".join(f"{name} {value:.3f}" for name, value in taken.items())
            logger.info("step %d of %d: %s", step + 1, budget.steps, told)
            _keep(kept, {
                "model": model.state_dict(), "average": average.model.state_dict(),
                "optimizer": optimizer.state_dict(), "losses": done,
                "cpu_s": before_s + time.process_time() - start,
            })  # fmt: skip
        if progress is not None:
            progress(f"training yowov2, seed {seed}", step + 1, budget.steps)
    return average.model, done, before_s + time.process_time() - start


def _keep(kept: Path, state: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(kept, buffer.getbuffer())
