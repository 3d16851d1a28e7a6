"""The clips of a source with their own frames, chosen by time as the device chooses them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from runtime.errors import CaptureError
from runtime.sampler import Sampler
from runtime.sources import Frame, Gap, Image, SourceConfig, open_source
from runtime.types import ClipSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceClip:
    """One clip.

    Attributes:
        frames: T frames, BGR, oldest first; one that fills two samples comes twice.
        times: Time of each, seconds.
        keyframe: Number of the keyframe in the source.
        keyframe_t: Its time, seconds.
    """

    frames: tuple[Image, ...]
    times: tuple[float, ...]
    keyframe: int
    keyframe_t: float


def clips_of(
    source: str, shape: ClipSpec, *, stride: int | None = None, fps: float | None = None
) -> Iterator[SourceClip]:
    """Yield the clips of a source, by the rule of `edge run`.

    Args:
        source: Video file, folder of images, stream or camera.
        shape: What the model wants.
        stride: Frames at the model's rate from one clip to the next, rounded up to samples; None
            takes a whole clip, so that no two overlap.
        fps: Frames a second of a folder of images.

    Raises:
        CaptureError: The source cannot be read, or ends before one clip is whole.
        CameraLostError: A live source was lost.
    """
    samples = shape.num_frames
    if stride is not None:
        samples = max(1, math.ceil(stride / shape.sampling_rate))
    sampler = Sampler(sampling_rate=shape.sampling_rate, fps=shape.fps)
    config = SourceConfig(image_fps=fps or shape.fps, stream_buffer=True, max_age_ms=5000.0)
    clip: deque[Frame] = deque(maxlen=shape.num_frames)
    decided: int | None = None
    count = grabbed = 0
    with open_source(source, config, sampler=sampler) as opened:
        for item in opened:
            if isinstance(item, Gap):
                clip.clear()
                decided = None
                continue
            grabbed += 1
            if item.sample is None or not item.sample.wanted:
                continue
            clip.extend([clip[-1]] * item.sample.repeats if clip else [])
            clip.extend([item] * item.sample.takes)
            filled = item.sample.filled
            if len(clip) == shape.num_frames and (decided is None or filled - decided >= samples):
                decided = filled
                count += 1
                yield _clip(clip, shape)
    if not count:
        raise CaptureError(
            f"{source} gave {grabbed} frames, too few for one clip, which lasts "
            f"{shape.span_s:.2f} s"
        )


def _clip(frames: deque[Frame], shape: ClipSpec) -> SourceClip:
    key = frames[shape.keyframe_index]
    return SourceClip(
        frames=tuple(frame.image_bgr for frame in frames),
        times=tuple(frame.t for frame in frames),
        keyframe=key.index,
        keyframe_t=key.t,
    )
