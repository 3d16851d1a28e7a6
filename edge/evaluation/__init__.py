"""How good a model is: frame-mAP and video-mAP as published, actors at a threshold, reports.

NumPy only. `evaluate_frames` takes boxes as columns, `evaluate_tubes` tubes, `Evaluator` a data
set and a model; `link_boxes` makes tubes of boxes.
"""

from __future__ import annotations

from edge.data.annotations import BoxTable, Tube
from edge.evaluation.clip_metrics import AtThreshold, ClipMetrics, predict
from edge.evaluation.evaluator import Evaluator, by_engine
from edge.evaluation.frames import FrameMetrics, evaluate_frames
from edge.evaluation.linking import TubeConfig, link_boxes
from edge.evaluation.protocols import PROTOCOLS
from edge.evaluation.video import FoundTube, VideoMetrics, evaluate_tubes

__all__ = [
    "PROTOCOLS",
    "AtThreshold",
    "BoxTable",
    "ClipMetrics",
    "Evaluator",
    "FoundTube",
    "FrameMetrics",
    "Tube",
    "TubeConfig",
    "VideoMetrics",
    "by_engine",
    "evaluate_frames",
    "evaluate_tubes",
    "link_boxes",
    "predict",
]
