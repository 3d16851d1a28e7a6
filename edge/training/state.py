"""Everything that a killed run needs to go on as if nothing had happened.

The order of the clips, the learning rate and the random numbers of a step are functions of the
step, so what is left are the weights, their average, the optimizer's moments and the step.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edge.model._files import read_torch_file
from edge.training.ema import AveragedModel
from runtime.errors import ArtifactError, ArtifactMismatchError
from runtime.outputs import write_atomically

STATE_FILE = "state.pt"
FORMAT = "bmvit-edge-training"
SCHEMA_VERSION = 1


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a run is.

    Attributes:
        step: Steps that were taken.
        best: Highest validated mAP; None before the first validation.
        best_step: The step it was reached at.
        window: Sums of the losses since the last line of the log, so that the next line of a
            resumed run is the one that was due.
    """

    step: int = 0
    best: float | None = None
    best_step: int = 0
    window: dict[str, float] = field(default_factory=dict)


def save_state(
    path: Path,
    *,
    learner: nn.Module,
    average: AveragedModel[Any],
    optimizer: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """Write the state, whole or not at all.

    Raises:
        ArtifactError: The file cannot be written.
    """
    buffer = io.BytesIO()
    payload = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "step": progress.step,
        "best": progress.best,
        "best_step": progress.best_step,
        "window": progress.window,
        "learner": learner.state_dict(),
        "average": average.model.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    torch.save(payload, buffer)
    try:
        write_atomically(path, buffer.getbuffer())
    except OSError as error:
        raise ArtifactError(f"cannot write {path}: {error.strerror or error}") from error


def _current(weights: dict[str, Any]) -> dict[str, Any]:
    """Return the weights of a learner by the names they have since version 0.2."""
    former = {"early.": "aux.", "many.": "one_to_many."}
    return {
        next((new + name.removeprefix(old) for old, new in former.items() if name.startswith(old)),
             name): value
        for name, value in weights.items()
    }  # fmt: skip


def load_state(
    path: Path,
    *,
    learner: nn.Module,
    average: AveragedModel[Any],
    optimizer: torch.optim.Optimizer,
) -> Progress:
    """Load a state into the same objects that were saved, in place.

    Raises:
        ArtifactError: The file is missing or broken.
        ArtifactMismatchError: It is of another program or model.
    """
    payload: dict[str, Any] = read_torch_file(path)
    if payload.get("format") != FORMAT or payload.get("schema_version") != SCHEMA_VERSION:
        raise ArtifactMismatchError(
            f"{path} is no training state of this program (format {payload.get('format')!r}, "
            f"schema {payload.get('schema_version')!r})"
        )
    try:
        learner.load_state_dict(_current(payload["learner"]))
        average.model.load_state_dict(payload["average"])
        optimizer.load_state_dict(payload["optimizer"])
        return Progress(
            step=int(payload["step"]),
            best=payload["best"],
            best_step=int(payload["best_step"]),
            window=dict(payload["window"]),
        )
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArtifactMismatchError(
            f"{path} does not fit the model of this run: {reason}"
        ) from error
