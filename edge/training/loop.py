"""A run of training: when it steps, logs, validates, saves and ends."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from edge.training.config import TrainOptions
from edge.training.feature_input import FeatureWrapper
from edge.training.launch import start_processes
from edge.training.learner import NoWrapper, TrainingWrapper
from edge.training.loader import Share, batches_by_step, default_workers
from edge.training.logs import Callback, RunLog
from edge.training.memory import keep_freed_memory
from edge.training.run_folder import CONFIG_FILE, kept_flags
from edge.training.schedule import Schedule
from edge.training.session import REASONS, Reason, Session
from edge.training.setup import build_parts
from edge.training.state import STATE_FILE, Progress, load_state, save_state
from edge.training.step import Stepper
from edge.training.targets import Batch
from edge.training.validate import validate
from runtime.errors import ConfigError
from runtime.outputs import write_atomically
from runtime.parts import owned_folder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a session ended.

    Attributes:
        step: Steps that the run has behind it.
        steps: Length of its schedule.
        reason: Why it ended.
        best: Highest validated frame-mAP, if it was validated.
        rank: Of this process; the first one reports.
        folder: Where the run is.
    """

    step: int
    steps: int
    reason: Reason
    best: float | None
    rank: int
    folder: Path


class _Window:
    """Sums of the losses since the last line of the log, left on the device until then."""

    def __init__(self, before: Mapping[str, float]) -> None:
        self._sums: dict[str, Tensor | float] = dict(before)

    def add(self, row: Mapping[str, Tensor]) -> None:
        for name, value in row.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._sums["steps"] = self._sums.get("steps", 0.0) + 1.0

    def numbers(self) -> dict[str, float]:
        return {name: float(value) for name, value in self._sums.items()}


