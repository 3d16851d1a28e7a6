"""What `pip install .` brings to a device: NumPy, PyAV, and OpenCV unless a system one is there.

A Jetson has OpenCV from JetPack (with GStreamer, which the PyPI wheel lacks) as an importable
`cv2` that pip does not know of; forcing `opencv-python` over it would take the CSI camera away.
scikit-build-core calls `dynamic_metadata` while it builds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

NUMPY = "numpy>=1.24"
# A system's OpenCV up to Python 3.12 was built for NumPy 1 and does not import beside NumPy 2:
# JetPack 6's, Debian 12's, Ubuntu 24.04's.
NUMPY_OF_SYSTEM = "numpy>=1.24,<2"
OPENCV = "opencv-python>=4.8"
# Reads video files and streams; its wheels bring FFmpeg (docs/adr/0028-video-reader.md). Since 14.1
# it says how a frame is turned.
PYAV = "av>=14.1"
OVERRIDE = "EDGE_SYSTEM_OPENCV"

# Run with -I: pip's build isolation hides the target environment through PYTHONPATH, which -I
# ignores, so this sees the environment that is being installed into. Other front ends build in
# an environment of their own, where the answer is "no system OpenCV": there, set the override.
PROBE = """
import importlib.metadata as metadata
try:
    metadata.distribution("opencv-python")
except metadata.PackageNotFoundError:
    import cv2
    cv2.VideoCapture
else:
    raise SystemExit(1)
"""


def has_system_opencv() -> bool:
    """Say whether the target environment has a `cv2` that is not from `opencv-python`.

    Raises:
        ValueError: `EDGE_SYSTEM_OPENCV` is set to something other than 0 or 1.
    """
    override = os.environ.get(OVERRIDE, "")
    if override not in ("", "0", "1"):
        raise ValueError(f"{OVERRIDE} is {override!r}; set it to 1, 0, or leave it unset")
    if override:
        return override == "1"
    probe = [sys.executable, "-I", "-c", PROBE]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def dynamic_metadata(
    field: str, settings: Mapping[str, Any], project: Mapping[str, Any] | None = None
) -> list[str]:
    """Return the value of `project.dependencies`."""
    if field != "dependencies" or settings:
        raise ValueError(f"only 'dependencies' without settings is provided, not {field!r}")
    if not has_system_opencv():
        return [NUMPY, PYAV, OPENCV]
    return [NUMPY_OF_SYSTEM if sys.version_info < (3, 13) else NUMPY, PYAV]
