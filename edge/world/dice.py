"""Seeds of the world, and the dice that one seed throws.

Every clip has a seed of its own, packed from (world version, split, user's seed, index). Packing is
one-to-one, so clips of two splits never share a seed, and no clip depends on one made before it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

# Raise it with every change that changes a picture: weights and figures name the world they know.
WORLD_VERSION = 1

SPLITS = {"train": 1, "val": 2, "video": 3}
_INDEX_BITS = 48
_SEED_BITS = 64
_STREAM_BITS = 8


def clip_seed(split: str, seed: int, index: int) -> int:
    """Return the seed of one clip.

    Args:
        split: One of `SPLITS`.
        seed: The user's seed, 0 to 2**64 - 1.
        index: The clip's index, 0 to 2**48 - 1.
    """
    assert 0 <= index < 1 << _INDEX_BITS, index
    assert 0 <= seed < 1 << _SEED_BITS, seed
    head = (WORLD_VERSION << 4) | SPLITS[split]
    return (((head << _SEED_BITS) | seed) << _INDEX_BITS) | index


class Dice:
    """Draws from one stream of one seed.

    Only `random.Random.random` is used below: its sequence is promised to stay the same from one
    Python to the next, and a draw costs a tenth of a scalar draw from NumPy.
    """

    __slots__ = ("unit",)

    def __init__(self, seed: int, stream: int = 0) -> None:
        """Open a stream; two streams of one seed are independent."""
        assert 0 <= stream < 1 << _STREAM_BITS, stream
        # `unit()` draws from [0, 1).
        self.unit = random.Random((seed << _STREAM_BITS) | stream).random

    def uniform(self, low: float, high: float) -> float:
        """Draw from [low, high)."""
        return low + (high - low) * self.unit()

    def log_uniform(self, low: float, high: float) -> float:
        """Draw from [low, high) with equal weight for equal ratios."""
        return low * math.pow(high / low, self.unit())

    def bell(self, mean: float, spread: float) -> float:
        """Draw near `mean`, never further than 1.5 x `spread` (three uniform draws)."""
        return mean + spread * (self.unit() + self.unit() + self.unit() - 1.5)

    def chance(self, probability: float) -> bool:
        """Return true with this probability."""
        return self.unit() < probability

    def sign(self) -> int:
        """Return 1 or -1."""
        return 1 if self.unit() < 0.5 else -1

    def below(self, count: int) -> int:
        """Draw a whole number from 0 to `count - 1`."""
        return int(self.unit() * count)

    def one_of(self, choices: Sequence[T]) -> T:
        """Draw one of the choices, all alike."""
        return choices[int(self.unit() * len(choices))]

    def weighted(self, weights: Sequence[float]) -> int:
        """Draw an index with the given weights."""
        rest = self.unit() * sum(weights)
        for index, weight in enumerate(weights):
            rest -= weight
            if rest < 0:
                return index
        return len(weights) - 1
