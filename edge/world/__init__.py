"""A benchmark world that anyone can regenerate: people who act, drawn from a seed.

Nothing is downloaded. A clip is a `scene` of articulated figures (`skeleton`, `figure`) that move
(`casting`, `motions`, `passages`) before a place (`canvas`, `places`), seen by a `camera`, drawn
with OpenCV's polygon fill (`drawing`, `render`). A `video` follows people through a `script`. The
data set of such clips is `edge.data.drawn`; nothing here needs `edge.data`.
"""

from edge.world.casting import CLASS_NAMES, TIME_PAIRS
from edge.world.dice import WORLD_VERSION

__all__ = ["CLASS_NAMES", "TIME_PAIRS", "WORLD_VERSION"]
