"""Change clips together with their boxes, exact to the pixel.

All frames of a clip change alike: what moves between them is to be the people, not the transform.
Boxes are shares of the frame, so a resize leaves them alone, and a window cut out of the frame maps
them as it maps the pixels: windows are whole pixels, and the resize is the device's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from edge.data.clips import resize_rgb
from edge.data.samples import F32, I64, U8, ClipSample
from runtime.errors import ConfigError

# About the mean of training pixels (0.45 of 255): what lies outside of a frame.
FILL = 115
# Weights of red, green and blue in brightness (ITU-R BT.601).
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A rectangle of whole pixels, which may reach beyond the frame.

    Attributes:
        x: Left edge, px.
        y: Upper edge, px.
        width: Columns.
        height: Rows.
    """

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ConfigError(f"a window of {self.width}x{self.height} px, expected 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Colours:
    """One change of colour for a whole clip; the default changes nothing.

    Attributes:
        brightness: Factor on all channels.
        contrast: Factor on the distance from mid-grey.
        saturation: Factor on the distance from grey of the same brightness.
        hue: Turn of the colour circle, as a share of it.
    """

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ConfigError(
                    f"{name} is {getattr(self, name)}, expected a factor of 0 or more"
                )
        if not math.isfinite(self.hue):
            raise ConfigError(f"hue is {self.hue}, expected a share of the circle")


def resize(sample: ClipSample, height: int, width: int) -> ClipSample:
    """Resize to a fixed rectangle without keeping the aspect, bit for bit as the device does."""
    return replace(sample, frames_rgb=resize_rgb(sample.frames_rgb, height, width))


def flip(sample: ClipSample, pairs: Sequence[tuple[int, int]] = ()) -> ClipSample:
    """Mirror left and right.

    Args:
        sample: The clip.
        pairs: Classes that are each other's mirror image, as turning left and turning right.
    """
    order = np.arange(sample.labels.shape[1])
    for one, other in pairs:
        order[[one, other]] = order[[other, one]]
    return replace(
        sample,
        # Eight times as fast as NumPy, which copies a turned picture byte by byte.
        frames_rgb=np.stack([cv2.flip(frame, 1) for frame in sample.frames_rgb]),
        boxes=_mirrored(sample.boxes),
        inactive_persons=_mirrored(sample.inactive_persons),
        ignored=_mirrored(sample.ignored),
        labels=np.ascontiguousarray(sample.labels[:, order]),
        label_mask=np.ascontiguousarray(sample.label_mask[:, order]),
        bag_id=np.ascontiguousarray(sample.bag_id[:, order]),
    )


def mirror_pairs(class_names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Return the classes whose names differ by the words left and right alone."""
    number = {_words(name): i for i, name in enumerate(class_names)}
    pairs = []
    for i, name in enumerate(class_names):
        swapped = tuple({"left": "right"}.get(word, word) for word in _words(name))
        if swapped != _words(name) and swapped in number:
            pairs.append((i, number[swapped]))
    return tuple(pairs)


def _words(name: str) -> tuple[str, ...]:
    letters = (char.lower() if char.isalnum() else " " for char in name)
    return tuple("".join(letters).split())


def _mirrored(boxes: F32) -> F32:
    turned = boxes.copy()
    turned[:, [0, 2]] = np.float32(1.0) - boxes[:, [2, 0]]
    return turned


def crop(
    sample: ClipSample, window: Window, *, keep: float, height: int | None = None,
    width: int | None = None,
) -> ClipSample:  # fmt: skip
    """Cut a window out of every frame and resize it.

    Args:
        sample: The clip.
        window: What stays; where it reaches beyond the frame, it is filled with grey.
        keep: A person of whose box a smaller share than this stays is not there any more.
        height: Rows of the result; the clip's own by default.
        width: Columns of the result.
    """
    rows, columns = sample.frames_rgb.shape[1:3]
    height, width = height or rows, width or columns
    boxes, stays = _seen_through(sample.boxes, window, (columns, rows), keep)
    inactive_persons, _ = _seen_through(sample.inactive_persons, window, (columns, rows), keep)
    # Of whom nothing is known, nothing is known of an arm either.
    ignored, _ = _seen_through(sample.ignored, window, (columns, rows), 0.0)
    size_wh = (
        max(1, round(sample.size_wh[0] * window.width / columns)),
        max(1, round(sample.size_wh[1] * window.height / rows)),
    )
    return replace(
        sample,
        frames_rgb=resize_rgb(_cut(sample.frames_rgb, window), height, width),
        boxes=boxes,
        labels=sample.labels[stays],
        label_mask=sample.label_mask[stays],
        bag_id=_whole_bags(sample.bag_id, stays),
        inactive_persons=inactive_persons,
        ignored=ignored,
        size_wh=size_wh,
    )


def _whole_bags(bag_id: I64, stays: npt.NDArray[np.bool_]) -> I64:
    """Return the bags of those who stay: who left may have been the one who did it."""
    torn = (bag_id[stays][:, None] == bag_id[~stays][None]).any(axis=1)
    whole: I64 = np.where(torn, np.int64(-1), bag_id[stays])
    return whole


def shares_kept(boxes: F32, window: Window, size_wh: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return the share of each box's area that lies inside a window, (M,)."""
    moved = _moved(boxes, window, size_wh)
    inside = np.clip(moved, 0.0, 1.0)
    area, left = (np.prod(b[:, 2:] - b[:, :2], axis=1) for b in (moved, inside))
    shares: npt.NDArray[np.float64] = np.zeros(len(boxes))
    np.divide(left, area, out=shares, where=area > 0)
    return shares


def _moved(boxes: F32, window: Window, size_wh: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return boxes as shares of the window, which may lie outside of [0, 1]."""
    corner, size = (window.x, window.y) * 2, (window.width, window.height) * 2
    return (boxes.astype(np.float64) * (size_wh * 2) - corner) / size


def _seen_through(
    boxes: F32, window: Window, size_wh: tuple[int, int], keep: float
) -> tuple[F32, npt.NDArray[np.bool_]]:
    share = shares_kept(boxes, window, size_wh)
    # Whole means whole: a share of 1 that float64 computes as a little less is 1.
    stays = (share > 0) & (share >= keep - 1e-9)
    moved = np.clip(_moved(boxes, window, size_wh)[stays], 0.0, 1.0)
    return moved.astype(np.float32), stays


def _cut(frames: U8, window: Window) -> U8:
    """Return the window's pixels, grey where there is no frame."""
    rows, columns = frames.shape[1:3]
    x0, y0 = max(window.x, 0), max(window.y, 0)
    x1 = max(x0, min(window.x + window.width, columns))
    y1 = max(y0, min(window.y + window.height, rows))
    inside = frames[:, y0:y1, x0:x1]
    if inside.shape[1:3] == (window.height, window.width):
        return inside
    cut = np.full((len(frames), window.height, window.width, 3), FILL, np.uint8)
    top, left = y0 - window.y, x0 - window.x
    if inside.size:
        cut[:, top : top + y1 - y0, left : left + x1 - x0] = inside
    return cut


def recolour(sample: ClipSample, colours: Colours) -> ClipSample:
    """Change the colours of a clip, of each pixel alike."""
    if colours == Colours():
        return sample
    frames = sample.frames_rgb
    matrix = _matrix(colours)
    flat = frames.reshape(-1, frames.shape[2], 3)
    changed = cv2.transform(flat, matrix).reshape(frames.shape)
    return replace(sample, frames_rgb=changed)


def _matrix(colours: Colours) -> npt.NDArray[np.float64]:
    """Return the 3 x 4 matrix on (red, green, blue, 1)."""
    grey = np.tile(_LUMA, (3, 1))
    angle = 2 * math.pi * colours.hue
    cos, sin = math.cos(angle), math.sin(angle)
    # A turn about the axis of greys, which keeps every grey as it is.
    third, root = (1 - cos) / 3, sin / math.sqrt(3)
    turn = np.full((3, 3), third) + cos * np.eye(3)
    turn += root * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    linear = (grey + colours.saturation * (np.eye(3) - grey)) @ turn
    linear *= colours.contrast * colours.brightness
    offset = np.full((3, 1), 127.5 * (1 - colours.contrast))
    return np.hstack([linear, offset])


def mosaic(
    samples: Sequence[ClipSample], windows: Sequence[Window], split: tuple[int, int], *, keep: float
) -> ClipSample:
    """Set four clips side by side: a window of each fills one of the four cells.

    Args:
        samples: Four clips of one shape, in reading order.
        windows: What is seen of each.
        split: Column and row where the cells meet, px.
        keep: As in `crop`.

    Raises:
        ConfigError: They are not four clips of one shape, or a cell would be empty.
    """
    frames = samples[0].frames_rgb
    rows, columns = frames.shape[1:3]
    x, y = split
    if len(samples) != 4 or len(windows) != 4 or not (0 < x < columns and 0 < y < rows):
        raise ConfigError(
            f"a mosaic of {len(samples)} clips that meet at {split} of {columns}x{rows} px; "
            "expected 4 that meet inside"
        )
    if any(sample.frames_rgb.shape != frames.shape for sample in samples):
        raise ConfigError("a mosaic of clips of several shapes; expected one")
    canvas = np.empty_like(frames)
    cells = [(0, 0, x, y), (x, 0, columns, y), (0, y, x, rows), (x, y, columns, rows)]
    parts = []
    for sample, window, (x0, y0, x1, y1) in zip(samples, windows, cells, strict=True):
        part = crop(sample, window, keep=keep, height=y1 - y0, width=x1 - x0)
        canvas[:, y0:y1, x0:x1] = part.frames_rgb
        scale = np.array([x1 - x0, y1 - y0] * 2) / ([columns, rows] * 2)
        corner = np.array([x0, y0] * 2) / ([columns, rows] * 2)
        parts.append(replace(
            part,
            boxes=(part.boxes * scale + corner).astype(np.float32),
            inactive_persons=(part.inactive_persons * scale + corner).astype(np.float32),
            ignored=(part.ignored * scale + corner).astype(np.float32),
        ))  # fmt: skip
    return replace(
        samples[0],
        frames_rgb=canvas,
        boxes=np.concatenate([part.boxes for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        label_mask=np.concatenate([part.label_mask for part in parts]),
        bag_id=_bags_side_by_side([part.bag_id for part in parts]),
        inactive_persons=np.concatenate([part.inactive_persons for part in parts]),
        ignored=np.concatenate([part.ignored for part in parts]),
        clip_id="+".join(sample.clip_id for sample in samples),
    )


def _bags_side_by_side(parts: Sequence[I64]) -> I64:
    """Return the bags of clips side by side: a bag stays with the people of its clip."""
    renumbered, first = [], 0
    for bag_id in parts:
        renumbered.append(np.where(bag_id >= 0, bag_id + first, -1))
        first = int(renumbered[-1].max(initial=first - 1)) + 1
    return np.concatenate(renumbered)
