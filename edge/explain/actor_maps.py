"""The maps of p(actor): one square for each output position of a slice of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge.explain.canvas import (
    BACKGROUND,
    GREY,
    KEPT,
    KEY_HEIGHT,
    MAX_ROWS,
    PANEL,
    WHITE,
    heat,
    write,
)
from edge.explain.model import Explanation
from runtime.sinks.draw import FONT, colour_of
from runtime.sources import Image


def draw_maps(what: Explanation, shown: Sequence[int], width: int) -> Image:
    """Draw p(actor) of each position; of many slices the two in the middle."""
    slices, rows, columns = what.actor_map.shape
    middle = range(max(0, slices // 2 - 1), min(slices, slices // 2 + 1)) if slices > 2 else None
    chosen = list(middle or range(slices))
    across = 2 if width >= 420 and len(chosen) == 2 else 1
    cell = min(
        (width - 16 * (across - 1)) // (columns * across),
        (KEY_HEIGHT - 96) // (rows * (len(chosen) // across)), 44,
    )  # fmt: skip
    panels = [_map(what, shown, index, max(2, cell)) for index in chosen]
    gap = np.full((panels[0].shape[0], 16, 3), BACKGROUND, np.uint8)
    body = np.hstack([panels[0], gap, panels[1]]) if across == 2 else np.vstack(panels)
    return np.vstack([body, _scale(body.shape[1], what)])


def _map(what: Explanation, shown: Sequence[int], index: int, cell: int) -> Image:
    slices, rows, columns = what.actor_map.shape
    scores = what.actor_map[index]
    small = heat(scores / max(_top_score(what), 1e-9))
    image = cv2.resize(small, (columns * cell, rows * cell), interpolation=cv2.INTER_NEAREST)
    for line in range(max(rows, columns) + 1):
        cv2.line(image, (0, line * cell), (columns * cell, line * cell), PANEL, 1)
        cv2.line(image, (line * cell, 0), (line * cell, rows * cell), PANEL, 1)
    for number in reversed(range(max(what.num_kept, len(shown)))):
        which, place_ = divmod(int(what.tokens.token[number]), rows * columns)
        if which != index:
            continue
        row, column = divmod(place_, columns)
        own = number in shown
        colour = colour_of(number) if own else KEPT
        corner = (column * cell, row * cell)
        cv2.rectangle(
            image, corner, (corner[0] + cell - 1, corner[1] + cell - 1), colour, 3 if own else 1
        )
        if own and cell >= 18:
            at = (corner[0] + cell // 2 - 5, corner[1] + cell // 2 + 6)
            cv2.putText(image, str(number + 1), at, FONT, 0.5, (0, 0, 0), 4, cv2.LINE_AA)
            cv2.putText(image, str(number + 1), at, FONT, 0.5, WHITE, 1, cv2.LINE_AA)
    head = np.full((26, image.shape[1], 3), BACKGROUND, np.uint8)
    write(head, f"p(actor), slice {index + 1} of {slices}", (0, 17), 0.46, WHITE)
    return np.vstack([head, image])


def _scale(width: int, what: Explanation) -> Image:
    """Draw what the colours of the maps mean."""
    image = np.full((62, width, 3), BACKGROUND, np.uint8)
    bar = cv2.resize(heat(np.linspace(0, 1, 256, dtype=np.float32)[None]), (width, 12))
    image[10:22] = bar
    top = _top_score(what)
    write(image, "0", (0, 38), 0.42, GREY)
    words = f"{top:.3g}"
    (wide, _), _ = cv2.getTextSize(words, FONT, 0.42, 1)
    write(image, words, (width - wide, 38), 0.42, GREY)
    if what.conf <= top:
        x = round(what.conf / top * (width - 1))
        cv2.line(image, (x, 6), (x, 26), KEPT, 2)
        words = f"threshold {what.conf:.3g}"
        (wide, _), _ = cv2.getTextSize(words, FONT, 0.42, 1)
        write(image, words, (int(np.clip(x - wide // 2, 20, max(20, width - wide - 60))), 38),
              0.42, KEPT)  # fmt: skip
    many = what.num_kept - MAX_ROWS
    if many > 0:
        write(image, f"{many} more kept tokens: thin lines", (0, 57), 0.42, KEPT)
    return image


def _top_score(what: Explanation) -> float:
    return float(max(what.actor_map.max(), 1e-6))
