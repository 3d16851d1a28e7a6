"""The review: a page with three pictures of each track, and what a person rejected on it.

The page is one file, with nothing from the network.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.data.media import Media
from edge.labelling.clip_labels import ClipLabels
from edge.labelling.detectors import Image
from edge.labelling.store import LabelledVideo
from edge.labelling.tracks import F64, Track
from edge.labelling.videos import sampled_frames
from runtime.errors import CaptureError, ConfigError
from runtime.options import did_you_mean
from runtime.outputs import write_atomically
from runtime.types import ClipSpec, Progress


@dataclass(frozen=True, slots=True)
class Rejected:
    """What goes.

    Attributes:
        tracks: (video, number of the track).
        videos: Whole videos.
    """

    tracks: frozenset[tuple[str, int]] = field(default_factory=frozenset)
    videos: frozenset[str] = field(default_factory=frozenset)

    def of(self, video: str) -> frozenset[int]:
        """Return the numbers of the rejected tracks of a video."""
        return frozenset(number for name, number in self.tracks if name == video)


def read_review(path: Path, labels: Mapping[str, LabelledVideo]) -> Rejected:
    """Read `video,person,keep`; a row without a person is about the whole video.

    Raises:
        ConfigError: It cannot be read, or a row names no track of these labels.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"--review {path} cannot be read: {error}") from error
    tracks: set[tuple[str, int]] = set()
    videos: set[str] = set()
    for number, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells == ["video", "person", "keep"]:
            continue
        where = f"--review {path}, row {number}"
        if len(cells) != 3 or cells[2] not in ("0", "1"):
            raise ConfigError(f"{where}: {','.join(cells)[:60]!r}; expected video,person,keep with "
                              "keep 1 or 0")  # fmt: skip
        video, person, keep = cells
        if video not in labels:
            raise ConfigError(f"{where}: no video {video!r}.{did_you_mean(video, labels)}")
        if not person:
            videos |= {video} if keep == "0" else set()
            continue
        if not person.isdecimal() or int(person) >= len(labels[video].tracks):
            raise ConfigError(f"{where}: {video} has no person {person!r}; it has "
                              f"{len(labels[video].tracks)} tracks, from 0")  # fmt: skip
        if keep == "0":
            tracks.add((video, int(person)))
    return Rejected(frozenset(tracks), frozenset(videos))


PAGE = "review.html"
_SIDE, _FRAME_WIDTH, _QUALITY = 160, 340, 70
_AROUND = 1.5
_OWN = (80, 220, 60)
_COLOURS = ((80, 220, 60), (255, 170, 40), (60, 160, 255), (240, 90, 240), (60, 230, 240))
# Decoding on is as quick as a seek for each picture up to about this many samples a picture.
_SAMPLES_A_SEEK = 12
_ONE_FRAME = ClipSpec(num_frames=1, height=32, width=32, sampling_rate=1, fps=30.0)


def write_page(
    out: Path,
    media: Mapping[str, Media],
    done: Mapping[str, LabelledVideo],
    *,
    labels: ClipLabels,
    rejected: Rejected,
    most: int,
    progress: Progress | None = None,
) -> list[str]:
    """Write `review.html`; return a line to print where it shows a part only.

    Args:
        out: The data set.
        media: The videos, by name.
        done: Their labels.
        labels: What is known of whole videos.
        rejected: What an earlier review rejected: the page begins with it.
        most: Tracks on it, and videos; the least sure come first where there are more.
        progress: Is told how far it is.
    """
    shown = _chosen(done, most)
    videos: list[dict[str, Any]] = []
    for index, (name, numbers) in enumerate(shown.items()):
        if progress is not None:
            progress("review page", index, len(shown))
        entry = _entry(media[name], done[name], numbers)
        if entry is not None:
            kinds = [f"{'' if there else 'no '}{what}" for what, there in labels[name].items()]
            videos.append({**entry, "labels": ", ".join(kinds)})
    total = sum(len(one.tracks) for one in done.values())
    on_page = sum(len(video["tracks"]) for video in videos)
    notes = []
    if on_page < total or len(videos) < len(done):
        notes.append(f"This page shows a part: {on_page} of {total} tracks, the least sure ones, "
                     f"of {len(videos)} of {len(done)} videos. What it does not show counts as "
                     "accepted.")  # fmt: skip
    off: list[list[str | int]] = [[video, ""] for video in sorted(rejected.videos)]
    off += [[video, number] for video, number in sorted(rejected.tracks)]
    content = {
        "digest": _digest(done),
        "notes": notes,
        "videos": videos,
        "rejected": [json.dumps(pair, separators=(",", ":"), ensure_ascii=False) for pair in off],
    }
    template = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
    # A name may hold anything; within a script, `<` alone could end it.
    data = json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")
    write_atomically(out / PAGE, template.replace("/*DATA*/", data))
    return [f"{out / PAGE} shows a part: {on_page} of {total} tracks"] if notes else []


