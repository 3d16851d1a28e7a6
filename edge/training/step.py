"""One step of training: clips in, weights moved, losses out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from edge.training.config import TrainOptions
from edge.training.ema import AveragedModel
from edge.training.feature_input import freeze_stem, stem_parameters
from edge.training.learner import Learner, TrainingWrapper
from edge.training.norms import share_batch_norms
from edge.training.one_to_many import MEAN_TOKENS, OneToManyMatcher, token_centres
from edge.training.processes import Processes
from edge.training.schedule import Schedule, optimizer_of, set_rate
from edge.training.setup import Parts
from edge.training.targets import Batch, Normalize, pack
from runtime.errors import TrainingError


@dataclass(slots=True)
class _Gradient:
    """The norm of a step's gradient, not yet looked at: looking waits for the device."""

    norm: Tensor
    step: int
    clip_ids: list[str]


class Stepper:
    """Holds what a step changes, and takes it."""

    def __init__(
        self,
        options: TrainOptions,
        parts: Parts,
        wrapper: TrainingWrapper,
        processes: Processes,
        schedule: Schedule,
    ) -> None:
        """Put model, teacher and optimizer on the device; `start` must follow."""
        self.options, self.wrapper, self.processes = options, wrapper, processes
        self.schedule = schedule
        self.config = parts.model.config
        self.criterion, self.distiller = parts.criterion, parts.distiller
        self.assign_one_to_many = OneToManyMatcher(parts.criterion.matcher)
        self.centres = token_centres(parts.model).to(processes.device)
        device = processes.device
        if self.distiller is not None:
            channels_innermost(self.distiller.teacher.to(device))
        channels_innermost(parts.model)
        freeze_stem(parts.model, parts.first_stem_block)
        channels = None if self.distiller is None else self.distiller.channels
        torch.manual_seed(options.seed)  # what training adds begins alike in every run
        self.learner = Learner(
            parts.model,
            wrapper,
            teacher_channels=channels,
            aux=options.losses.loss_aux > 0,
            one_to_many=options.one_to_many > 0,
        )
        if processes.world_size > 1 and options.run.norms == "shared":
            share_batch_norms(self.learner)
        self.learner.to(device).train()
        self.average: AveragedModel[nn.Module] = AveragedModel(
            self.learner.trained, options.optimizer.ema
        )
        self.optimizer = optimizer_of(
            self.learner,
            lr=options.rate,
            weight_decay=options.optimizer.weight_decay,
            kind=options.optimizer.optimizer,
            products=torch.bfloat16 if processes.precision == "bf16" else None,
            slow=stem_parameters(parts.model),
            slow_factor=options.optimizer.stem_lr,
        )
        self._normalize = Normalize(self.config, device)
        self._gradient: _Gradient | None = None

    def start(self) -> None:
        """Compile if asked, and join the other processes; after a state was loaded."""
        module = torch.compile(self.learner) if self.options.run.compile else self.learner
        self._module, self._stepped = self.processes.setup(cast(nn.Module, module), self.optimizer)

    def __call__(self, step: int, parts: list[Batch]) -> dict[str, Tensor]:
        """Take step `step` with this process's parts of its batch.

        Returns:
            This process's share of each loss, on the device.

        Raises:
            TrainingError: An output of this step, or the gradient of the one before, is not
                finite; the message names the clips.
        """
        # The random numbers of a step are a function of the step: nothing to save for a resume.
        torch.manual_seed(_mixed(self.options.seed, step, self.processes.rank))
        set_rate(self._stepped, self.schedule(step))
        self.wrapper.at_step(self.learner.trained, step, self.schedule.steps)
        clip_ids = [target["clip_id"] for part in parts for target in part.targets]
        mine = sum(target["boxes"].shape[0] for part in parts for target in part.targets)
        people = max(1.0, self.processes.sum([float(mine)])[0])
        row: dict[str, Tensor] = {}
        for index, part in enumerate(parts):
            with self.processes.hold_gradients(self._module, index + 1 < len(parts)):
                for name, value in self._part(part, people).items():
                    row[name] = value if name not in row else row[name] + value
        norm = nn.utils.clip_grad_norm_(
            self.learner.parameters(), self.options.optimizer.clip_norm or math.inf
        )
        self._gradient = _Gradient(norm, step, clip_ids)
        self._stepped.step()
        self._stepped.zero_grad(set_to_none=True)
        self.average.update(self.learner.trained, step)
        # Every process has the same norm; the sum over them is to give it back.
        row["grad_norm"] = norm.detach() / self.processes.world_size
        return row

    def check(self) -> None:
        """Look at the gradient of the newest step.

        Raises:
            TrainingError: It was NaN or infinite, and so are the weights now.
        """
        last, self._gradient = self._gradient, None
        if last is not None and not bool(torch.isfinite(last.norm)):
            more = f" and {len(last.clip_ids) - 8} more" if len(last.clip_ids) > 8 else ""
            raise TrainingError(
                f"the gradient of step {last.step} is NaN or infinite; its clips were "
                f"{', '.join(last.clip_ids[:8])}{more}. Lower --lr0, or use --precision fp32"
            )

    def _part(self, part: Batch, people: float) -> dict[str, Tensor]:
        device = self.processes.device
        clip = part.frames.to(device, non_blocking=True)
        scales = None if part.scales is None else part.scales.to(device, non_blocking=True)
        inputs = (self._normalize(clip),) if scales is None else (clip, scales)
        targets = pack(part.targets, self.config.num_classes, device)
        with self.processes.autocast():
            outputs = self._module(*inputs)
        self.check()  # the device has long been behind it; the forward above is queued already
        losses = self.criterion(outputs, targets, num_people=people)
        total, values = losses.total, dict(losses.parts)
        if self.options.losses.loss_aux > 0:
            extra = self.criterion(_named(outputs, "aux_"), targets, num_people=people).total
            total = total + self.options.losses.loss_aux * extra
            values["early"] = extra.detach()
        if self.options.one_to_many > 0:
            dense = _named(outputs, "one_to_many_")
            extra = self.criterion.weigh(
                dense,
                targets,
                self.assign_one_to_many(dense, targets, self.centres),
                num_people=people * MEAN_TOKENS,
            ).total
            total = total + self.options.one_to_many * extra
            values["many"] = extra.detach()
        if self.distiller is not None:
            with self.processes.autocast():
                extra, more = self.distiller(
                    inputs[0], outputs, targets, losses.matches, num_people=people
                )
            total = total + extra
            values |= more
        values["loss"] = total.detach()
        # Gradients are averaged over processes, while the losses are shares of one sum.
        self.processes.backward(total * self.processes.world_size)
        return values


def channels_innermost(model: nn.Module) -> None:
    """Lay out the weights of 2D convolutions as the clips are: nano trains 1.6 times as fast so."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _named(outputs: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the outputs of one set of heads, by the names of the model's."""
    return {
        name.removeprefix(prefix): value.float()
        for name, value in outputs.items()
        if name.startswith(prefix)
    }


def _mixed(seed: int, step: int, rank: int) -> int:
    """Return a seed for the random numbers of one step of one process."""
    return (seed * 1_000_003 + step) * 1_009 + rank
