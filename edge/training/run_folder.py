"""The folder of a run: its flags in `config.json`, and what may stand there before it begins."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.data.registry import split_mix
from edge.training.config import TrainOptions
from runtime.errors import ArtifactError, ConfigError
from runtime.options import current_names, flag_of, to_flat
from runtime.parts import owned_folder

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.json"
RUN_FILES = ("state.pt", "last.pt", "best.pt", "log.jsonl")

# Belong to one session, and are not kept with the run.
_NOT_KEPT = frozenset(
    {"limit_steps", "max_minutes", "quiet", "verbose", "config", "resume", "overwrite", "out"}
)
# What a session may choose anew when it goes on with a run; all else decides the loss curve.
_FREE = _NOT_KEPT | {
    "cache", "device", "workers", "compile", "save_every", "save_minutes", "log_every",
    "tensorboard",
}  # fmt: skip


def kept_flags(options: TrainOptions) -> dict[str, Any]:
    """Return what is kept with a run, to go on with it or to repeat it by `--config`."""
    kept = {**to_flat(options), "lr0": options.rate, "loss_one_to_many": options.one_to_many}
    data = options.clips.data
    if len(split_mix(data)) == 1:
        kept["augment"] = "on" if options.augment.applies_to(data) else "off"
    return {name: value for name, value in kept.items() if name not in _NOT_KEPT}


def read_run(folder: Path) -> dict[str, Any]:
    """Return the flags of a run that was begun, by today's names.

    Raises:
        ArtifactError: There is no run, or its configuration is damaged.
    """
    path = folder / CONFIG_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"no run to resume at {folder}: it has no {CONFIG_FILE}") from None
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{path} is not the configuration of a run")
    flags = current_names(content, TrainOptions)
    # Before there were pretrained stems, the variants without one had these names.
    if "stem_weights" not in flags and flags.get("model") in ("pico", "nano", "tiny"):
        flags["model"] += "-scratch"
    return flags


def clear_folder(folder: Path, *, overwrite: bool) -> None:
    """Make room for a new run. One that was stopped before its first state was saved is none.

    Raises:
        ConfigError: There is a run, and it is not to be replaced.
        SinkError: Another process writes a run there.
    """
    if not (folder / CONFIG_FILE).exists():
        return
    with owned_folder(folder):
        _clear(folder, overwrite=overwrite)


def _clear(folder: Path, *, overwrite: bool) -> None:
    empty = not any((folder / name).exists() for name in ("state.pt", "last.pt", "best.pt"))
    if empty:
        logger.info("the run in %s was stopped before it saved anything: it begins anew", folder)
    elif not overwrite:
        raise ConfigError(
            f"there is a run in {folder}; go on with it by --resume {folder}, name another --out, "
            f"or replace it by --overwrite"
        )
    # The configuration goes last: without it there is nothing to go on with.
    for path in [*(folder / name for name in RUN_FILES), *folder.glob("tensorboard/events.*")]:
        path.unlink(missing_ok=True)
    (folder / CONFIG_FILE).unlink()


def check_same_run(options: TrainOptions, begun: Mapping[str, Any]) -> None:
    """Refuse flags that would bend the loss curve of a run that was begun.

    Raises:
        ConfigError: A flag differs from the run's.
    """
    for name, value in kept_flags(options).items():
        if name not in _FREE and name in begun and begun[name] != value:
            raise ConfigError(
                f"{flag_of(name)} is {value}, but the run in {options.folder} began with "
                f"{begun[name]}; a resumed run goes on as it began. Start another with --init "
                f"{options.folder}/last.pt"
            )