def _chosen(done: Mapping[str, LabelledVideo], most: int) -> dict[str, list[int]]:
    """Return the tracks to show of each video, the least sure ones where not all fit."""
    every = [(track.score, name, number) for name, one in done.items()
             for number, track in enumerate(one.tracks)]  # fmt: skip
    kept = {(name, number) for _, name, number in sorted(every)[:most]}
    shown: dict[str, list[int]] = {}
    for name, one in done.items():
        numbers = [n for n in range(len(one.tracks)) if (name, n) in kept]
        if numbers or (not one.tracks and len(shown) < most):
            shown[name] = numbers
    return shown


def _digest(done: Mapping[str, LabelledVideo]) -> str:
    """Return what changes with the tracks: a browser must not apply old choices to new ones."""
    text = json.dumps([[name, [[t.start, t.end, round(float(t.xyxy.sum()))] for t in one.tracks]]
                       for name, one in sorted(done.items())])  # fmt: skip
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _entry(media: Media, labels: LabelledVideo, numbers: Sequence[int]) -> dict[str, Any] | None:
    """Return a video's part of the page; None where its frames cannot be read again."""
    middle = _busiest(labels)
    at = {number: _three(labels.tracks[number]) for number in numbers}
    wanted = sorted({middle, *(sample for samples in at.values() for sample in samples)})
    whole, crops = "", dict[tuple[int, int], str]()
    try:
        for sample, frame in _frames(media, labels, wanted):
            if sample == middle:
                whole = _whole(frame, labels, sample)
            for number, samples in at.items():
                box = labels.tracks[number].at(sample)
                if sample in samples and box is not None:
                    crops[number, sample] = _crop(frame, box)
    except CaptureError:
        return None  # it was read once; what was found in it stays as it is
    tracks = [
        {
            "person": number,
            "from": labels.tracks[number].start * labels.every_s,
            "to": labels.tracks[number].end * labels.every_s,
            "score": round(labels.tracks[number].score, 3),
            "thumbs": [crops[number, s] for s in samples if (number, s) in crops],
        }
        for number, samples in at.items()
    ]
    return {"name": labels.video, "seconds": len(labels.samples) * labels.every_s, "frame": whole,
            "tracks": tracks}  # fmt: skip


def _busiest(labels: LabelledVideo) -> int:
    """Return the sample with the most people in it, the nearest to the middle of these."""
    count = np.zeros(len(labels.samples))
    for track in labels.tracks:
        count[track.start : track.end + 1] += 1
    away = np.abs(np.arange(len(count)) - len(count) / 2) / (len(count) + 1)
    return int((count - away).argmax())


def _three(track: Track) -> list[int]:
    places = (0.1, 0.5, 0.9)
    return [round(track.start + place * (track.end - track.start)) for place in places]


def _frames(
    media: Media, labels: LabelledVideo, wanted: Sequence[int]
) -> Iterator[tuple[int, Image]]:
    if len(labels.samples) > _SAMPLES_A_SEEK * len(wanted):
        for sample in wanted:
            yield sample, media.read_at_time(sample * labels.every_s, _ONE_FRAME)[0]
        return
    last = wanted[-1]
    for sample, frame in enumerate(sampled_frames(media, labels.every_s)):
        if sample in wanted:
            yield sample, frame
        if sample >= last:
            return


def _crop(frame: Image, box: F64) -> str:
    """Return the person with some of what is around, in a square, the box drawn."""
    x, y = (box[:2] + box[2:]) / 2
    side = max(24.0, float((box[2:] - box[:2]).max()) * _AROUND)
    ratio = _SIDE / side
    move = np.array([[ratio, 0, _SIDE / 2 - x * ratio], [0, ratio, _SIDE / 2 - y * ratio]])
    how = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
    picture = cv2.warpAffine(frame, move, (_SIDE, _SIDE), flags=how, borderValue=(24, 24, 24))
    corners = np.round(box.reshape(2, 2) * ratio + move[:, 2]).astype(int).tolist()
    cv2.rectangle(picture, tuple(corners[0]), tuple(corners[1]), _OWN, 1, cv2.LINE_AA)
    return _jpeg(picture)


def _whole(frame: Image, labels: LabelledVideo, sample: int) -> str:
    ratio = _FRAME_WIDTH / frame.shape[1]
    size = (_FRAME_WIDTH, max(1, round(frame.shape[0] * ratio)))
    picture = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    for number, track in enumerate(labels.tracks):
        box = track.at(sample)
        if box is None:
            continue
        x1, y1, x2, y2 = np.round(box * ratio).astype(int).tolist()
        colour = _COLOURS[number % len(_COLOURS)]
        cv2.rectangle(picture, (x1, y1), (x2, y2), colour, 1, cv2.LINE_AA)
        cv2.putText(picture, str(number), (x1 + 2, max(10, y1 + 10)), cv2.FONT_HERSHEY_SIMPLEX,
                    0.38, colour, 1, cv2.LINE_AA)  # fmt: skip
    return _jpeg(picture)


def _jpeg(picture: Image) -> str:
    _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
