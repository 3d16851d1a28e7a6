"""`edge quantize`: measure the accuracy of a checkpoint in int8, also by layer.

Without `--qat` nothing is trained: ranges come from calibration clips, and torch measures all.
`edge export` makes the programs for devices. With `--qat` it trains for int8.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from calibration.cli import require_export_extra
from runtime.cli import say
from runtime.errors import ConfigError
from runtime.options import LongJobOptions, OptionParser, check_options, option, section
from runtime.outputs import write_atomically
from runtime.report import host_facts


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeOptions:
    """Flags of `edge quantize`."""

    model: str = option(dataclasses.MISSING, "checkpoint", metavar="MODEL.pt")
    calib_data: str = option(
        dataclasses.MISSING,
        "folder of videos, one video, a data set such as synthetic-train, or a calibration file",
    )
    calib_clips: int = option(256, "number of calibration clips", least=2)
    engine: str = option(
        "xnnpack", "engine whose int8 scheme is used", choices=("xnnpack", "tensorrt")
    )
    val_data: str | None = option(
        None, "labelled clips to measure the accuracy on, such as synthetic-val:500"
    )
    val_clips: int = option(100, "largest number of clips of --val-data", least=1)
    float_layers: tuple[str, ...] = option(
        (), "layers that stay in float32: names, or N for the N that cost most",
        metavar="N|LAYER",
    )  # fmt: skip
    sensitivity: bool = option(False, "also quantize each group and each layer alone")
    out: str | None = option(
        None, "write the int8 program for torch.export.load", metavar="FILE.pt2"
    )
    json: str | None = option(None, "write the report as JSON", metavar="FILE.json")
    overwrite: bool = option(False, "replace existing files")
    common: LongJobOptions = section(LongJobOptions)

    def __post_init__(self) -> None:
        check_options(self)
        for path in (self.out, self.json):
            if path is not None and Path(path).exists() and not self.overwrite:
                raise ConfigError(f"{path} exists; choose another name or pass --overwrite")
        if self.out is not None and Path(self.out).suffix != ".pt2":
            raise ConfigError(f"--out is {self.out}, expected a name that ends in .pt2")


def main(argv: Sequence[str]) -> int:
    """Quantize after training and print the report, or train for int8."""
    if "--qat" in argv:
        from edge.cli import train

        return train.main(training_flags(argv))
    parser = OptionParser(
        prog="edge quantize", description=__doc__,
        epilog="edge quantize --qat --model MODEL.pt --data DATA --out RUN: train for int8, with "
               "the flags of edge train (edge train --help lists them)",
    )  # fmt: skip
    options = parser.parse_into(QuantizeOptions, argv)
    require_export_extra()
    from edge.cli._progress import progress_bar
    from quantize.checkpoint import quantize_checkpoint

    with progress_bar(quiet=options.common.quiet, lines=True) as progress:
        report = quantize_checkpoint(
            options.model,
            options.calib_data,
            calib_clips=options.calib_clips,
            engine=options.engine,
            float_layers=options.float_layers,
            val_data=options.val_data,
            val_clips=options.val_clips,
            sensitivity=options.sensitivity,
            out=options.out,
            progress=progress,
        )
    for line in report.lines():
        say(line)
    if options.json is not None:
        tables = report.tables()
        content = {
            "command": shlex.join(["edge", "quantize", *argv]),
            "date": datetime.now(tz=timezone.utc).date().isoformat(),
            "host": host_facts(),
            "table": tables[-2] if report.layers else tables[-1],
            **report.record(),
        }
        write_atomically(
            Path(options.json), json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        )
    return 0


def training_flags(argv: Sequence[str]) -> list[str]:
    """Return the flags of `edge train` for those of `edge quantize --qat`.

    The checkpoint of `--model` is what training begins with, and says which variant it is.

    Raises:
        ArtifactError: The checkpoint cannot be loaded.
    """
    words = [part for word in argv for part in (
        word.split("=", 1) if word.startswith("--model=") else [word]
    )]  # fmt: skip
    if "--model" not in words[:-1]:
        return words
    require_export_extra()
    from edge.model.checkpoint import load_checkpoint

    at = words.index("--model")
    path = words[at + 1]
    variant = load_checkpoint(path).config.variant
    return [*words[:at], "--init", path, "--model", variant, *words[at + 2 :]]
