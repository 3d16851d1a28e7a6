"""A sheet of clips: what is true, what the model says, and the frames it saw.

Each clip is a tile: on the left its keyframe with the actors (white, with what they do) and the
bystanders (grey); on the right the kept tokens in the colour of what they are; below, all frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.data.samples import ClipSample
from edge.evaluation.boxes import Bools
from edge.evaluation.clip_metrics import KeptToken, Kind
from runtime.errors import SinkError
from runtime.outputs import write_atomically
from runtime.sinks.draw import FONT, Colour, plain

Image = npt.NDArray[np.uint8]

PANEL = 384  # px, side of the larger side of one picture of a keyframe
_CAPTION, _LEGEND, _GAP = 24, 34, 10
_BACKGROUND: Colour = (38, 34, 30)
_WHITE: Colour = (245, 245, 245)
_GREY: Colour = (150, 150, 150)
COLOURS: dict[Kind, Colour] = {
    "right": (90, 200, 60),
    "wrong label": (40, 170, 250),
    "duplicate": (230, 120, 220),
    "on a bystander": (60, 60, 235),
    "on nobody": (200, 200, 40),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One clip of a sheet.

    Attributes:
        sample: The clip and its truth.
        kept: What the model says of it.
        found: (M,) whether each actor was found.
        caption: One line below.
    """

    sample: ClipSample
    kept: Sequence[KeptToken]
    found: Bools
    caption: str


def write_sheet(
    path: Path, tiles: Sequence[Tile], class_names: Sequence[str], *, columns: int = 2
) -> None:
    """Draw clips on one picture and write it as PNG or JPEG, by its suffix.

    Args:
        path: File to write.
        tiles: At least one clip, all of one size.
        class_names: Names of the actions.
        columns: Tiles beside each other.

    Raises:
        SinkError: It cannot be written.
    """
    drawn = [_tile(tile, class_names) for tile in tiles]
    blank = np.full_like(drawn[0], _BACKGROUND)
    drawn += [blank] * (-len(drawn) % columns)
    rows = [np.hstack(drawn[i : i + columns]) for i in range(0, len(drawn), columns)]
    sheet = np.vstack([_legend(rows[0].shape[1]), *rows])
    done, data = cv2.imencode(path.suffix, sheet)
    if not done:
        raise SinkError(f"a sheet of {sheet.shape[1]}x{sheet.shape[0]} pixels cannot be encoded")
    write_atomically(path, data.tobytes())


def _tile(tile: Tile, class_names: Sequence[str]) -> Image:
    """Return one clip's tile with a margin around it."""
    frames = tile.sample.frames_rgb
    key = frames[len(frames) // 2][:, :, ::-1]
    scale = PANEL / max(key.shape[:2])
    size = (round(key.shape[1] * scale), round(key.shape[0] * scale))
    true = cv2.resize(key, size, interpolation=cv2.INTER_CUBIC)
    said = true.copy()
    marks = [(box, _GREY, "bystander", 1) for box in tile.sample.inactive_persons]
    for box, labels, found in zip(tile.sample.boxes, tile.sample.labels, tile.found, strict=True):
        names = _names(np.flatnonzero(labels > 0.5).tolist(), class_names)
        marks.append((box, _WHITE, names if found else f"missed: {names}", 2))
    _draw(true, marks)
    _draw(
        said,
        [
            (token.xyxy, COLOURS[token.kind],
             f"{token.actor:.2f} {_names(token.said, class_names)}", 2)
            for token in reversed(tile.kept)
        ],
    )  # fmt: skip
    pictures = np.hstack([true, np.full((size[1], _GAP, 3), _BACKGROUND, np.uint8), said])
    width = pictures.shape[1]
    strip = np.hstack([frame[:, :, ::-1] for frame in frames])
    height = round(strip.shape[0] * width / strip.shape[1])
    strip = cv2.resize(strip, (width, height), interpolation=cv2.INTER_AREA)
    caption = np.full((_CAPTION, width, 3), _BACKGROUND, np.uint8)
    _text(caption, tile.caption, (0, 17), _WHITE)
    whole = np.vstack([pictures, strip, caption])
    edges = [(_GAP // 2, _GAP // 2)] * 2 + [(0, 0)]
    framed = [np.pad(whole[..., c], edges[:2], constant_values=_BACKGROUND[c]) for c in range(3)]
    return np.stack(framed, axis=-1)


def _draw(image: Image, marks: Sequence[tuple[npt.NDArray[np.float32], Colour, str, int]]) -> None:
    """Draw boxes, then their labels, so that no box crosses a label."""
    height, width = image.shape[:2]
    corners = [
        np.round(box * (width - 1, height - 1, width - 1, height - 1)).astype(int).tolist()
        for box, *_ in marks
    ]
    for (x1, y1, x2, y2), (_, colour, _, line) in zip(corners, marks, strict=True):
        cv2.rectangle(image, (x1, y1), (x2, y2), colour, line)
    taken: list[tuple[int, int, int, int]] = []
    for (x1, y1, _, y2), (_, colour, text, _) in zip(corners, marks, strict=True):
        (wide, _), _ = cv2.getTextSize(text, FONT, 0.42, 1)
        x = max(0, min(x1, width - wide - 4))
        # Above its box, else below it, else where there is room further down.
        for y in (y1 - 15, y2 + 1, *range(max(y1, 0) + 1, height - 15, 15)):
            spot = (x, y, x + wide + 4, y + 15)
            if 0 <= y <= height - 15 and not any(_meet(spot, other) for other in taken):
                break
        taken.append(spot)
        cv2.rectangle(image, spot[:2], spot[2:], (0, 0, 0), cv2.FILLED)
        _text(image, text, (x + 2, spot[1] + 12), colour)


def _meet(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _legend(width: int) -> Image:
    image = np.full((_LEGEND, width, 3), _BACKGROUND, np.uint8)
    x = _GAP
    words = [("left, the truth: actor", _WHITE), ("bystander", _GREY), ("|", _GREY)]
    words += [("right, the model:", _WHITE), *COLOURS.items()]
    for text, colour in words:
        _text(image, text, (x, 22), colour, 0.5)
        x += cv2.getTextSize(text, FONT, 0.5, 1)[0][0] + 26
    return image


def _names(classes: Sequence[int], class_names: Sequence[str]) -> str:
    return "+".join(plain(class_names[c], 20) for c in classes) or "no action"


def _text(
    image: Image, text: str, at: tuple[int, int], colour: Colour, scale: float = 0.42
) -> None:
    cv2.putText(image, plain(text, 200), at, FONT, scale, colour, 1, cv2.LINE_AA)