class Trainer:
    """One run, from its first step or from where it was left."""

    def __init__(
        self,
        options: TrainOptions,
        *,
        wrapper: TrainingWrapper | None = None,
        callback: Callback | None = None,
    ) -> None:
        """Build the run.

        Args:
            options: The flags.
            wrapper: In which form the model is trained; None trains it as it is.
            callback: Told of what happens.
        """
        self.options = options
        self.callback = callback or Callback()
        self.processes = start_processes(options.run.device, options.run.precision)
        if self.processes.device.type == "cpu":
            keep_freed_memory()
        self.parts = build_parts(options)
        features = self.parts.features
        if wrapper is not None and features is not None:
            raise ConfigError("--qat learns from clips of frames, not from features")
        self.wrapper = wrapper or (NoWrapper() if features is None else FeatureWrapper(features))
        self.share = Share(
            batch=options.optimizer.batch,
            accumulate=options.optimizer.accumulate,
            world_size=self.processes.world_size,
            rank=self.processes.rank,
        )
        schedule = schedule_of(options, len(self.parts.data))
        self.steps = schedule.steps
        every = options.validation.val_every
        self._val_every = min(1000, max(1, round(self.steps / 10))) if every is None else every
        self.stepper = Stepper(options, self.parts, self.wrapper, self.processes, schedule)
        self.progress = Progress()
        self._window = _Window({})

    def run(self) -> Outcome:
        """Train until the schedule, a limit or a signal ends it.

        Raises:
            TrainingError: A loss or gradient is not finite; the message names the clips.
        """
        options = self.options
        if options.run.resume is not None:
            self._load()
        logger.info("%s", self.processes.describe())
        self.stepper.start()
        first = self.processes.rank == 0
        session = Session(
            limit_steps=options.run.limit_steps,
            max_minutes=options.run.max_minutes,
            save_minutes=options.run.save_minutes,
        )
        # The session first: a signal from here on waits until a state is saved.
        with session, owned_folder(options.folder) if first else nullcontext():
            log = self._open_log(options.folder)
            self.callback.begin(self.progress.step, self.steps)
            try:
                reason = self._train(session, log)
            finally:
                if log is not None:
                    log.close()
        return Outcome(
            step=self.progress.step,
            steps=self.steps,
            reason=reason,
            best=self.progress.best,
            rank=self.processes.rank,
            folder=options.folder,
        )

    def _train(self, session: Session, log: RunLog | None) -> Reason:
        options, progress = self.options, self.progress
        if progress.step == 0:
            self._save()  # a run that is killed before its first save can be resumed, too
        since = time.monotonic()
        for parts in self._batches():
            self._window.add(self.stepper(progress.step, parts))
            progress.step += 1
            session.stepped()
            self.callback.moved(progress.step)
            finished = progress.step == self.steps
            if finished or progress.step % options.run.log_every == 0:
                self._log(log, time.monotonic() - since)
                since = time.monotonic()
            reason, save = self._agreed(session)
            due = self._val_every and progress.step % self._val_every == 0
            if finished or due:
                self._validate(log)
            save = save or progress.step % options.run.save_every == 0
            if finished or due or reason or save:
                self._save()
                session.saved()
            if reason and not finished:
                return reason
        return "finished"

    def _batches(self) -> Iterator[list[Batch]]:
        options, device = self.options, self.processes.device
        workers = options.run.workers
        if workers is None:
            workers = default_workers(device, self.share.world_size)
        return batches_by_step(
            self.parts.data,
            self.share,
            start=self.progress.step,
            stop=self.steps,
            seed=options.seed,
            workers=workers,
            pin=device.type == "cuda",
        )

    def _agreed(self, session: Session) -> tuple[Reason | None, bool]:
        """Return why all processes end now, and whether all save: what any wants, they all do."""
        wants = session.wants
        *votes, save = self.processes.sum(
            [*(float(wants == reason) for reason in REASONS), float(session.save_due)]
        )
        agreed = [reason for reason, count in zip(REASONS, votes, strict=True) if count]
        return agreed[-1] if agreed else None, bool(save)

    def _totals(self) -> dict[str, float]:
        """Return the sums of the window over all processes, and its steps."""
        mine = self._window.numbers()
        names = sorted(mine.keys() - {"steps"})
        totals = self.processes.sum([mine[name] for name in names])
        return {**dict(zip(names, totals, strict=True)), "steps": mine.get("steps", 0.0)}

    def _log(self, log: RunLog | None, seconds: float) -> None:
        totals = self._totals()
        self._window = _Window({})
        steps = totals.pop("steps")
        values = {name: total / steps for name, total in totals.items()}
        step = self.progress.step
        values["lr"] = self.stepper.schedule(step - 1)
        values["clips_per_s"] = steps * self.options.optimizer.batch / max(seconds, 1e-9)
        if log is not None:
            log.write("train", step, values)
        self.callback.stepped(step, values)

    def _validate(self, log: RunLog | None) -> None:
        if self.parts.validation is not None and self.processes.rank == 0:
            self.callback.validating(self.progress.step)
            result = validate(
                self.stepper.average.model,
                self.stepper.config,
                self.parts.validation,
                class_names=self.parts.data.class_names,
                limit=self.options.validation.val_clips,
                batch=self.share.part,
                device=self.processes.device,
            )
            progress, value = self.progress, result["frame_map"]
            if log is not None:
                log.write("val", progress.step, result)
            if value is not None and (progress.best is None or value > progress.best):
                progress.best, progress.best_step = value, progress.step
                self._write("best.pt", f"frame-mAP@0.5 {value:.4f}")
            self.callback.validated(progress.step, result)
        self.processes.barrier()

    def _write(self, name: str, words: str) -> None:
        note = f"step {self.progress.step} of {self.steps} on {self.options.clips.data}; {words}"
        self.wrapper.save(
            self.options.folder / name,
            self.stepper.average.model,
            class_names=self.parts.data.class_names,
            note=note,
        )

    def _save(self) -> None:
        self.stepper.check()  # never weights that are no numbers
        self.progress.window = self._totals()
        if self.processes.rank == 0:
            best = self.progress.best
            self._write("last.pt", "not validated" if best is None else f"best {best:.4f}")
            save_state(
                self.options.folder / STATE_FILE,
                learner=self.stepper.learner,
                average=self.stepper.average,
                optimizer=self.stepper.optimizer,
                progress=self.progress,
            )
        self.processes.barrier()

    def _load(self) -> None:
        if not (self.options.folder / STATE_FILE).exists():
            # It was stopped while its first state was being saved.
            logger.warning("%s holds no state yet: the run begins anew", self.options.folder)
            return
        self.progress = load_state(
            self.options.folder / STATE_FILE,
            learner=self.stepper.learner,
            average=self.stepper.average,
            optimizer=self.stepper.optimizer,
        )
        first = self.processes.rank == 0  # it goes on with the sums of all
        self._window = _Window(
            {n: v if first or n == "steps" else 0.0 for n, v in self.progress.window.items()}
        )
        logger.info("going on from step %d of %d", self.progress.step, self.steps)

    def _open_log(self, folder: Path) -> RunLog | None:
        if self.processes.rank != 0:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        if self.options.run.resume is None:
            text = json.dumps(kept_flags(self.options), indent=1) + "\n"
            write_atomically(folder / CONFIG_FILE, text)
        return RunLog(folder, step=self.progress.step, tensorboard=self.options.run.tensorboard)


def default_epochs(clips: int) -> float:
    """Return passes over a data set of so many clips: four, and as many more as make 5,000 clips.

    A few clips are seen often, with --augment each time changed; of very many four passes are long.
    """
    return 4.0 + 5_000.0 / clips


def schedule_of(options: TrainOptions, clips: int) -> Schedule:
    """Return the learning rate of each step for a data set of so many clips."""
    flags = options.optimizer
    epoch = clips / flags.batch
    epochs = default_epochs(clips) if flags.epochs is None else flags.epochs
    steps = flags.steps or max(1, round(epochs * epoch))
    warmup = 0.03 * steps if flags.warmup_epochs is None else flags.warmup_epochs * epoch
    return Schedule(
        lr0=options.rate,
        lr_final=flags.lr_final,
        warmup=round(warmup),
        steps=steps,
        hold=flags.lr_hold,
    )
