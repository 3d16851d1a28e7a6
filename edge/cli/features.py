"""`edge features`: compute a frozen stem's features of many clips once, to train behind them."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.cli._progress import progress_bar
from edge.cli._shard import parse_shard
from edge.training.config import TRAINABLE, TrainOptions
from runtime.errors import ConfigError
from runtime.options import EXIT_OK, OptionParser, option


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureFlags:
    """Flags of `edge features`."""

    data: str = option(dataclasses.MISSING, "data set, named as for edge train")
    clips: int = option(dataclasses.MISSING, "number of clips; more than the data set has are the "
                                             "same clips, changed in another way")  # fmt: skip
    out: str = option(dataclasses.MISSING, "folder of the features; a run that was stopped goes on "
                                           "in it", metavar="DIR")  # fmt: skip
    model: str = option("nano", "variant they are for", choices=TRAINABLE)
    init: str | None = option(None, "model whose stem computes them", metavar="MODEL.pt")
    stem_weights: str | None = option(None, "pretrained stem that computes them, without --init",
                                      metavar="STEM.pt")  # fmt: skip
    stem_cut: int | None = option(None, "first block of the stem that is to learn, and so is not "
                                        "part of the features; by default none is")  # fmt: skip
    imgsz: str | None = option(None, "input picture, px: a side, or height,width; by default the "
                                     "model's", metavar="SIDE")  # fmt: skip
    ignore_people: str | None = option(None, "as for edge train", metavar="DIR")
    bystanders: str = option("silent", "as for edge train", choices=("silent", "actors"))
    classes: str = option("own", "as for edge train: labels are kept with the features")
    augment: str = option("auto", "change clips, as for edge train", choices=("auto", "on", "off"))
    flip: float = option(0.5, "with --augment: probability of a mirror image")
    mosaic: float = option(0.25, "with --augment: probability of four clips side by side")
    scale_low: float = option(0.75, "with --augment: smallest factor on the size of people")
    scale_high: float = option(1.33, "with --augment: largest")
    read_scale: float = option(1.0, "with --augment: read clips so much larger than the input")
    shard: str = option("1/1", "I/N: compute this share of N; all shares fill one folder")
    max_gib: float = option(20.0, "most space that the features may take, GiB")
    precision: str = option("auto", "arithmetic of the stem; auto is bf16 where the processor has "
                                    "it", choices=("auto", "fp32", "bf16"))  # fmt: skip
    threads: int = option(1, "threads; 0 for one a core")
    seed: int = option(0, "of order and changes")
    quiet: bool = option(False, "no progress bar")
    verbose: bool = option(False, "show tracebacks")
    config: str | None = option(None, "YAML or JSON file with these flags", metavar="FILE")

    def __post_init__(self) -> None:
        if self.clips < 1:
            raise ConfigError(f"--clips is {self.clips}, expected 1 or more")
        if not self.max_gib > 0:
            raise ConfigError(f"--max-gib is {self.max_gib}, expected a number above 0")
        if self.threads < 0:
            raise ConfigError(f"--threads is {self.threads}, expected 0 or more")
        if self.init is None and self.stem_weights is None:
            raise ConfigError("give --stem-weights STEM.pt (made by `edge pretrained`) or --init")
        parse_shard(self.shard)

    @property
    def as_training(self) -> TrainOptions:
        """Return the flags of `edge train` that open the same clips in the same way."""
        names = {field.name for field in dataclasses.fields(TrainOptions)}
        mine = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        left_out = {"out", "config", "quiet", "verbose", "precision"}
        return TrainOptions(**{n: v for n, v in mine.items() if n in names - left_out})


def main(argv: Sequence[str]) -> int:
    """Compute the blocks of one share."""
    flags = OptionParser(prog="edge features", description=__doc__).parse_into(FeatureFlags, argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    from edge.training.data import open_training
    from edge.training.feature_job import FeatureJob, FeatureMaker, use_threads
    from edge.training.memory import keep_freed_memory
    from edge.training.processes import has_bf16_units
    from edge.training.setup import initial_model, model_config

    options = flags.as_training
    keep_freed_memory()
    use_threads(flags.threads)
    data = open_training(options, model_config(options).clip)
    model = initial_model(options, data.class_names)
    shard, shards = parse_shard(flags.shard)
    words = f"seed {flags.seed} " + " ".join(
        f"{name}={getattr(flags, name)}"
        for name in ("ignore_people", "bystanders", "augment", "flip", "mosaic",
                     "scale_low", "scale_high", "read_scale")
    )  # fmt: skip
    job = FeatureJob(
        out=Path(flags.out), clips=flags.clips, cut=flags.stem_cut, shard=shard, shards=shards,
        seed=flags.seed, spec=flags.data, data=words, max_gib=flags.max_gib,
        bf16=flags.precision == "bf16" or (flags.precision == "auto" and has_bf16_units()),
    )  # fmt: skip
    maker = FeatureMaker(model, data, job)
    with progress_bar(quiet=flags.quiet, lines=True) as progress:
        blocks = maker.run(progress)
    print(f"{blocks} blocks of share {flags.shard} of {flags.clips} clips: {flags.out}")
    return EXIT_OK
