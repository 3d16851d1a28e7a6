"""One picture per clip: the keyframe with every token's box, the maps of p(actor), the attention.

Figure 4 of the method (BMViT, arXiv 2312.17686), for one clip:

* top left, the keyframe: the boxes of all tokens, faint, and those of the kept ones, marked;
* top right, p(actor) of each output position, slice by slice, the kept ones outlined;
* below, a row for each kept token: where its query in the last layer looks, over the clip's frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.explain.actor_maps import draw_maps
from edge.explain.canvas import (
    ALARM,
    BACKGROUND,
    GREY,
    KEPT,
    KEY_HEIGHT,
    MARGIN,
    MAX_ROWS,
    WHITE,
    WIDTH,
    blank,
    heat,
    paste,
    tag,
    write,
)
from edge.explain.model import ExplainableModel, Explanation
from runtime.sinks.draw import FONT, UNTRAINED, colour_of, plain
from runtime.sinks.layout import Rect, place
from runtime.sources import Image

F32 = npt.NDArray[np.float32]

_KEY_WIDTH = 860  # the keyframe fits in
_LABEL = 230  # width of the words beside a row
_MAX_FRAMES = 8  # of a row
_LIKELY = 0.5  # as `edge run` reports actions


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What stands above a picture.

    Attributes:
        source: What the source is called.
        frame: Number of the keyframe.
        t: Its time, seconds.
        times: Time of each frame of the clip.
    """

    source: str
    frame: int
    t: float
    times: Sequence[float]


def draw_explanation(model: ExplainableModel, what: Explanation, heading: Heading) -> Image:
    """Draw one clip.

    Args:
        model: The model.
        what: What it says of the clip.
        heading: Where the clip is from.

    Returns:
        A BGR picture, `WIDTH` px wide.
    """
    shown = _shown(what)
    parts = [_head(model, what, heading), _top(model, what, shown)]
    if what.attention is not None:
        parts.append(_times(what, heading))
        parts += [_row(model, what, number) for number in shown]
    parts.append(_foot(model, what, shown))
    gap = np.full((12, WIDTH, 3), BACKGROUND, np.uint8)
    return np.vstack([part for each in parts for part in (each, gap)])


def _shown(what: Explanation) -> list[int]:
    """Return the tokens that are drawn: the kept ones, or the best one where none is."""
    return list(range(min(what.num_kept, MAX_ROWS))) or list(range(min(1, len(what.tokens))))


def _head(model: ExplainableModel, what: Explanation, heading: Heading) -> Image:
    image = blank(64)
    write(image, f"{model.name} on {heading.source}", (MARGIN, 30), 0.72, WHITE)
    kept = what.num_kept
    write(
        image,
        f"keyframe {heading.frame} at {heading.t:.2f} s     {kept} of {len(what.tokens)} tokens "
        f"kept: p(actor) above {what.conf:.3g}",
        (MARGIN, 56), 0.5, GREY,
    )  # fmt: skip
    if not model.trained:
        words = f"{UNTRAINED}: this picture means nothing"
        (wide, _), _ = cv2.getTextSize(words, FONT, 0.6, 2)
        cv2.rectangle(image, (WIDTH - wide - 44, 8), (WIDTH - MARGIN, 46), ALARM, cv2.FILLED)
        cv2.putText(image, words, (WIDTH - wide - 32, 34), FONT, 0.6, WHITE, 2, cv2.LINE_AA)
    return image


def _top(model: ExplainableModel, what: Explanation, shown: Sequence[int]) -> Image:
    """Draw the keyframe and the maps beside it."""
    key = _keyframe(model, what, shown)
    maps = draw_maps(what, shown, WIDTH - key.shape[1] - 3 * MARGIN)
    image = blank(max(key.shape[0], maps.shape[0]))
    paste(image, key, (MARGIN, 0))
    paste(image, maps, (WIDTH - MARGIN - maps.shape[1], 0))
    return image


