"""`edge explain`: draw boxes, p(actor) and attention for each keyframe of a video."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.options import LongJobOptions, OptionParser, check_options, option, section


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainFlags:
    """Flags of `edge explain`."""

    model: str = option(dataclasses.MISSING, "checkpoint (.pt) or bundle; a checkpoint in the "
                                             "bundle's folder is preferred, because only that gives"
                                             " attention",
                        metavar="MODEL")  # fmt: skip
    source: str = option(dataclasses.MISSING, "a video file, a folder of images, a camera or a "
                                              "stream")  # fmt: skip
    out: str = option("runs/explain", "folder for the pictures", metavar="DIR")
    max_keyframes: int = option(8, "largest number of pictures", least=1)
    stride: int | None = option(None, "frames between two keyframes, at the model's fps; else a "
                                      "whole clip", aliases=("--vid-stride",), above=0,
                                most=1e6)  # fmt: skip
    start: float = option(0.0, "time of the first keyframe, seconds", least=0)
    conf: float | None = option(None, "threshold on p(actor), 0..1; else the artifact's own, or "
                                      "0.5 for a checkpoint", least=0, most=1)  # fmt: skip
    artifact: str | None = option(None, "program of a bundle, instead of its checkpoint")
    device: str = option("cpu", "device of torch for a checkpoint, such as cuda:0")
    num_threads: int = option(0, "threads of the engine or of torch; 0 = their choice", least=0)
    fps: float | None = option(None, "frames per second of a folder of images", above=0, most=1e6)
    overwrite: bool = option(False, "replace the pictures in --out")
    iou: float | None = option(None, "", refused="there is no NMS and so no IoU threshold; use "
                                                 "--conf, the threshold on p(actor)")  # fmt: skip
    common: LongJobOptions = section(LongJobOptions)

    def __post_init__(self) -> None:
        check_options(self)


def main(argv: Sequence[str]) -> int:
    """Draw the pictures and say where they are."""
    flags = OptionParser(prog="edge explain", description=__doc__).parse_into(ExplainFlags, argv)
    from edge.cli._progress import progress_bar
    from edge.explain.model import open_model
    from edge.explain.pictures import write_pictures

    model = open_model(
        flags.model, artifact=flags.artifact, conf=flags.conf, device=flags.device,
        num_threads=flags.num_threads,
    )  # fmt: skip
    with progress_bar(quiet=flags.common.quiet) as progress:
        written = write_pictures(
            model, flags.source, Path(flags.out), limit=flags.max_keyframes, start=flags.start,
            stride=flags.stride, fps=flags.fps, overwrite=flags.overwrite, progress=progress,
        )  # fmt: skip
    for picture in written:
        print(f"{picture.path}: {picture.kept} of {picture.tokens} tokens kept, best p(actor) "
              f"{picture.best:.3f}")  # fmt: skip
    if model.no_attention_reason is not None:
        print(f"note: {model.no_attention_reason}")
    if not model.trained:
        print("note: the weights are untrained: these pictures mean nothing")
    return 0
