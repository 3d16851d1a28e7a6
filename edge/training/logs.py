"""A run's log: one JSON object per line, and the same figures for TensorBoard."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.outputs import write_atomically

logger = logging.getLogger(__name__)

LOG_FILE = "log.jsonl"


class Callback:
    """Told of a run's events; a progress bar overrides what it shows."""

    def begin(self, step: int, steps: int) -> None:
        """Take that a run begins at `step` of `steps`."""

    def moved(self, step: int) -> None:
        """Take that a step is done; called for each."""

    def stepped(self, step: int, row: Mapping[str, float]) -> None:
        """Take that a line of the log is written; `row` holds the newest losses."""

    def validating(self, step: int) -> None:
        """Take that a validation begins."""

    def validated(self, step: int, result: Mapping[str, Any]) -> None:
        """Take the result of a validation."""


class RunLog:
    """`log.jsonl` and TensorBoard in the folder of a run."""

    def __init__(self, folder: Path, *, step: int, tensorboard: bool) -> None:
        """Open the log of a run that is at `step`; what a killed run wrote behind it goes."""
        self._path = folder / LOG_FILE
        _forget_after(self._path, step)
        self._file = self._path.open("a", encoding="utf-8")
        self._board = _board(folder / "tensorboard", step) if tensorboard else None

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Add one line `{"kind": .., "step": .., ...}` and its numbers to the board."""
        self._file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in _numbers(values):
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Close both."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a run's log; a line that a kill cut short is left out."""
    path = folder / LOG_FILE
    rows: list[dict[str, Any]] = []
    if not path.exists():
        return rows
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def _forget_after(path: Path, step: int) -> None:
    if path.exists():
        kept = [row for row in read_log(path.parent) if row["step"] <= step]
        text = "".join(json.dumps(row) + "\n" for row in kept)
        write_atomically(path, text)


def _numbers(values: Mapping[str, Any]) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += [(f"{name}/{inner}", number) for inner, number in _numbers(value)]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append((name, float(value)))
    return found


def _board(folder: Path, step: int) -> Any:
    """Return a TensorBoard writer, or None where the package is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logger.warning("no TensorBoard logs: the package is missing (pip install tensorboard)")
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
