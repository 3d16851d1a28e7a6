"""`edge run`: camera, stream, file or folder in; the people who act, and what they do, out."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.bundle import DEFAULT_BUNDLE
from runtime.errors import ConfigError
from runtime.options import OptionParser, option

NO_NMS = (
    "there is no NMS and so no IoU threshold: the model is trained to speak once for each "
    "person; use --conf, the threshold on p(actor)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Flags of `edge run`."""

    source: str = option(
        dataclasses.MISSING,
        "0, v4l2:///dev/video0, csi://0, rtsp://..., a video file, or a folder of images",
    )
    model: str = option(str(DEFAULT_BUNDLE), "bundle folder or zip", metavar="BUNDLE")
    artifact: str | None = option(None, "which artifact of the bundle; else the best that runs")
    conf: float | None = option(None, "threshold on p(actor), 0..1; else the artifact's own θ")
    action_conf: float = option(0.5, "threshold on each action's probability, 0..1")
    stride: int | None = option(
        None,
        "frames between two decisions, at the bundle's fps; else two samples of the clip",
        aliases=("--vid-stride",),
    )
    device: str = option("cpu", "where to run", choices=("cpu",))
    num_threads: int = option(0, "threads of the engine; 0 = one for each processor")
    fps: float | None = option(None, "frames a second of a folder of images")
    max_age_ms: float = option(500.0, "live sources: oldest frame that is not stale, ms")
    stream_buffer: bool = option(False, "live sources: take every frame, not only the newest")
    max_reconnects: int = option(3, "live sources: attempts to connect again after a loss")
    max_keyframes: int | None = option(None, "stop after this many results")
    show: bool = option(False, "show a live window")
    save: str | None = option(None, "write the annotated video there", metavar="FILE.mp4")
    save_json: str | None = option(None, "write JSON Lines there", metavar="FILE.jsonl")
    json: bool = option(False, "print JSON Lines to stdout instead of the table")
    overwrite: bool = option(False, "replace output files that exist")
    imgsz: int | None = option(None, "only to check it: the size that the bundle must have, px")
    quiet: bool = option(False, "no table, no progress bar, no log lines below a warning")
    verbose: bool = option(False, "log more, and show tracebacks")
    config: str | None = option(None, "YAML or JSON file with these flags", metavar="FILE")
    iou: float | None = option(None, "", refused=NO_NMS)
    nms: float | None = option(None, "", refused=NO_NMS)

    def __post_init__(self) -> None:
        for name in ("conf", "action_conf"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                flag = name.replace("_", "-")
                raise ConfigError(f"--{flag} is {value:g}, expected a probability between 0 and 1")
        for name in ("stride", "max_keyframes", "fps", "max_age_ms"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"--{name.replace('_', '-')} is {value:g}, expected above 0")
        for name in ("num_threads", "max_reconnects"):
            if getattr(self, name) < 0:
                flag = name.replace("_", "-")
                raise ConfigError(f"--{flag} is {getattr(self, name)}, expected 0 or more")
        for path in filter(None, (self.save, self.save_json)):
            _check_output(Path(path), overwrite=self.overwrite)


def _check_output(path: Path, *, overwrite: bool) -> None:
    """Refuse an output before any work: what can be known now is not an error at the end."""
    if path.is_dir():
        raise ConfigError(f"{path} is a folder, expected the name of a file to write")
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} exists; add --overwrite to replace it, or name another file")
