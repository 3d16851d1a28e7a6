"""Compute the features of a frozen stem for a number of changed clips, in blocks."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edge.data.dataset import ClipDataset
from edge.data.samples import ClipSample
from edge.model.bmvit import BMViT
from edge.model.stem_mvit import StemMViT
from edge.model.stem_weights import stem_digest
from edge.training.features import (
    ABOUT_FILE,
    FeatureAbout,
    pack_features,
    write_block,
)
from edge.training.loader import StepOrder
from edge.training.step import channels_innermost
from edge.training.targets import Normalize, collate
from runtime.errors import ConfigError

logger = logging.getLogger(__name__)

# Clips whose features give the scales of all.
_RANGE_CLIPS = 16
_HEADROOM = 1.1
_GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureJob:
    """What is to be computed, and which share of it.

    Attributes:
        out: Folder of the features.
        clips: Number of clips, over all shards; a clip of the data set occurs again, changed in
            another way, where there are more than the data set has.
        cut: First block of the stem that is not part of the features; None for all of it.
        shard: Which share, from 0.
        shards: Number of shares.
        seed: Of the order of the clips.
        spec: The data set, as `--data` named it.
        data: All that chooses and changes its clips, in words.
        max_gib: Most space that the features of all shards may take.
        bf16: Compute in bfloat16.
    """

    out: Path
    clips: int
    cut: int | None
    shard: int
    shards: int
    seed: int
    spec: str
    data: str
    max_gib: float
    bf16: bool


class FeatureMaker:
    """Runs a stem over clips."""

    def __init__(self, model: BMViT, dataset: ClipDataset, job: FeatureJob) -> None:
        """Prepare a job.

        Raises:
            ConfigError: The model has no pretrained stem, or the features would be too large.
        """
        if not isinstance(model.backbone, StemMViT):
            raise ConfigError(
                f"features are for models with a pretrained stem (pico, nano, tiny), not for "
                f"{model.config.variant}"
            )
        self.stem = model.backbone.stem.eval().requires_grad_(False)
        channels_innermost(self.stem)
        self.dataset, self.job, self.config = dataset, job, model.config
        count = len(self.stem.blocks)
        self.cut = count if job.cut is None else job.cut
        if not 0 < self.cut <= count:
            raise ConfigError(f"--stem-cut {job.cut}: expected 1 to {count}")
        self.normalize = Normalize(model.config, torch.device("cpu"))
        self.order = StepOrder(len(dataset), 1, job.seed)
        config = model.config
        shapes = tuple(self.stem.kept_shapes(self.cut, config.height, config.width))
        self.about = FeatureAbout(
            stem_digest=stem_digest(self.stem, self.cut), cut=self.cut,
            num_frames=config.num_frames, height=config.height, width=config.width,
            shapes=shapes, scales=(), clips=job.clips, class_names=tuple(dataset.class_names),
            spec=job.spec,
            data=job.data,
        )  # fmt: skip
        size = self.about.bytes_per_clip * job.clips / _GIB
        if size > job.max_gib:
            most = int(job.max_gib * _GIB / self.about.bytes_per_clip)
            raise ConfigError(
                f"the features of {job.clips} clips take {size:.1f} GiB, --max-gib allows "
                f"{job.max_gib:g}; use --clips {most} or raise --max-gib"
            )

    def run(self, progress: Callable[[str, int, int], None] | None = None) -> int:
        """Compute the blocks of this share that are not there yet.

        Returns:
            How many blocks of this share are there in the end.

        Raises:
            ConfigError: The folder holds features of something else.
        """
        self.job.out.mkdir(parents=True, exist_ok=True)
        self._begin()
        scales = [torch.tensor(one) for one in self.about.scales]
        mine = range(self.job.shard, self.about.blocks, self.job.shards)
        saturated = 0
        for done, block in enumerate(mine):
            if not (self.job.out / f"{block:05d}.npy").exists():
                samples = [self._sample(number) for number in self.about.clips_of(block)]
                maps = self._maps(samples)
                packed = pack_features(maps, scales, len(samples))
                saturated += int((np.abs(packed.astype(np.int16)) == 127).sum())
                bare = [replace(one, frames_rgb=one.frames_rgb[:0]) for one in samples]
                write_block(self.job.out, block, packed, bare)
            if progress is not None:
                progress("blocks of features", done + 1, len(mine))
        logger.info("%d values of these blocks lie at the end of their range", saturated)
        return len(mine)

    def _begin(self) -> None:
        """Write what the features are, or check that the folder has the same."""
        if (self.job.out / ABOUT_FILE).exists():
            begun = FeatureAbout.load(self.job.out)
            if replace(begun, scales=()) != self.about:
                raise ConfigError(
                    f"--out {self.job.out} holds features of other clips, flags or weights; name "
                    "another folder or delete it"
                )
            self.about = begun
            return
        samples = [self._sample(number) for number in range(min(_RANGE_CLIPS, self.job.clips))]
        scales = []
        for one in self._maps(samples):
            most = one.float().abs().amax(dim=(0, 2, 3)).clamp(min=1e-3)
            scales.append(tuple(float(value) for value in most * (_HEADROOM / 127)))
        self.about = replace(self.about, scales=tuple(scales))
        self.about.save(self.job.out)

    def _sample(self, number: int) -> ClipSample:
        epoch, index = divmod(self.order(number)[0], len(self.dataset))
        return self.dataset.clip(index, epoch)

    @torch.inference_mode()
    def _maps(self, samples: list[ClipSample]) -> list[Tensor]:
        found: list[list[Tensor]] = []
        for first in range(0, len(samples), 4):  # a few clips at once stay in the cache
            clip = self.normalize(collate(samples[first : first + 4]).frames)
            flat = clip.transpose(1, 2).flatten(0, 1)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.job.bf16):
                found.append(self.stem.lower(flat, self.cut))
        return [
            torch.cat([part[index].float() for part in found]) for index in range(len(found[0]))
        ]


def use_threads(count: int) -> None:
    """Let torch use so many threads."""
    torch.set_num_threads(count or len(os.sched_getaffinity(0)))
