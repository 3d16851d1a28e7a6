"""How good a model is: frame-mAP as AVA counts it, actors at a threshold, reports.

NumPy only. `frames.evaluate_frames` takes boxes as columns, `clips.ClipMetrics` clips and triplets.
"""

from __future__ import annotations

from edge.evaluation.boxes import BoxTable
from edge.evaluation.clips import AtThreshold, ClipMetrics, predict
from edge.evaluation.frames import FrameMetrics, evaluate_frames

__all__ = [
    "AtThreshold",
    "BoxTable",
    "ClipMetrics",
    "FrameMetrics",
    "evaluate_frames",
    "predict",
]