def _keyframe(model: ExplainableModel, what: Explanation, shown: Sequence[int]) -> Image:
    frame = what.frames[what.keyframe]
    scale = min(KEY_HEIGHT / frame.shape[0], _KEY_WIDTH / frame.shape[1])
    size = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
    image = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    boxes = np.round(what.tokens.xyxy.astype(np.float64) * scale).astype(int)
    faint = image.copy()
    for x1, y1, x2, y2 in boxes[what.num_kept :].tolist():
        cv2.rectangle(faint, (x1, y1), (x2, y2), WHITE, 1, cv2.LINE_AA)
    # Many boxes are as faint together as a few.
    light = 0.28 * min(1.0, (128 / max(len(boxes), 1)) ** 0.5)
    image = np.asarray(cv2.addWeighted(faint, light, image, 1 - light, 0), dtype=np.uint8)
    for x1, y1, x2, y2 in boxes[len(shown) : what.num_kept].tolist():
        cv2.rectangle(image, (x1, y1), (x2, y2), KEPT, 1, cv2.LINE_AA)
    for number in reversed(shown):
        x1, y1, x2, y2 = boxes[number].tolist()
        cv2.rectangle(image, (x1, y1), (x2, y2), (0, 0, 0), 5, cv2.LINE_AA)
        cv2.rectangle(image, (x1, y1), (x2, y2), colour_of(number), 3, cv2.LINE_AA)
    taken: list[Rect] = []
    for number in shown:
        named = ", ".join(
            f"{n} {score:.2f}"
            for n, score in likely_actions(model.class_names, what.tokens.actions[number])
        )
        words = f"{number + 1}  {named}"
        words += "" if number < what.num_kept else " (not kept)"
        (wide, _), _ = cv2.getTextSize(words, FONT, 0.55, 1)
        x1, y1, x2, y2 = boxes[number].tolist()
        spot = place((wide + 12, 24), Rect(x1, y1, max(1, x2 - x1), max(1, y2 - y1)), size, taken)
        if spot is not None:
            taken.append(spot)
            tag(image, words, spot, colour_of(number))
    return image


