"""Explain the clips of a source, and write a picture for each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2

from edge.explain.clips import clips_of
from edge.explain.model import ExplainableModel
from edge.explain.picture import Heading, draw_explanation
from runtime.errors import CaptureError, ConfigError, SinkError
from runtime.outputs import write_atomically
from runtime.sources import Image, parse_uri
from runtime.types import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture that was written.

    Attributes:
        path: The file.
        kept: Tokens above the threshold.
        tokens: All tokens.
        best: The highest p(actor).
    """

    path: Path
    kept: int
    tokens: int
    best: float


def write_pictures(
    model: ExplainableModel,
    source: str,
    out: Path,
    *,
    limit: int = 8,
    start: float = 0.0,
    stride: int | None = None,
    fps: float | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[Picture]:
    """Draw keyframes of a source.

    Args:
        model: The model.
        source: As `clips_of`, and so `stride` and `fps`.
        out: Folder; pictures are named by the number of their keyframe.
        limit: How many at most.
        start: Time from which on keyframes are drawn, seconds.
        stride: Frames from one keyframe to the next.
        fps: Frames a second of a folder of images.
        overwrite: Replace pictures that are there.
        progress: Told of the pictures that are done.

    Raises:
        ConfigError: The folder holds pictures that are not to be replaced.
        CaptureError: The source cannot be read, or has no clip from `start` on.
        SinkError: A picture cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file, expected a folder for the pictures")
    older = sorted(out.glob("keyframe_*.png")) if out.is_dir() else []
    if older and not overwrite:
        raise ConfigError(
            f"{out} holds pictures ({older[0].name}); pass --overwrite, or another --out"
        )
    shown = parse_uri(source).shown.rsplit("/", 1)[-1]
    written: list[Picture] = []
    for clip in clips_of(source, model.shape, stride=stride, fps=fps):
        if clip.keyframe_t < start:
            continue
        what = model.explain(clip.frames)
        heading = Heading(
            source=shown, frame=clip.keyframe, t=clip.keyframe_t, times=clip.times
        )  # fmt: skip
        if not written:
            out.mkdir(parents=True, exist_ok=True)
            for path in older:
                path.unlink()
        path = out / f"keyframe_{clip.keyframe:06d}.png"
        _write(path, draw_explanation(model, what, heading))
        best = float(what.tokens.actor[0]) if len(what.tokens) else 0.0
        written.append(
            Picture(path=path, kept=what.num_kept, tokens=len(what.tokens), best=best)
        )  # fmt: skip
        if progress is not None:
            progress("pictures", len(written), limit)
        if len(written) == limit:
            break
    if not written:
        raise CaptureError(f"{shown} has no whole clip with a keyframe from {start:g} s on")
    return written


def _write(path: Path, image: Image) -> None:
    done, data = cv2.imencode(".png", image)
    if not done:
        raise SinkError(f"a picture of {image.shape[1]}x{image.shape[0]} px cannot be encoded")
    write_atomically(path, data.tobytes())
