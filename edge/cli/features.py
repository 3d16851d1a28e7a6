"""`edge features`: compute the features of a frozen stem once, for faster training."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.cli._progress import progress_bar
from edge.training.config import TrainOptions
from edge.training.input_options import AugmentOptions, ClipOptions, StartOptions
from runtime.errors import ConfigError
from runtime.options import (
    EXIT_OK,
    LongJobOptions,
    OptionParser,
    check_options,
    option,
    parse_share,
    section,
    to_flat,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureFlags:
    """Flags of `edge features`."""

    start: StartOptions = section(StartOptions)
    source: ClipOptions
    changes: AugmentOptions = section(AugmentOptions)
    clips: int = option(dataclasses.MISSING, "number of clips; beyond the data set's size, clips "
                                             "repeat with other augmentation",
                        least=1)  # fmt: skip
    out: str = option(dataclasses.MISSING, "folder of the features; a stopped run continues in it",
                      metavar="DIR")  # fmt: skip
    stem_cut: int | None = option(None, "first block of the stem to be trained, which is left out "
                                        "of the features; by default none")  # fmt: skip
    shard: str = option("1/1", "I/N: compute only this share; all shares go into one folder")
    max_gib: float = option(20.0, "largest size of the features, GiB", above=0)
    precision: str = option("auto", "arithmetic of the stem; auto is bf16 where the processor has "
                                    "it", choices=("auto", "fp32", "bf16"))  # fmt: skip
    threads: int = option(1, "threads; 0 = one for each core", least=0)
    seed: int = option(0, "seed of order and augmentation", least=0)
    common: LongJobOptions = section(LongJobOptions)

    def __post_init__(self) -> None:
        check_options(self)
        if self.start.init is None and self.start.stem_weights is None:
            raise ConfigError("give --stem-weights STEM.pt (made by `edge pretrained`) or --init")
        parse_share(self.shard)


def main(argv: Sequence[str]) -> int:
    """Compute the blocks of one share."""
    flags = OptionParser(prog="edge features", description=__doc__).parse_into(FeatureFlags, argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    from edge.training.data import open_training
    from edge.training.feature_job import FeatureJob, FeatureMaker, use_threads
    from edge.training.memory import keep_freed_memory
    from edge.training.processes import has_bf16_units
    from edge.training.setup import initial_model, model_config

    options = TrainOptions(
        start=flags.start, clips=flags.source, augment=flags.changes, seed=flags.seed
    )
    keep_freed_memory()
    use_threads(flags.threads)
    data = open_training(options, model_config(options).clip)
    model = initial_model(options, data.class_names)
    shard, shards = parse_share(flags.shard)
    flat = to_flat(flags)
    words = f"seed {flags.seed} " + " ".join(
        f"{name}={flat[name]}"
        for name in ("ignore_people", "bystanders", "augment", "flip", "mosaic",
                     "scale_low", "scale_high", "read_scale")
    )  # fmt: skip
    if flags.changes.distractors is not None:
        words += f" distractors={flags.changes.distractors} {flags.changes.distractor_share}"
    job = FeatureJob(
        out=Path(flags.out), clips=flags.clips, cut=flags.stem_cut, shard=shard, shards=shards,
        seed=flags.seed, spec=flags.source.data, data=words, max_gib=flags.max_gib,
        bf16=flags.precision == "bf16" or (flags.precision == "auto" and has_bf16_units()),
    )  # fmt: skip
    maker = FeatureMaker(model, data, job)
    with progress_bar(quiet=flags.common.quiet, lines=True) as progress:
        blocks = maker.run(progress)
    print(f"{blocks} blocks of share {flags.shard} of {flags.clips} clips: {flags.out}")
    return EXIT_OK