def _frames_of(what: Explanation) -> list[int]:
    """Return which frames of the clip a row shows, the keyframe among them."""
    count = len(what.frames)
    step = -(-count // _MAX_FRAMES)
    return list(range(what.keyframe % step, count, step))


def _times(what: Explanation, heading: Heading) -> Image:
    """Draw when each frame of the rows below is, and which of them share a key."""
    assert what.attention is not None
    image = blank(58)
    keys = what.attention.keys[0]
    write(image, "attention of the last layer", (MARGIN, 18), 0.5, WHITE)
    write(image, f"mean of {what.attention.heads} heads", (MARGIN, 40), 0.44, GREY)
    frames = _frames_of(what)
    width = _thumb_width(what)
    for column, frame in enumerate(frames):
        x = MARGIN + _LABEL + column * width
        key = frame == what.keyframe
        words = "keyframe" if key else f"{heading.times[frame] - heading.t:+.2f} s"
        write(image, words, (x + 4, 50), 0.46, WHITE if key else GREY)
    shared = [frame * keys // len(what.frames) for frame in frames]
    for number in sorted(set(shared)):
        first, last = shared.index(number), len(shared) - 1 - shared[::-1].index(number)
        left, right = (MARGIN + _LABEL + c * width for c in (first, last + 1))
        cv2.line(image, (left + 3, 26), (right - 7, 26), GREY, 1)
        for x in (left + 3, right - 7):
            cv2.line(image, (x, 26), (x, 31), GREY, 1)
        if last > first:
            write(image, f"key step {number + 1} of {keys}: these share one map", (left + 4, 18),
                  0.44, GREY)  # fmt: skip
    return image


def _thumb_width(what: Explanation) -> int:
    return (WIDTH - 2 * MARGIN - _LABEL) // len(_frames_of(what))


def _row(model: ExplainableModel, what: Explanation, number: int) -> Image:
    """Draw where one token looks."""
    assert what.attention is not None
    weights = what.attention.of_token(int(what.tokens.token[number]))
    width = _thumb_width(what) - 4
    frame = what.frames[what.keyframe]
    height = min(round(width * frame.shape[0] / frame.shape[1]), 240)
    image = blank(max(height, 118))
    colour = colour_of(number)
    cv2.rectangle(image, (MARGIN, 0), (MARGIN + 5, image.shape[0] - 1), colour, cv2.FILLED)
    slices, rows, columns = what.actor_map.shape
    which, spot = divmod(int(what.tokens.token[number]), rows * columns)
    row, column = divmod(spot, columns)
    kept = number < what.num_kept
    even = 1.0 / weights.size
    step = what.attention.query_steps[which]
    named = ", ".join(
        name for name, _ in likely_actions(model.class_names, what.tokens.actions[number])
    )
    lines = [
        (f"{number + 1}  {named}", WHITE, 0.5),
        (f"p(actor) {what.tokens.actor[number]:.3g}" + ("" if kept else ", not kept"),
         GREY if kept else ALARM, 0.45),
        (f"slice {which + 1} of {slices}, row {row + 1}, column {column + 1}", GREY, 0.42),
        (f"query of step {step + 1} of {what.attention.weights.shape[0]}", GREY, 0.42),
        (f"brightest key {weights.max():.1%}, even {even:.1%}", GREY, 0.42),
    ]  # fmt: skip
    for index, (words, ink, scale) in enumerate(lines):
        write(image, words, (MARGIN + 14, 20 + 23 * index), scale, ink)
    for place_, index in enumerate(_frames_of(what)):
        small = _overlay(what.frames[index], weights, index, len(what.frames), (width, height))
        if index == what.keyframe:
            sides = [width / frame.shape[1], height / frame.shape[0]] * 2
            x1, y1, x2, y2 = np.round(what.tokens.xyxy[number] * sides).astype(int).tolist()
            cv2.rectangle(small, (x1, y1), (x2, y2), colour, 2, cv2.LINE_AA)
            cv2.rectangle(small, (0, 0), (width - 1, height - 1), WHITE, 2)
        paste(image, small, (MARGIN + _LABEL + place_ * (width + 4), 0))
    return image


def _overlay(
    frame: Image, weights: F32, index: int, frames: int, size_wh: tuple[int, int]
) -> Image:
    """Return a small frame, grey, with the attention of its key step as light."""
    share = weights[index * len(weights) // frames] / max(float(weights.max()), 1e-12)
    strong = np.clip(cv2.resize(share, size_wh, interpolation=cv2.INTER_LINEAR), 0, 1)[..., None]
    grey = cv2.cvtColor(cv2.resize(frame, size_wh, interpolation=cv2.INTER_AREA),
                        cv2.COLOR_BGR2GRAY)  # fmt: skip
    base = np.repeat(grey[..., None], 3, axis=2) * 0.75
    mixed = base * (1 - 0.72 * strong) + heat(strong[..., 0]) * (0.72 * strong)
    lit: Image = np.clip(mixed, 0, 255).astype(np.uint8)
    return lit


def _foot(model: ExplainableModel, what: Explanation, shown: Sequence[int]) -> Image:
    lines = []
    if what.num_kept == 0:
        lines.append("no token is above the threshold; the best one is shown in its place")
    if what.attention is None:
        lines.append(model.no_attention_reason or "")
    else:
        time, height, width = what.attention.keys
        shape = model.shape
        beside = " with the class token" if what.attention.class_token else ""
        lines.append(
            f"Each token's attention is spread over {time} x {height} x {width} pooled keys and "
            f"sums to 1{beside}; a key stands for {len(what.frames) // time} frames and "
            f"{shape.height // height} x {shape.width // width} px of the {shape.height} x "
            f"{shape.width} that the model sees (pooling reaches a little further)."
        )
        if what.num_kept > len(shown):
            lines.append(f"The best {len(shown)} of {what.num_kept} kept tokens have a row.")
    image = blank(10 + 22 * len(lines))
    for index, words in enumerate(lines):
        write(image, words, (MARGIN, 18 + 22 * index), 0.44, GREY)
    return image


def likely_actions(class_names: Sequence[str], scores: F32) -> list[tuple[str, float]]:
    """Return the best action, and the next where it is likely, too: who walks is also a person."""
    first, *others = np.argsort(-scores, kind="stable")[:2]
    return [
        (plain(class_names[one], 18), float(scores[one]))
        for one in (first, *(other for other in others if scores[other] >= _LIKELY))
    ]
