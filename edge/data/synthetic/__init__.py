"""A benchmark world that anyone can regenerate: people who act, drawn from a seed.

Nothing is downloaded. A clip is a scene (`staging`) of articulated figures (`skeleton`, `figure`)
that move (`casting`, `motions`), seen by a camera (`camera`), drawn with OpenCV's polygon fill
(`draw`) and made worse as cameras do (`degrade`).
"""

from edge.data.synthetic.actions import CLASS_NAMES, TIME_PAIRS
from edge.data.synthetic.dataset import SyntheticClips
from edge.data.synthetic.seeds import WORLD_VERSION

__all__ = ["CLASS_NAMES", "TIME_PAIRS", "WORLD_VERSION", "SyntheticClips"]
