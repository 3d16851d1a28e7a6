"""Keep chosen clips in a file, and refuse it when anything it stood for has changed.

A stale calibration cache gives an artifact that is quietly wrong. The key is a digest of all that
the clips depend on: weights, preprocess, the list of videos with their sizes and times of change,
the seed, and the versions of what read them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from calibration.clips import CalibrationClips, ClipSource
from edge.data.registry import names_data_set
from runtime.archives import UNREADABLE
from runtime.errors import CalibrationError
from runtime.outputs import atomic_file
from runtime.types import ClipSpec

FORMAT = "bmvit-edge-calibration"
SCHEMA_VERSION = 1


def versions() -> dict[str, str]:
    """Return the versions that decide which pixels a video decodes to."""
    return {"numpy": np.__version__, "opencv": str(cv2.__version__), "schema": str(SCHEMA_VERSION)}


def describe_files(paths: tuple[Path, ...]) -> list[list[Any]]:
    """Return name, size in bytes and time of change in ns of each file; none of a data set's."""
    rows: list[list[Any]] = []
    for path in paths:
        if names_data_set(str(path)) and not path.exists():
            continue  # a word, such as synthetic-train: there is no one file that could change
        stat = path.stat()
        rows.append([str(path.resolve()), stat.st_size, stat.st_mtime_ns])
    return rows


def cache_key(*, weights_sha256: str, clip: ClipSpec, content: dict[str, Any]) -> str:
    """Return the digest of all that cached clips depend on.

    Args:
        weights_sha256: Digest of the checkpoint file.
        clip: What a clip is for the model.
        content: The cache's own description: files, seed, count, versions.
    """
    names = ("num_frames", "period_s", "height", "width")
    of_clip = {name: getattr(clip, name) for name in names}
    text = json.dumps([weights_sha256, of_clip, content], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def save_clips(
    path: Path,
    clips: CalibrationClips,
    *,
    weights_sha256: str,
    clip: ClipSpec,
    seed: int,
    ranges: list[dict[str, Any]] | None = None,
) -> None:
    """Write the clips and their key, whole or not at all.

    Raises:
        CalibrationError: The file cannot be written.
    """
    content = {
        "files": describe_files(clips.videos),
        "seed": seed,
        "wanted": clips.wanted,
        "versions": versions(),
    }
    meta = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "key": cache_key(weights_sha256=weights_sha256, clip=clip, content=content),
        "content": content,
        "sources": [[str(s.path), s.centre_s] for s in clips.sources],
        "unreadable": clips.unreadable,
        "constant": clips.constant,
        "ranges": ranges or [],
    }
    try:
        with atomic_file(path) as part, part.open("wb") as stream:
            np.savez_compressed(
                stream, frames_rgb=clips.frames_rgb, meta=np.array(json.dumps(meta))
            )
    except OSError as error:
        raise CalibrationError(
            f"cannot write calibration clips to {path}: {error.strerror or error}"
        ) from error


def load_clips(path: Path, *, weights_sha256: str, clip: ClipSpec) -> CalibrationClips:
    """Read clips that `save_clips` wrote, if they still stand for this model and these videos.

    Videos that are no longer there cannot have changed: the clips are in the file.

    Raises:
        CalibrationError: The file is broken, or was made for other weights, another preprocess,
            other versions, or videos that have changed since.
    """
    frames, meta = _read(path)
    content = meta.get("content")
    again = f"run `edge calibrate` again to replace {path}"
    if not isinstance(content, dict) or not isinstance(content.get("files"), list):
        raise CalibrationError(f"{path} lacks its description; {again}")
    if content.get("versions") != versions():
        raise CalibrationError(
            f"{path} was made with {content.get('versions')}, here is {versions()}; {again}"
        )
    expected = clip.frames_shape
    if frames.dtype != np.uint8 or frames.ndim != 5 or frames.shape[1:] != expected:
        raise CalibrationError(
            f"{path} holds {frames.dtype} clips of {_shown(frames.shape[1:])} (frames x height x "
            f"width x colours), this model takes {_shown(expected)}; {again}"
        )
    if meta.get("key") != cache_key(weights_sha256=weights_sha256, clip=clip, content=content):
        raise CalibrationError(
            f"{path} was made for other weights or another preprocess than this checkpoint's; "
            f"{again}"
        )
    for name, size, changed in content["files"]:
        video = Path(str(name))
        if video.exists() and [video.stat().st_size, video.stat().st_mtime_ns] != [size, changed]:
            raise CalibrationError(f"{video} has changed since {path} was made; {again}")
    sources = tuple(
        ClipSource(path=Path(str(p)), centre_s=float(t)) for p, t in meta.get("sources", [])
    )
    return CalibrationClips(
        frames_rgb=frames,
        sources=sources,
        videos=tuple(dict.fromkeys(s.path for s in sources)),
        unreadable=dict(meta.get("unreadable", {})),
        constant=int(meta.get("constant", 0)),
        wanted=int(content.get("wanted", len(frames))),
    )


def _shown(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape)


def _read(path: Path) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
    try:
        # The file is opened here: np.load leaves it open when the archive is broken.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            frames, text = archive["frames_rgb"], str(archive["meta"])
        meta = json.loads(text)
    except UNREADABLE as error:
        raise CalibrationError(
            f"{path} is no file of calibration clips ({type(error).__name__}); "
            "make one with `edge calibrate`"
        ) from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise CalibrationError(f"{path} is no file of calibration clips of bmvit-edge")
    return frames, meta
