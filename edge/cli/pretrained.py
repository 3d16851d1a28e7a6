"""`edge pretrained`: convert a published network to weights of a stem."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import ConfigError
from runtime.options import (
    EXIT_OK,
    CommonOptions,
    OptionParser,
    check_options,
    option,
    section,
)
from runtime.outputs import why_no_output


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainedFlags:
    """Flags of `edge pretrained`."""

    weights: str = option(
        dataclasses.MISSING,
        "an ONNX file whose layers are named as Keras' MobileNetV2 names them, such as MoveNet, or "
        "a state dict (.pth) of EfficientNet-Lite0",
        metavar="FILE",
    )
    licence: str = option(dataclasses.MISSING, "licence of the weights, stored in the file, such as"
                                               " Apache-2.0")  # fmt: skip
    out: str = option(dataclasses.MISSING, "file to write, float16", metavar="STEM.pt")
    overwrite: bool = option(False, "replace an existing file")
    common: CommonOptions = section(CommonOptions)

    def __post_init__(self) -> None:
        check_options(self)


def main(argv: Sequence[str]) -> int:
    """Convert one file."""
    flags = OptionParser(prog="edge pretrained", description=__doc__).parse_into(
        PretrainedFlags, argv
    )
    out = Path(flags.out)
    reason = why_no_output(out)
    if reason is not None:
        raise ConfigError(f"--out: {reason}")
    if out.exists() and not flags.overwrite:
        raise ConfigError(f"{out} exists; name another file or give --overwrite")
    from edge.model.stem_weights import convert_published, save_stem

    stem = convert_published(Path(flags.weights), licence=flags.licence)
    save_stem(out, stem)
    print(
        f"{stem.name}, width {stem.width:g}, {len(stem.weights)} tensors from {stem.source}, "
        f"{stem.licence}: {out}"
    )
    return EXIT_OK
