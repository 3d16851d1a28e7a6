"""From videos to a data set: detect, follow, write; what is finished is not done again.

Shares of the videos may be done by several processes at once: each writes the files of its own
videos, and a last run finds all of them finished and writes the tables.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge.data.media import Media
from edge.labelling.boxes import Boxes
from edge.labelling.clip_labels import class_names, clip_labels, read_groups
from edge.labelling.detectors import Detector
from edge.labelling.packages import needed
from edge.labelling.plan import LabelJob
from edge.labelling.review import PAGE, Rejected, read_review, write_page
from edge.labelling.store import (
    FORMAT,
    SUMMARY,
    TRACKS,
    LabelledVideo,
    read_summary,
    read_video,
    refuse_other_flags,
    tracks_path,
    write_video,
)
from edge.labelling.tables import (
    ANNOTATIONS,
    next_commands,
    split_videos,
    summary,
    summary_lines,
    video_label_rows,
    write_or_remove,
    write_tables,
)
from edge.labelling.tracks import make_tracks
from edge.labelling.tta import find_people
from edge.labelling.videos import (
    Video,
    find_sources,
    open_sources,
    place_videos,
    refuse_many_lost,
    refuse_nested,
    sampled_frames,
)
from runtime.errors import CaptureError, ConfigError
from runtime.outputs import write_atomically
from runtime.types import Progress

VIDEO_LABELS, GROUPS = "video_labels.csv", "groups.csv"
_WRITTEN = (*ANNOTATIONS, VIDEO_LABELS, GROUPS, "classes.txt", "fps.txt", PAGE, SUMMARY)


def label(job: LabelJob, progress: Progress | None = None) -> list[str]:
    """Label all videos and write the data set; return the lines to print.

    Raises:
        ConfigError: A flag cannot be used, or is another than the folder was begun with.
        ArtifactError: The detector cannot be used, or a finished file is damaged.
        BackendUnavailableError: A package is missing.
        CaptureError: More than a tenth of the videos cannot be used.
    """
    refuse_nested(job.source, job.out)
    videos = find_sources(job.source)
    files = {video.name: video.file for video in videos}
    classes = class_names("person" if job.person_class.isdecimal() else job.person_class,
                          job.present, job.absent)  # fmt: skip
    labels = clip_labels(files, job.present, job.absent)
    groups = None if job.groups is None else read_groups(job.groups, files)
    needed("scipy.optimize")
    needed("scipy.signal")
    detector = Detector(job.detector, person_class=job.person_class, threads=job.threads)
    flags = job.detection_flags(detector.sha256)
    before = _begin(job, flags)
    if job.shard is not None:
        return _share(job, videos, detector, before, progress)
    good, lost = open_sources(videos, job.fps)
    done, damaged = _finished(job, good, detector, before, progress)
    lost += damaged
    refuse_many_lost(lost, len(videos))
    rejected = Rejected() if job.review is None else read_review(job.review, done)
    used = [video for video, _ in good if video.name in done]
    kept = [video for video in used if video.name not in rejected.videos]
    if not kept:
        raise ConfigError(f"--review {job.review} rejects every video; nothing is left to write")
    place_videos(job.out, kept, copy=job.copy)
    names = [video.name for video in kept]
    lines, parts = split_videos(job, names, groups, labels)
    counts = write_tables(job, parts, done, rejected)
    write_atomically(job.out / "classes.txt", "".join(f"{name}\n" for name in classes))
    write_or_remove(job.out / VIDEO_LABELS, video_label_rows(names, labels, classes))
    sources = {} if groups is None else {name: groups.get(name, "") for name in names}
    write_or_remove(job.out / GROUPS, sources.items())
    if any(video.path.is_dir() for video in kept):
        write_atomically(job.out / "fps.txt", f"{job.fps:g}\n")
    if job.page_tracks:
        media = {video.name: one for video, one in good}
        lines += write_page(job.out, media, done, labels=labels, rejected=rejected,
                            most=job.page_tracks, progress=progress)  # fmt: skip
    _write_summary(job.out, summary(job, flags, detector, parts, counts, lost, rejected))
    return [*summary_lines(job, counts, lost, rejected, before), *lines, *next_commands(job, parts)]


def _share(
    job: LabelJob, videos: Sequence[Video], detector: Detector, before: Mapping[str, Any] | None,
    progress: Progress | None,
) -> list[str]:  # fmt: skip
    """Label one share of the videos: every so many of them, in the order of their names."""
    assert job.shard is not None
    share, shares = job.shard
    mine = videos[share::shares]
    good, lost = open_sources(mine, job.fps)
    done, damaged = _finished(job, good, detector, before, progress)
    lost += damaged
    refuse_many_lost(lost, len(mine))
    return [
        *(f"left out: {video.file}: {why}" for video, why in lost),
        f"share {share + 1} of {shares}: {len(done)} of {len(videos)} videos labelled",
        "When all shares are done: the same command without --shard writes the tables",
    ]


def _begin(job: LabelJob, flags: Mapping[str, Any]) -> dict[str, Any] | None:
    """Look at what is in the folder, and note the flags before the first video is done."""
    out = job.out
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file, expected a folder")
    if job.overwrite and (out / SUMMARY).is_file():
        # Only what a run writes: whatever else a person put there stays.
        shutil.rmtree(out / TRACKS, ignore_errors=True)
        for name in _WRITTEN:
            (out / name).unlink(missing_ok=True)
        before = None
    else:
        before = read_summary(out)
    if before is not None:
        advice = "give the same, name another --out, or add --overwrite to begin again"
        refuse_other_flags(out, before.get("detection", {}), flags, advice)
    same = before is not None and before.get("tracking") == job.track_flags()
    if job.review is not None:
        if before is None or not before.get("tracking"):
            raise ConfigError(f"--review: {out} holds no finished labels yet; label first, look at "
                              "review.html, then give its review.csv")  # fmt: skip
        advice = "a review fits the tracks that it was made of; give the same"
        refuse_other_flags(out, before["tracking"], job.track_flags(), advice)
    if not same:
        _write_summary(out, {"detection": flags, "tracking": None})
    return before


def _write_summary(out: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps({"format": FORMAT, **content}, indent=1, ensure_ascii=False)
    write_atomically(out / SUMMARY, text + "\n")


def _finished(
    job: LabelJob,
    good: Sequence[tuple[Video, Media]],
    detector: Detector,
    before: Mapping[str, Any] | None,
    progress: Progress | None,
) -> tuple[dict[str, LabelledVideo], list[tuple[Video, str]]]:
    """Return every video's labels, from its file or made now; and those that broke on the way."""
    same = before is not None and before.get("tracking") == job.track_flags()
    total = sum(max(1, round(media.num_frames / media.fps / job.every_s)) for _, media in good)
    past = 0
    done: dict[str, LabelledVideo] = {}
    lost: list[tuple[Video, str]] = []
    for video, media in good:
        length = max(1, round(media.num_frames / media.fps / job.every_s))
        path = tracks_path(job.out, video.name)
        kept = read_video(path) if path.is_file() else None
        if kept is not None and kept.bytes == video.bytes and kept.file == video.file:
            samples, size_wh = list(kept.samples), kept.size_wh
        else:
            kept = None
            try:
                samples = _samples(job, media, detector, past, total, progress)
            except CaptureError as error:
                lost.append((video, str(error)))
                continue
            size_wh = media.size_wh
        past += length
        if kept is not None and same:
            done[video.name] = kept
            continue
        new = LabelledVideo(
            video=video.name, file=video.file, bytes=video.bytes, size_wh=size_wh,
            every_s=job.every_s, samples=samples,
            tracks=make_tracks(samples, job.every_s, job.tracks),
        )  # fmt: skip
        write_video(job.out, new)
        # As the next run will read it, so that rows do not depend on which run wrote them.
        done[video.name] = read_video(path)
    return done, lost


def _samples(
    job: LabelJob, media: Media, detector: Detector, past: int, total: int,
    progress: Progress | None,
) -> list[Boxes]:  # fmt: skip
    samples: list[Boxes] = []
    newest = None
    for frame in sampled_frames(media, job.every_s):
        if frame is not newest:
            found = find_people(detector, frame, job.views).rounded()
            newest = frame
        samples.append(found)
        if progress is not None:
            progress("label", min(past + len(samples), total), total)
    return samples
