"""Draw results on a frame: boxes, actions with scores, and the state of the run.

A pure function from frame to new frame; everything scales with the frame, from 320x240 to 4K.
"""

from __future__ import annotations

import colorsys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from runtime.results import FrameStatus, KeyframeResult
from runtime.sinks.layout import Rect, place
from runtime.sources import Image

Colour = tuple[int, int, int]

FONT = cv2.FONT_HERSHEY_SIMPLEX
FONT_CAP_PX = 22.0  # height of a capital at scale 1
WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)
BAR: Colour = (32, 32, 32)
NEUTRAL: Colour = (200, 200, 200)
ALARM: Colour = (40, 40, 210)
UNTRAINED = "UNTRAINED WEIGHTS"
GOLDEN_RATIO = 0.618033988749895


@dataclass(frozen=True, slots=True)
class Style:
    """Sizes that fit a frame, pixels."""

    scale: float
    stroke: int
    line: int
    outline: int
    pad: int
    leading: int
    actions: int
    name: int

    @classmethod
    def of(cls, frame_wh: tuple[int, int]) -> Style:
        """Return the sizes for a frame: capitals of 9 px at 240 rows, 21 px at 1080 rows."""
        side = min(frame_wh)
        cap = min(48.0, max(8.5, 6.0 + 0.014 * side))
        return cls(
            scale=cap / FONT_CAP_PX,
            stroke=2 if cap >= 16 else 1,
            line=max(2, round(side / 360)),
            # A dark rim tells a box from a background of its colour; small frames lack the room.
            outline=2 if side >= 400 else 0,
            pad=max(2, round(0.35 * cap)),
            leading=round(1.45 * cap),
            actions=3 if side >= 400 else 2,
            name=24 if side >= 400 else 16,
        )

    def text_wh(self, text: str) -> tuple[int, int]:
        """Return the width of a text and the height of a line, pixels."""
        (width, _), _ = cv2.getTextSize(text, FONT, self.scale, self.stroke)
        return int(width), self.leading


def colour_of(index: int) -> Colour:
    """Return the colour (BGR) of a class: always the same, and far from its neighbours'."""
    hue = (0.08 + index * GOLDEN_RATIO) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.62 if index % 2 else 0.85, 0.98)
    return round(255 * blue), round(255 * green), round(255 * red)


