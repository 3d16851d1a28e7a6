"""`edge export`: convert a checkpoint to a bundle, run it and compare it with torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from calibration.cli import require_export_extra
from runtime.cli import say
from runtime.errors import ConfigError
from runtime.options import LongJobOptions, OptionParser, check_options, option, section


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """Flags of `edge export`."""

    model: str = option(dataclasses.MISSING, "checkpoint", metavar="MODEL.pt")
    targets: tuple[str, ...] | None = option(
        None, "targets, such as xnnpack-int8 xnnpack-fp32; by default xnnpack-int8"
    )
    format: str | None = option(
        None, "engine format, with --precision, and --backend for executorch",
        choices=("executorch", "pte", "onnx", "engine", "tensorrt", "trt", "coreml"),
    )  # fmt: skip
    backend: str = option("xnnpack", "delegate of ExecuTorch",
                          choices=("xnnpack", "vulkan", "openvino"))  # fmt: skip
    precision: str = option("int8", "number format", choices=("fp32", "fp16", "int8"))
    calib_data: str | None = option(
        None, "folder of videos, one video, a data set such as synthetic-train, or a calibration "
        "file; int8 needs it",
    )  # fmt: skip
    calib_clips: int = option(256, "number of calibration clips", least=1)
    qat_model: str | None = option(
        None, "the same network trained for int8; used if it is better on --val-data",
        metavar="MODEL.pt",
    )  # fmt: skip
    val_data: str | None = option(
        None, "labelled clips to measure accuracy and fit the thresholds, such as "
              "synthetic-val:500; without them the actor threshold is a quantile of the scores",
    )  # fmt: skip
    val_clips: int = option(
        0, "largest number of clips of --val-data, spread over the videos; 0 = all", least=0
    )
    float_layers: tuple[str, ...] = option(
        (), "layers that stay in float32: names, or N for the N that cost most",
        metavar="N|LAYER",
    )  # fmt: skip
    out: str = option(dataclasses.MISSING, "bundle folder to write", metavar="BUNDLE")
    overwrite: bool = option(False, "replace an existing bundle")
    common: LongJobOptions = section(LongJobOptions)

    def __post_init__(self) -> None:
        if self.targets is not None and self.format is not None:
            raise ConfigError("--targets and --format name the same thing; give one of them")
        check_options(self)

    @property
    def wanted(self) -> tuple[str, ...]:
        """Target names, from either way of saying them."""
        if self.targets is not None:
            return self.targets
        engine = self.backend if self.format in (None, "executorch", "pte") else self.format
        engine = "tensorrt" if engine in ("engine", "trt") else engine
        return (f"{engine}-{self.precision}",)


def main(argv: Sequence[str]) -> int:
    """Export; exits 1 where a target that could be tried here failed, though others were made."""
    parser = OptionParser(prog="edge export", description=__doc__)
    options = parser.parse_into(ExportOptions, argv)
    require_export_extra()
    from edge.cli._progress import progress_bar
    from export.pipeline import export_bundle

    with progress_bar(quiet=options.common.quiet, lines=True) as progress:
        report = export_bundle(
            options.model,
            targets=options.wanted,
            calib_data=options.calib_data,
            calib_clips=options.calib_clips,
            out=options.out,
            qat_model=options.qat_model,
            val_data=options.val_data,
            val_clips=options.val_clips,
            float_layers=options.float_layers,
            overwrite=options.overwrite,
            progress=progress,
        )
    for line in report.lines():
        say(line)
    return 1 if report.failed else 0
