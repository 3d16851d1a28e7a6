"""The clips and the smallest network that tests of training use."""

from __future__ import annotations

from runtime.types import ClipSpec

SHAPE = ClipSpec(num_frames=4, height=32, width=48, sampling_rate=4, fps=30.0)
TINY = {
    "num_frames": 4,
    "height": 32,
    "width": 48,
    "stem_channels": 4,
    "channels": (8, 16),
    "depths": (1, 1),
    "head_channels": 8,
    "strides": (2,),
    "kv_strides": (4, 2),
}
