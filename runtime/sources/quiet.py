"""Set what OpenCV reads when it is loaded; import this before anything that imports cv2.

Its own lines and FFmpeg's are kept off stderr, and the size of pictures has a bound.

Every failed opening prints several lines that say less than the one sentence we raise. Whoever set
the variables themselves is left alone.
"""

from __future__ import annotations

import os
import sys

OPENCV_LEVEL = "OPENCV_LOG_LEVEL"
# Of one picture or frame: twice 8K video. A file of 100 kB may claim a thousand times as many.
MAX_PIXELS = 1 << 26


def quiet_opencv() -> None:
    """Set the variables OpenCV reads when it is loaded, or its level if it already is."""
    asked = OPENCV_LEVEL in os.environ
    os.environ.setdefault(OPENCV_LEVEL, "OFF")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
    # A V4L2 driver that stalls would otherwise hold the grabber thread for ten seconds.
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "5")
    cv2 = sys.modules.get("cv2")
    if cv2 is None or asked:
        return
    levels = getattr(getattr(cv2, "utils", None), "logging", None)
    if levels is not None and hasattr(levels, "setLogLevel"):
        levels.setLogLevel(levels.LOG_LEVEL_SILENT)


quiet_opencv()
