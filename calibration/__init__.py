"""Which clips stand for the deployment, activation ranges, and the actor threshold."""

from __future__ import annotations

from calibration.calibrate import CalibrationReport, calibrate
from calibration.clips import CalibrationClips, choose_clips
from calibration.threshold import FittedThreshold, fit_threshold, quantile_threshold

__all__ = [
    "CalibrationClips",
    "CalibrationReport",
    "FittedThreshold",
    "calibrate",
    "choose_clips",
    "fit_threshold",
    "quantile_threshold",
]
