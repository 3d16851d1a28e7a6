"""The clips that an export is judged on: those of the deployment, or drawn ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from export.base import Progress
from runtime.types import Floats

if TYPE_CHECKING:
    from edge.model.bmvit import BMViTConfig
    from edge.model.checkpoint import Checkpoint

Frames = npt.NDArray[np.uint8]


def deployment_clips(
    checkpoint_path: Path,
    checkpoint: Checkpoint,
    calib_data: str | Path | None,
    count: int,
    progress: Progress | None,
) -> tuple[Frames, list[str]]:
    """Return clips (K, T, H, W, 3) of the deployment, and what to say about them; else drawn ones.

    Args:
        checkpoint_path: Whose weights a calibration file must be of.
        checkpoint: What the clips are for.
        calib_data: As `export_bundle` takes it.
        count: Clips wanted.
        progress: Told after each clip.

    Raises:
        CalibrationError: The data gives no clips.
    """
    from calibration.calibrate import obtain_clips

    if calib_data is None:
        note = "no --calib-data: compared with torch, and θ fitted, on drawn clips only"
        return drawn_clips(checkpoint.config, 4), [note]
    clips = obtain_clips(
        checkpoint_path, checkpoint.config, calib_data, count=count, progress=progress
    )
    return clips.frames_rgb, clips.lines()


def drawn_clips(config: BMViTConfig, count: int) -> Frames:
    """Return clips of the drawn demo scene, (count, T, H, W, 3) uint8 RGB."""
    from edge.data.clips import resize_frames
    from edge.data.demo_clip import render_frame

    clip = config.clip
    return np.stack(
        [
            resize_frames(
                [render_frame(1.0 + i + t * clip.period_s) for t in range(clip.num_frames)],
                clip.height,
                clip.width,
            )
            for i in range(count)
        ]
    )


def engine_clips(
    checkpoint: Checkpoint, frames: Frames, golden: Frames
) -> tuple[list[Floats], Floats]:
    """Return the clips and the golden one as an engine takes them, (1, T, 3, H, W) float32."""
    from calibration.calibrate import engine_clips as normalized

    config = checkpoint.config
    return list(normalized(frames, config)), next(normalized(golden[None], config))
