"""What the method replaces, on the same backbones: two stages with RoIAlign, and DETR's decoder.

They are for comparison (`python -m benchmarks.methods --table 2`), and are not shipped.
"""

from __future__ import annotations

from edge.model.baselines.detr import Detr, DetrConfig
from edge.model.baselines.roi_align import roi_align
from edge.model.baselines.two_stage import TwoStage, TwoStageWithBoxes

__all__ = ["Detr", "DetrConfig", "TwoStage", "TwoStageWithBoxes", "roi_align"]
