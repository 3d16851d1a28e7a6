"""Choose the clips that stand for the deployment.

There is no default data set: whoever deploys gives videos of the place, the camera and the light
where the model will work. Clips are spread over the videos and, in each video, over its length;
the seed decides where in its share of the video a clip lies.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.data.clips import VideoInfo, find_videos, probe_video, read_resized_clip
from edge.data.registry import open_dataset
from edge.data.specs import split_mix
from runtime.errors import CalibrationError, CaptureError
from runtime.types import ClipSpec, Progress

logger = logging.getLogger(__name__)

MIN_CLIPS = 32
"""Fewer than this, and ranges and threshold hang on single scenes: a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSource:
    """Where a clip came from.

    Attributes:
        path: The video file.
        centre_s: Time of the keyframe, seconds.
    """

    path: Path
    centre_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationClips:
    """The chosen clips and what was found on the way.

    Attributes:
        frames_rgb: (K, T, H, W, 3) uint8 RGB, resized.
        sources: Where each of the K clips came from.
        videos: Videos that gave at least one clip.
        unreadable: Each file that could not be used, and why.
        constant: Clips left out because every pixel of them was the same.
        wanted: How many clips were asked for.
    """

    frames_rgb: npt.NDArray[np.uint8]
    sources: tuple[ClipSource, ...]
    videos: tuple[Path, ...]
    unreadable: dict[str, str] = field(default_factory=dict)
    constant: int = 0
    wanted: int = 0

    def lines(self) -> list[str]:
        """Return the report, one sentence a line."""
        count, of = len(self.videos), self.videos[0].name if self.videos else ""
        origin = f"from {of}" if count == 1 else f"from {count} videos"
        report = [f"{len(self.sources)} clips of {self.wanted} wanted, {origin}"]
        report += [f"not used: {name}: {why}" for name, why in self.unreadable.items()]
        if self.constant:
            report.append(f"{self.constant} clips left out: one flat colour throughout")
        if len(self.sources) < MIN_CLIPS:
            report.append(
                f"only {len(self.sources)} clips: int8 ranges need about {MIN_CLIPS} or more; "
                "give longer or more videos of the place where the model will work"
            )
        return report


