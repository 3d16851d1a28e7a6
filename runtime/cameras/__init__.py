"""Cameras: which there are, with their modes, and what a source really gives."""

from __future__ import annotations

from runtime.cameras.v4l2 import Camera, Mode, list_cameras

__all__ = ["Camera", "Mode", "list_cameras"]
