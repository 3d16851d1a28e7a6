"""`edge calibrate`: choose clips for a checkpoint, measure ranges on them, keep both in a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from calibration.cache import load_clips, save_clips
from calibration.clips import CalibrationClips, choose_clips, clips_of_data_set
from edge.data.registry import names_data_set
from runtime.bundle import file_sha256
from runtime.errors import ConfigError
from runtime.preprocess import normalize
from runtime.types import ClipSpec, Progress

if TYPE_CHECKING:
    from torch import Tensor

    from calibration.ranges import LayerRange
    from edge.model.bmvit import BMViTConfig

# Ranges settle after a few clips; the report need not run all of them.
_RANGE_CLIPS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationReport:
    """What `calibrate` did.

    Attributes:
        out: The file that was written.
        clips: The chosen clips.
        ranges: Range of each layer's output on them.
    """

    out: Path
    clips: CalibrationClips
    ranges: list[LayerRange]

    def lines(self) -> list[str]:
        """Return the report, one sentence a line, then the layers with the widest outliers."""
        from calibration.ranges import OUTLIER_RATIO

        report = self.clips.lines()
        worst = sorted(self.ranges, key=lambda r: r.outlier_ratio, reverse=True)[:5]
        report.append(f"{len(self.ranges)} layers measured; widest against their 99.9 % quantile:")
        report += [
            f"  {r.name}: {r.low:.3g} .. {r.high:.3g}, {r.outlier_ratio:.1f} x"
            f"{'  (int8 will lose here)' if r.outlier_ratio > OUTLIER_RATIO else ''}"
            for r in worst
        ]
        size = self.out.stat().st_size / 1e6
        report.append(f"written to {self.out} ({size:.1f} MB); use it as --calib-data")
        return report


def calibrate(
    checkpoint_path: str | Path,
    calib_data: str | Path,
    calib_clips: int = 256,
    out: str | Path = "calibration.npz",
    *,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> CalibrationReport:
    """Choose calibration clips for a checkpoint and write them with the ranges measured on them.

    Args:
        checkpoint_path: The float checkpoint.
        calib_data: Folder of videos, or one video, of the place where the model will work.
        calib_clips: Clips wanted.
        out: File to write; `export_bundle` takes it as its `calib_data`.
        seed: Where in its share of a video each clip lies.
        overwrite: Replace the file when it exists.
        progress: Told after each clip.

    Raises:
        ConfigError: The file exists and `overwrite` is not set.
        CalibrationError: No clip can be had from the data.
        ArtifactError: The checkpoint cannot be loaded.
    """
    from calibration.ranges import activation_ranges
    from edge.model.checkpoint import load_checkpoint

    out = Path(out)
    if out.suffix != ".npz":
        raise ConfigError(f"the calibration file is {out}, expected a name that ends in .npz")
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists; choose another name or pass --overwrite")
    checkpoint = load_checkpoint(checkpoint_path)
    clip = checkpoint.config.clip
    clips = new_clips(calib_data, clip, count=calib_clips, seed=seed, progress=progress)
    picked = clips.frames_rgb[:: max(1, len(clips.frames_rgb) // _RANGE_CLIPS)]
    ranges = activation_ranges(checkpoint.model, model_clips(picked, checkpoint.config))
    save_clips(
        out,
        clips,
        weights_sha256=file_sha256(Path(checkpoint_path)),
        clip=clip,
        seed=seed,
        ranges=[r.to_dict() for r in ranges],
    )
    return CalibrationReport(out=out, clips=clips, ranges=ranges)


def obtain_clips(
    checkpoint_path: Path,
    config: BMViTConfig,
    calib_data: str | Path,
    *,
    count: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> CalibrationClips:
    """Return clips from a file that `calibrate` wrote, or choose them from videos.

    Raises:
        CalibrationError: The file is stale or broken, or no clip can be had from the videos.
    """
    path = Path(calib_data)
    clip = config.clip
    if path.is_file() and path.suffix == ".npz":
        return load_clips(path, weights_sha256=file_sha256(checkpoint_path), clip=clip)
    return new_clips(calib_data, clip, count=count, seed=seed, progress=progress)


def new_clips(
    calib_data: str | Path,
    clip: ClipSpec,
    *,
    count: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> CalibrationClips:
    """Choose clips from videos, or take them from a data set that a word names.

    Raises:
        CalibrationError: No clip can be had.
    """
    word = str(calib_data)
    if names_data_set(word) and not Path(word).exists():
        return clips_of_data_set(word, clip, count=count, progress=progress)
    return choose_clips(calib_data, clip, count=count, seed=seed, progress=progress)


def engine_clips(
    frames_rgb: npt.NDArray[np.uint8], config: BMViTConfig
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield each clip as an engine takes it, (1, T, 3, H, W) float32."""
    for clip in frames_rgb:
        yield normalize(clip, config.clip)


def model_clips(frames_rgb: npt.NDArray[np.uint8], config: BMViTConfig) -> Iterator[Tensor]:
    """Yield each clip as the torch model takes it, (1, 3, T, H, W) float32."""
    import torch

    for clip in engine_clips(frames_rgb, config):
        yield torch.from_numpy(clip).transpose(1, 2)
