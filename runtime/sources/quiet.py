"""Keep OpenCV's and FFmpeg's own lines off stderr; import this before anything that imports cv2.

Every failed opening prints several lines that say less than the one sentence we raise. Whoever set
the variables themselves is left alone.
"""

from __future__ import annotations

import os
import sys

OPENCV_LEVEL = "OPENCV_LOG_LEVEL"


def quiet_opencv() -> None:
    """Set the variables OpenCV reads when it is loaded, or its level if it already is."""
    asked = OPENCV_LEVEL in os.environ
    os.environ.setdefault(OPENCV_LEVEL, "OFF")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # A V4L2 driver that stalls would otherwise hold the grabber thread for ten seconds.
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "5")
    cv2 = sys.modules.get("cv2")
    if cv2 is None or asked:
        return
    levels = getattr(getattr(cv2, "utils", None), "logging", None)
    if levels is not None and hasattr(levels, "setLogLevel"):
        levels.setLogLevel(levels.LOG_LEVEL_SILENT)


quiet_opencv()
