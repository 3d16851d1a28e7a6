"""Clips with their truth as a contact sheet or a video, to be looked at before anything is trained.

Boxes and labels belong to the keyframe and are drawn there only; people who do none of the actions,
and those whom the annotation leaves out, are drawn in grey.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.data.samples import ClipSample
from runtime.errors import SinkError
from runtime.outputs import part_names
from runtime.sinks.draw import BLACK, FONT, NEUTRAL, colour_of, plain
from runtime.sinks.layout import Rect, place
from runtime.sinks.video_file import VideoFile

Image = npt.NDArray[np.uint8]

TILE_HEIGHT = 256
VIDEO_WH = (640, 480)
# How often a clip is played, and how long its keyframe is shown at the end, s.
_PLAYS, _HOLD_S = 2, 1.2
_GAP = 4
_BACKDROP = 24
_BYSTANDER, _IGNORED = "bystander", "ignored"


def tiles(
    sample: ClipSample, class_names: Sequence[str], *, height: int = TILE_HEIGHT
) -> list[Image]:
    """Return a clip's frames as BGR of the original aspect, the truth drawn on its keyframe."""
    width = max(1, round(height * sample.size_wh[0] / sample.size_wh[1]))
    shown = []
    for frame in sample.frames_rgb:
        bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
        shown.append(cv2.resize(bgr, (width, height), interpolation=cv2.INTER_CUBIC))
    _annotate(shown[len(shown) // 2], sample, class_names)
    return shown


def _annotate(image: Image, sample: ClipSample, class_names: Sequence[str]) -> None:
    """Draw boxes, then labels, so that no box crosses a label."""
    frame_wh = (image.shape[1], image.shape[0])
    drawn: list[tuple[Rect, tuple[int, int, int], str]] = []
    for people, text in ((sample.inactive_persons, _BYSTANDER), (sample.ignored, _IGNORED)):
        drawn += [(_pixels(box, frame_wh), NEUTRAL, text) for box in people]
    for box, row in zip(sample.boxes, sample.labels, strict=True):
        actions = np.flatnonzero(row).tolist()
        text = " + ".join(class_names[i] for i in actions)
        drawn.append((_pixels(box, frame_wh), colour_of(actions[0] if actions else 0), text))
    for rect, colour, _ in drawn:
        corner = (rect.x + rect.w - 1, rect.y + rect.h - 1)
        cv2.rectangle(image, (rect.x, rect.y), corner, BLACK, 3)
        cv2.rectangle(image, (rect.x, rect.y), corner, colour, 1)
    taken: list[Rect] = []
    for rect, colour, text in drawn:
        words = plain(text, 32)
        (w, h), _ = cv2.getTextSize(words, FONT, 0.4, 1)
        spot = place((w + 6, h + 7), rect, frame_wh, taken)
        if spot is None:
            continue
        taken.append(spot)
        corner = (spot.x + spot.w - 1, spot.y + spot.h - 1)
        cv2.rectangle(image, (spot.x, spot.y), corner, colour, cv2.FILLED)
        at = (spot.x + 3, spot.y + h + 3)
        cv2.putText(image, words, at, FONT, 0.4, BLACK, 1, cv2.LINE_AA)


def _pixels(box: npt.NDArray[np.float32], frame_wh: tuple[int, int]) -> Rect:
    x0, y0, x1, y1 = (round(float(v) * s) for v, s in zip(box, frame_wh * 2, strict=True))
    return Rect(x0, y0, max(1, x1 - x0), max(1, y1 - y0))


def contact_sheet(
    samples: Iterable[ClipSample], class_names: Sequence[str], *, columns: int = 4
) -> Image:
    """Return a sheet with one row of `columns` frames for each clip, always with its keyframe."""
    rows = []
    for sample in samples:
        frames = tiles(sample, class_names)
        chosen = chosen_frames(len(frames), columns)
        gap = np.full((TILE_HEIGHT, _GAP, 3), _BACKDROP, np.uint8)
        parts = [part for i in chosen for part in (frames[i], gap)]
        rows.append(cv2.hconcat([*parts[:-1]]))
    width = max(row.shape[1] for row in rows)
    rows = [cv2.copyMakeBorder(row, 0, _GAP, 0, width - row.shape[1] + _GAP, cv2.BORDER_CONSTANT,
                               value=(_BACKDROP,) * 3) for row in rows]  # fmt: skip
    if len(rows) > 6:
        half = -(-len(rows) // 2)
        rows += [np.full_like(rows[0], _BACKDROP)] * (2 * half - len(rows))
        rows = [cv2.hconcat([rows[i], rows[half + i]]) for i in range(half)]
    sheet: Image = cv2.vconcat(rows)
    return sheet


def chosen_frames(count: int, columns: int) -> list[int]:
    """Return which of `count` frames to show: evenly spread, the keyframe among them."""
    keyframe, columns = count // 2, min(columns, count)
    step = count / columns
    chosen = {round(keyframe + (i - columns // 2) * step) for i in range(columns)}
    return sorted(i for i in chosen if 0 <= i < count)


def write_sheet(path: Path, sheet: Image) -> None:
    """Write a sheet as .png or .jpg; the file appears whole or not at all.

    Raises:
        SinkError: It cannot be written.
    """
    coded, data = cv2.imencode(path.suffix, sheet)
    if not coded:
        raise SinkError(f"{path}: OpenCV cannot write a {path.suffix} of {sheet.shape[1::-1]} px")
    part = part_names(path)[0]
    try:
        part.write_bytes(data.tobytes())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SinkError(f"{path} cannot be written: {error.strerror}") from error


def write_video(
    path: Path, samples: Iterable[ClipSample], class_names: Sequence[str], *, period_s: float,
    overwrite: bool,
) -> None:  # fmt: skip
    """Write clips one after the other, each played in real time, then held at its keyframe.

    Raises:
        SinkError: The video cannot be written.
    """
    video = VideoFile(path, fps=1.0 / period_s, size_wh=VIDEO_WH, overwrite=overwrite)
    try:
        for sample in samples:
            frames = [_boxed(tile) for tile in tiles(sample, class_names, height=VIDEO_WH[1])]
            held = [frames[len(frames) // 2]] * max(1, round(_HOLD_S / period_s))
            for frame in [*frames * _PLAYS, *held]:
                video.write(frame)
    except BaseException:
        video.discard()
        raise
    video.close(ok=True)


def _boxed(tile: Image) -> Image:
    """Return a tile scaled into the video's size, with bars where its aspect is another."""
    width, height = VIDEO_WH
    scale = min(width / tile.shape[1], height / tile.shape[0])
    size = (max(1, round(tile.shape[1] * scale)), max(1, round(tile.shape[0] * scale)))
    small = cv2.resize(tile, size, interpolation=cv2.INTER_AREA)
    canvas = np.full((height, width, 3), _BACKDROP, np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    canvas[top : top + size[1], left : left + size[0]] = small
    return canvas
