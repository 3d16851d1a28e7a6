"""A bank of tiling textures: brightness only, colour comes with the surface.

Each is made once in a process, from a constant seed, and warped into scenes from there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]

SIZE = 256


def _clouds(seed: int, slope: float) -> F32:
    """Return tiling noise with a spectrum of 1 / f**slope, mean 0 and deviation 1."""
    rng = np.random.default_rng([7, seed])
    spectrum = np.fft.rfft2(rng.standard_normal((SIZE, SIZE)))
    across, down = np.fft.rfftfreq(SIZE)[None], np.fft.fftfreq(SIZE)[:, None]
    frequency = np.sqrt(across**2 + down**2)
    frequency[0, 0] = 1.0
    spectrum /= frequency**slope
    spectrum[0, 0] = 0.0
    noise = np.fft.irfft2(spectrum, (SIZE, SIZE))
    clouds: F32 = (noise / noise.std()).astype(np.float32)
    return clouds


def _cells(rows: int, columns: int, *, stagger: bool, seed: int, spread: float) -> F32:
    """Return a grid of cells of different brightness with dark joints: tiles, bricks, planks."""
    rng = np.random.default_rng([11, seed])
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float64)
    row = (y * rows / SIZE).astype(int)
    x = x * columns / SIZE + (0.5 * (row % 2) if stagger else 0.0)
    column = x.astype(int) % columns
    value = rng.normal(0, spread, (rows, columns))[row, column]
    joint = np.minimum((x % 1) * SIZE / columns, ((y * rows / SIZE) % 1) * SIZE / rows) < 2.0
    return np.where(joint, -2.2, value).astype(np.float32)


def _stripes(count: int) -> F32:
    wave = np.sign(np.sin(np.arange(SIZE) * 2 * np.pi * count / SIZE))
    return np.broadcast_to(wave.astype(np.float32), (SIZE, SIZE))


def _checker(count: int) -> F32:
    cell = np.arange(SIZE) * count // SIZE
    return np.where((cell[:, None] + cell) % 2, 1.0, -1.0).astype(np.float32)


def _dots() -> F32:
    rng = np.random.default_rng(13)
    dots = np.zeros((SIZE, SIZE), np.float32)
    for x, y, r, v in zip(*(rng.integers(0, 256, 90) for _ in range(4)), strict=True):
        cv2.circle(dots, (int(x), int(y)), 3 + int(r) % 9, float(v) / 64 - 2, -1)
    return dots


_MAKERS: dict[str, Callable[[], F32]] = {
    "plain": lambda: 0.25 * _clouds(1, 1.4),
    "concrete": lambda: 0.8 * _clouds(2, 1.5) + 0.25 * _clouds(3, 0.2),
    "asphalt": lambda: 0.4 * _clouds(4, 1.4) + 0.6 * _clouds(5, 0.0),
    "grass": lambda: 0.7 * _clouds(6, 0.5) + 0.7 * _clouds(7, 1.6),
    "carpet": lambda: 0.5 * _clouds(8, 0.3) + 0.5 * _dots(),
    "tiles": lambda: 0.8 * _cells(8, 8, stagger=False, seed=1, spread=0.35) + 0.2 * _clouds(9, 0.8),
    "slabs": lambda: _cells(4, 4, stagger=True, seed=2, spread=0.5) + 0.35 * _clouds(10, 1.0),
    "bricks": lambda: _cells(16, 8, stagger=True, seed=3, spread=0.6) + 0.4 * _clouds(11, 0.7),
    "planks": lambda: (
        0.8 * _cells(10, 2, stagger=True, seed=4, spread=0.7)
        + 0.5 * cv2.blur(_clouds(12, 0.6), (41, 1))
    ),
    "checker": lambda: 1.1 * _checker(8) + 0.3 * _clouds(13, 1.0),
    "paper": lambda: 0.7 * _stripes(8) + 0.2 * _clouds(14, 0.8),
    "panels": lambda: 0.9 * _stripes(2) + 0.4 * _clouds(15, 1.6),
    "spots": lambda: _dots() + 0.4 * _clouds(16, 1.4),
    "clouds": lambda: _clouds(17, 1.9),
    "leaves": lambda: _clouds(18, 0.9) + 0.6 * _clouds(19, 0.3),
}

FLOORS = ("plain", "concrete", "carpet", "tiles", "slabs", "planks", "planks", "checker", "asphalt")
WALLS = ("plain", "plain", "concrete", "bricks", "tiles", "planks", "paper", "panels", "spots")
GROUNDS = ("grass", "grass", "asphalt", "asphalt", "slabs", "concrete", "bricks")


@cache
def texture(name: str) -> U8:
    """Return a texture (SIZE, SIZE) of mean brightness 128; one deviation is 32."""
    values = _MAKERS[name]()
    grey: U8 = np.clip(128 + 32 * (values - values.mean()), 0, 255).astype(np.uint8)
    return grey


@cache
def noise(level: int) -> U8:
    """Return sensor noise (2, 2 * SIZE, 2 * SIZE, 3): what is added, and what is taken away.

    Args:
        level: Its standard deviation, 0 - 255.
    """
    rng = np.random.default_rng([17, level])
    shape = (2 * SIZE, 2 * SIZE, 3)
    grain = rng.standard_normal(shape) * 0.8 + rng.standard_normal((*shape[:2], 1)) * 0.6
    values = np.rint(level * grain)
    return np.stack([np.maximum(values, 0), np.maximum(-values, 0)]).astype(np.uint8)