def clips_of_data_set(
    spec: str, clip: ClipSpec, *, count: int, progress: Progress | None = None
) -> CalibrationClips:
    """Take clips of a data set, such as those that the weights learnt from; evenly spread.

    Args:
        spec: What `open_dataset` takes; of several, with + between them, each gives its share:
            one part, or as many as stand behind it with a *.
        clip: What a clip is for the model.
        count: Clips wanted; fewer come from a smaller data set.
        progress: Told after each clip.

    Raises:
        ConfigError: The word names no data set.
        CalibrationError: All clips are one flat colour.
    """
    parts = split_mix(spec)
    if len(parts) > 1:
        shares = np.cumsum([times for _, times in parts]) * count // sum(t for _, t in parts)
        chosen = [
            clips_of_data_set(word, clip, count=int(share), progress=progress)
            for (word, _), share in zip(parts, np.diff(shares, prepend=0), strict=True)
            if share
        ]
        return CalibrationClips(
            frames_rgb=np.concatenate([one.frames_rgb for one in chosen]),
            sources=tuple(source for one in chosen for source in one.sources),
            videos=tuple(video for one in chosen for video in one.videos),
            constant=sum(one.constant for one in chosen),
            wanted=count,
        )
    dataset = open_dataset(spec, clip, part="train")
    taken = min(count, len(dataset))
    frames, sources = [], []
    for place in range(taken):
        sample = dataset[place * len(dataset) // taken]
        if sample.frames_rgb.min() != sample.frames_rgb.max():
            frames.append(sample.frames_rgb)
            sources.append(ClipSource(path=Path(sample.clip_id), centre_s=0.0))
        if progress is not None:
            progress(spec, place + 1, taken)
    if not frames:
        raise CalibrationError(f"all {taken} clips of {spec} are one flat colour")
    return CalibrationClips(
        frames_rgb=np.stack(frames),
        sources=tuple(sources),
        videos=(Path(spec),),
        constant=taken - len(frames),
        wanted=count,
    )


def choose_clips(
    calib_data: str | Path,
    clip: ClipSpec,
    *,
    count: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> CalibrationClips:
    """Choose and read clips, the same ones each time for the same files and seed.

    Args:
        calib_data: A folder of videos, or one video file.
        clip: What a clip is for the model.
        count: Clips wanted; fewer come where the videos are too short for so many.
        seed: Where in its share of a video each clip lies.
        progress: Told after each clip.

    Raises:
        CalibrationError: There is no usable video, or all clips are one flat colour.
    """
    root = Path(calib_data)
    if not root.exists():
        raise CalibrationError(f"no calibration data at {root}; give a folder of videos or a video")
    if count < 1:
        raise CalibrationError(f"{count} calibration clips asked for, expected 1 or more")
    infos, unreadable = _probe_all(find_videos(root), root, clip)
    if not infos:
        seen = "; ".join(f"{name}: {why}" for name, why in list(unreadable.items())[:5])
        why = f" ({seen})" if seen else ""
        if not seen and root.is_dir():
            why = " (pictures and other files are not read here)" if any(root.iterdir()) else ""
        raise CalibrationError(
            f"no usable video in {root}{why}; give videos of at least "
            f"{clip.span_s:.1f} s from the camera and place where the model will work"
        )
    plan = plan_clips(infos, clip, count=count, seed=seed)
    chosen = _read_all(plan, clip, unreadable, count, progress, root)
    for line in chosen.lines()[1:]:
        logger.warning("%s", line)
    return chosen


def plan_clips(
    infos: list[VideoInfo], clip: ClipSpec, *, count: int, seed: int = 0
) -> list[ClipSource]:
    """Spread `count` clips over videos and over the length of each.

    Every video gives one clip before any gives a second, and so on; a video gives no more clips
    than fit in it with at most half of each overlapping the next.
    """
    room = [1 + int(2 * (info.duration_s - clip.span_s) / max(clip.span_s, 0.5)) for info in infos]
    shares = [0] * len(infos)
    left = count
    while left > 0 and any(share < most for share, most in zip(shares, room, strict=True)):
        for index, most in enumerate(room):
            if shares[index] < most and left > 0:
                shares[index] += 1
                left -= 1
    # Where there are more videos than clips, the first by name would always win; the seed decides.
    order = np.random.default_rng(seed).permutation(len(infos))
    shares = [shares[int(index)] for index in np.argsort(order)] if count < len(infos) else shares
    plan: list[ClipSource] = []
    for info, share in zip(infos, shares, strict=True):
        plan += _spread(info, clip, share, np.random.default_rng([seed, len(plan), share]))
    return plan


def _spread(
    info: VideoInfo, clip: ClipSpec, share: int, random: np.random.Generator
) -> list[ClipSource]:
    """Lay `share` clips in equal parts of a video, each at a random place of its part."""
    before = clip.num_frames // 2 * clip.period_s
    free = max(0.0, info.duration_s - clip.span_s - 1.0 / info.fps)
    offsets = (np.arange(share) + random.uniform(size=share)) / max(share, 1) * free
    return [ClipSource(path=info.path, centre_s=round(before + float(o), 4)) for o in offsets]


def _probe_all(
    paths: list[Path], root: Path, clip: ClipSpec
) -> tuple[list[VideoInfo], dict[str, str]]:
    infos: list[VideoInfo] = []
    unreadable: dict[str, str] = {}
    for path in paths:
        try:
            info = probe_video(path)
        except CaptureError as error:
            unreadable[_name(path, root)] = str(error)
            continue
        if info.duration_s < clip.span_s:
            unreadable[_name(path, root)] = (
                f"lasts {info.duration_s:.2f} s, a clip needs {clip.span_s:.2f} s"
            )
            continue
        infos.append(info)
    return infos, unreadable


def _read_all(
    plan: list[ClipSource],
    clip: ClipSpec,
    unreadable: dict[str, str],
    wanted: int,
    progress: Progress | None,
    root: Path,
) -> CalibrationClips:
    frames: list[npt.NDArray[np.uint8]] = []
    sources: list[ClipSource] = []
    constant = 0
    for index, source in enumerate(plan):
        try:
            rgb = read_resized_clip(
                source.path,
                source.centre_s,
                num_frames=clip.num_frames,
                period_s=clip.period_s,
                height=clip.height,
                width=clip.width,
            )
        except CaptureError as error:
            unreadable[_name(source.path, root)] = str(error)
            continue
        if int(rgb.max()) == int(rgb.min()):
            constant += 1
        else:
            frames.append(rgb)
            sources.append(source)
        if progress is not None:
            progress("calibration clips", index + 1, len(plan))
    if not frames:
        why = "are one flat colour" if constant else "could not be read"
        raise CalibrationError(
            f"all {len(plan)} clips of {root} {why}; give videos in which people act"
        )
    return CalibrationClips(
        frames_rgb=np.stack(frames),
        sources=tuple(sources),
        videos=tuple(dict.fromkeys(source.path for source in sources)),
        unreadable=unreadable,
        constant=constant,
        wanted=wanted,
    )


def _name(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if root.is_dir() else path.name