def plain(text: str, limit: int) -> str:
    """Return a text with the characters OpenCV's font has, at most `limit` of them."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "replace").decode("ascii")
    shown = "".join(c for c in ascii_text if c.isprintable())
    return shown if len(shown) <= limit else shown[: limit - 2] + ".."


def draw(
    image_bgr: Image,
    *,
    result: KeyframeResult | None,
    status: FrameStatus | None = None,
    trained: bool = True,
    latency: bool = True,
) -> Image:
    """Return a copy of a frame with what is known of it.

    Args:
        image_bgr: (H, W, 3) uint8; left as it is.
        result: Actors to draw; None draws the state only.
        status: State of the run for the bar at the bottom.
        trained: False writes UNTRAINED WEIGHTS on the frame, with or without a result.
        latency: Say how long the result took; of no use in a picture for others.
    """
    image = image_bgr.copy()
    frame_wh = (image.shape[1], image.shape[0])
    style = Style.of(frame_wh)
    untrained = not trained or (result is not None and not result.trained)
    state = _state(result, status, latency=latency)
    texts = [(text, spot, BAR) for text, spot in _bar(style, frame_wh, state)]
    if untrained:
        texts.append((UNTRAINED, _corner(style, frame_wh, UNTRAINED), ALARM))
    if result is not None and len(result.detections):
        _actors(image, style, frame_wh, result, [spot for _, spot, _ in texts])
    for text, spot, colour in texts:
        _box_of_text(image, style, spot, [text], colour)
    return image


def _bar(style: Style, frame_wh: tuple[int, int], parts: list[str]) -> list[tuple[str, Rect]]:
    """Return the state, as much of it as fits, and its place at the bottom left."""
    while len(parts) > 1 and style.text_wh("  ".join(parts))[0] + 2 * style.pad > frame_wh[0]:
        parts.pop()
    if not parts:
        return []
    text = "  ".join(parts)
    width, height = style.text_wh(text)
    size = (min(width + 2 * style.pad, frame_wh[0]), height + style.pad)
    return [(text, Rect(0, frame_wh[1] - size[1], *size))]


def _state(
    result: KeyframeResult | None, status: FrameStatus | None, *, latency: bool
) -> list[str]:
    parts = []
    if status is not None and status.warming_up:
        parts.append(f"warming up {status.samples}/{status.num_frames}")
    elif result is not None:
        count = len(result.detections)
        parts.append(f"{count} actor{'' if count == 1 else 's'}")
        parts += [f"latency {result.latency_ms:.0f} ms"] if latency else []
    if status is not None and status.live:
        parts.append(f"dropped {status.dropped}")
    return parts


def _corner(style: Style, frame_wh: tuple[int, int], text: str) -> Rect:
    width, height = style.text_wh(text)
    size = (min(width + 2 * style.pad, frame_wh[0]), height + style.pad)
    return Rect(frame_wh[0] - size[0], 0, *size)


def _actors(
    image: Image,
    style: Style,
    frame_wh: tuple[int, int],
    result: KeyframeResult,
    taken: list[Rect],
) -> None:
    """Draw all boxes, then all labels, so that no box crosses a label; the best get the room."""
    found = result.detections
    boxes = [_clipped(found.xyxy[i], frame_wh) for i in range(len(found))]
    looks = [_label(result, i, style) for i in range(len(found))]
    for box, (_, colour) in reversed(list(zip(boxes, looks, strict=True))):
        corners = (box.x, box.y), (box.x + box.w - 1, box.y + box.h - 1)
        if style.outline:
            cv2.rectangle(image, *corners, BLACK, style.line + style.outline)
        cv2.rectangle(image, *corners, colour, style.line)
    for box, (lines, colour) in zip(boxes, looks, strict=True):
        widths, heights = zip(*(style.text_wh(line) for line in lines), strict=True)
        size = (max(widths) + 2 * style.pad, sum(heights) + style.pad)
        spot = place(size, box, frame_wh, taken)
        if spot is not None:
            _box_of_text(image, style, spot, lines, colour)
            taken.append(spot)


def _label(result: KeyframeResult, index: int, style: Style) -> tuple[list[str], Colour]:
    """Return the lines of one actor's label and its colour.

    They are its actions, best first; below all thresholds p(actor) and the likeliest action.
    """
    actions = result.actions(index)
    score = float(result.detections.actor[index])
    number = "" if result.person(index) is None else f"#{result.person(index)} "
    if not actions:
        # Grey, and with a question mark: no action reaches its threshold.
        name, value = result.likeliest(index)
        return [f"{number}actor {score:.2f}", f"{plain(name, style.name)}? {value:.2f}"], NEUTRAL
    shown = list(actions.items())[: style.actions]
    lines = [f"{plain(name, style.name)} {value:.2f}" for name, value in shown]
    if len(actions) > len(shown):
        lines[-1] += f" +{len(actions) - len(shown)}"
    lines[0] = number + lines[0]
    return lines, colour_of(result.class_names.index(shown[0][0]))


def _clipped(xyxy: np.ndarray, frame_wh: tuple[int, int]) -> Rect:
    x1, x2 = (int(np.clip(round(float(v)), 0, frame_wh[0])) for v in xyxy[[0, 2]])
    y1, y2 = (int(np.clip(round(float(v)), 0, frame_wh[1])) for v in xyxy[[1, 3]])
    x1, y1 = min(x1, frame_wh[0] - 1), min(y1, frame_wh[1] - 1)
    return Rect(x1, y1, max(1, x2 - x1), max(1, y2 - y1))


def _box_of_text(
    image: Image, style: Style, spot: Rect, lines: Sequence[str], colour: Colour
) -> None:
    corners = (spot.x, spot.y), (spot.x + spot.w - 1, spot.y + spot.h - 1)
    cv2.rectangle(image, *corners, colour, cv2.FILLED)
    cv2.rectangle(image, *corners, BLACK, 1)
    # Text is dark on light colours; weights as the eye sees brightness (ITU-R BT.601).
    bright = 0.114 * colour[0] + 0.587 * colour[1] + 0.299 * colour[2] > 130
    cap = FONT_CAP_PX * style.scale
    for i, line in enumerate(lines):
        middle = spot.y + style.pad / 2 + (i + 0.5) * style.leading
        at = (spot.x + style.pad, round(middle + cap / 2))
        ink = BLACK if bright else WHITE
        cv2.putText(image, line, at, FONT, style.scale, ink, style.stroke, cv2.LINE_AA)
