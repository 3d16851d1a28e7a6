"""What a run leaves for the next one: a file for each finished video, and how they were made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.labelling.boxes import Boxes
from edge.labelling.tracks import Track
from runtime.errors import ArtifactError, ConfigError
from runtime.outputs import write_atomically

FORMAT = 1
SUMMARY = "labelling.json"
TRACKS = "tracks"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledVideo:
    """One finished video.

    Attributes:
        video: Its name in the table.
        file: Its path below the source.
        bytes: Size of the file, 0 of a folder of pictures: another size means another video.
        size_wh: Width and height, px.
        every_s: Seconds from one sample to the next.
        samples: Boxes of each sample, before tracking: other thresholds need no other detection.
        tracks: The people.
    """

    video: str
    file: str
    bytes: int
    size_wh: tuple[int, int]
    every_s: float
    samples: Sequence[Boxes]
    tracks: Sequence[Track]


def tracks_path(out: Path, video: str) -> Path:
    """Return the name of a video's file."""
    return out / TRACKS / f"{video}.json"


def write_video(out: Path, labels: LabelledVideo) -> None:
    """Write a finished video's file, whole or not at all."""
    content = {
        "format": FORMAT,
        "video": labels.video,
        "file": labels.file,
        "bytes": labels.bytes,
        "size_wh": list(labels.size_wh),
        "every_s": labels.every_s,
        "detections": [
            [[*(round(float(v), 1) for v in box), round(float(score), 3)]
             for box, score in zip(boxes.xyxy, boxes.scores, strict=True)]
            for boxes in labels.samples
        ],
        "tracks": [
            {
                "person": number,
                "start": track.start,
                "xyxy": [[round(float(v), 1) for v in box] for box in track.xyxy],
                "scores": [round(float(score), 3) for score in track.scores],
            }
            for number, track in enumerate(labels.tracks)
        ],
    }  # fmt: skip
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    write_atomically(tracks_path(out, labels.video), text + "\n")


def read_video(path: Path) -> LabelledVideo:
    """Read a finished video's file.

    Raises:
        ArtifactError: It is damaged or of another version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ArtifactError(f"{path} has format {content['format']}, expected {FORMAT}; remove "
                                "it to have the video labelled again")  # fmt: skip
        samples = []
        for rows in content["detections"]:
            values = np.array(rows, np.float32).reshape(-1, 5)
            samples.append(Boxes(values[:, :4], values[:, 4]))
        tracks = [
            Track(start=int(one["start"]), xyxy=np.array(one["xyxy"], np.float64).reshape(-1, 4),
                  scores=np.array(one["scores"], np.float64))
            for one in content["tracks"]
        ]  # fmt: skip
        width, height = content["size_wh"]
        return LabelledVideo(
            video=str(content["video"]), file=str(content["file"]), bytes=int(content["bytes"]),
            size_wh=(int(width), int(height)), every_s=float(content["every_s"]),
            samples=samples, tracks=tracks,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{path} is damaged ({type(error).__name__}); remove it to have "
            "the video labelled again"
        ) from error


def read_summary(out: Path) -> dict[str, Any] | None:
    """Return what the last run into a folder said of itself; None where none was.

    Raises:
        ConfigError: The folder holds other things.
        ArtifactError: The file is damaged.
    """
    path = out / SUMMARY
    if not path.is_file():
        # What a kill left of this very file is no other thing.
        others = out.is_dir() and any(
            not p.name.startswith(f".{Path(SUMMARY).stem}.") and p.name != SUMMARY
            for p in out.iterdir()
        )
        if not path.is_file():  # another share may have begun the folder just now
            if others:
                raise ConfigError(
                    f"{out} is not empty and holds no {SUMMARY}; name a folder of its own"
                )
            return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} is damaged; add --overwrite to begin again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ArtifactError(f"{path} is of another version; add --overwrite to begin again")
    return content


def refuse_other_flags(
    out: Path, before: Mapping[str, Any], now: Mapping[str, Any], advice: str
) -> None:
    """Compare flags with those of the last run.

    Raises:
        ConfigError: One differs; the sentence names it.
    """
    for name, value in now.items():
        if before.get(name) != value:
            raise ConfigError(
                f"--{name.replace('_', '-')} is {_short(value)}, but {out} was labelled with "
                f"{_short(before.get(name))}; {advice}"
            )


def _short(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    text = str(value)
    return f"a file of SHA-256 {text[:12]}" if len(text) == 64 else text
