"""From a camera's frame to the network's input: the NumPy twin of the native preprocess.

Training, calibration and the device must see the same pixels, so the arithmetic is fixed to the
bit: the resize works in integers, the rest is a table. `runtime._native.Preprocess` does the same
tens of times faster; a test holds the two equal.

The frame is resized to the fixed square without keeping its aspect (no letterbox), by a triangle
filter that widens with the scale, so that a large frame is averaged and not sampled.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.errors import ConfigError
from runtime.types import ClipSpec

MAX_SIZE = 65536
_ONE = 16384  # 1.0 in Q14


def preprocess_reference(frame: npt.NDArray[np.uint8], clip: ClipSpec) -> npt.NDArray[np.float32]:
    """Resize a BGR frame, reorder it to RGB planes and normalise them.

    Args:
        frame: (Hs, Ws, 3) uint8 BGR.
        clip: Size and normalisation.

    Returns:
        (3, H, W) float32 RGB.

    Raises:
        ConfigError: The frame has another shape or type.
    """
    rgb = resize_reference(frame, clip.height, clip.width)[:, :, ::-1]
    planes: npt.NDArray[np.float32] = normalize(rgb[None], clip)[0, 0]
    return planes


def resize_reference(
    frame: npt.NDArray[np.uint8], height: int, width: int
) -> npt.NDArray[np.uint8]:
    """Resize by the antialiased triangle filter, in fixed point.

    Args:
        frame: (Hs, Ws, 3) uint8; the channel order does not matter.
        height: Rows of the result.
        width: Columns of the result.

    Returns:
        (height, width, 3) uint8.

    Raises:
        ConfigError: The frame has another shape or type, or a size is not in [1, 65536].
    """
    _check_frame(frame)
    rows, columns = frame.shape[:2]
    middle = np.empty((height, columns, 3), dtype=np.int32)
    for y, (start, weights) in enumerate(triangle_weights(rows, height)):
        taps = frame[start : start + len(weights)].astype(np.int32)
        # 8 fractional bits are kept: at most 255 * 256, the range of uint16.
        middle[y] = (np.tensordot(weights, taps, axes=1) + 32) >> 6
    result = np.empty((height, width, 3), dtype=np.uint8)
    for x, (start, weights) in enumerate(triangle_weights(columns, width)):
        taps = middle[:, start : start + len(weights)]
        total = np.einsum("k,ykc->yc", weights, taps)
        result[:, x] = (total + (1 << 21)) >> 22
    return result


def normalize(frames_rgb: npt.NDArray[np.uint8], clip: ClipSpec) -> npt.NDArray[np.float32]:
    """Turn resized frames into the engine's clip.

    Args:
        frames_rgb: (T, H, W, 3) uint8 RGB, already of the network's size.
        clip: Size and normalisation.

    Returns:
        (1, T, 3, H, W) float32, `(x / 255 - mean) / std`, C-contiguous.

    Raises:
        ConfigError: The frames have another shape or type.
    """
    expected = (clip.height, clip.width, 3)
    if (
        frames_rgb.dtype != np.uint8
        or frames_rgb.ndim != 4
        or frames_rgb.shape[1:] != expected
        or not len(frames_rgb)
    ):
        raise ConfigError(
            f"got frames of {frames_rgb.dtype} {frames_rgb.shape}, expected uint8 (T, "
            f"{clip.height}, {clip.width}, 3) in RGB"
        )
    table = _table(clip.mean, clip.std)
    result = np.empty((1, len(frames_rgb), 3, clip.height, clip.width), dtype=np.float32)
    for channel in range(3):
        result[0, :, channel] = table[channel][frames_rgb[..., channel]]
    return result


@lru_cache(maxsize=16)
def triangle_weights(
    input_size: int, output_size: int
) -> tuple[tuple[int, npt.NDArray[np.int32]], ...]:
    """Return, for each output sample, its first input sample and its Q14 weights.

    The weights of one output sum to exactly 16384 (the first of the largest absorbs the rounding),
    so a flat image stays flat. The sums run in a fixed order: C++ must round the same way.

    Raises:
        ConfigError: A size is not in [1, 65536].
    """
    if not (1 <= input_size <= MAX_SIZE and 1 <= output_size <= MAX_SIZE):
        raise ConfigError(
            f"cannot resize {input_size} to {output_size} pixels: sizes must be in [1, 65536]"
        )
    scale = input_size / output_size
    width = max(scale, 1.0)
    rows = []
    for i in range(output_size):
        centre = (i + 0.5) * scale
        first = max(int(centre - width + 0.5), 0)
        last = min(int(centre + width + 0.5), input_size)
        values = [max(0.0, 1.0 - abs((x - centre + 0.5) / width)) for x in range(first, last)]
        # Not sum(): since Python 3.12 it compensates its rounding errors, which C++ does not.
        total = 0.0
        for value in values:
            total += value
        weights = [math.floor(value / total * _ONE + 0.5) for value in values]
        weights[weights.index(max(weights))] += _ONE - sum(weights)
        rows.append((first, np.array(weights, dtype=np.int32)))
    return tuple(rows)


@lru_cache(maxsize=16)
def _table(
    mean: tuple[float, float, float], std: tuple[float, float, float]
) -> npt.NDArray[np.float32]:
    """Return the normalised value of each byte, per RGB channel: (3, 256) float32."""
    values = np.arange(256, dtype=np.float64) / 255.0
    rows = [(values - m) / s for m, s in zip(mean, std, strict=True)]
    return np.stack(rows).astype(np.float32)


def _check_frame(frame: Any) -> None:
    good = (
        isinstance(frame, np.ndarray)
        and frame.dtype == np.uint8
        and frame.ndim == 3
        and frame.shape[2] == 3
        and frame.size > 0
    )
    if not good:
        came = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame)
        raise ConfigError(
            f"got {came}, expected a frame: a uint8 array of (height, width, 3) in BGR"
        )
