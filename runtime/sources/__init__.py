"""Cameras, streams, files and folders of images as one thing: a `Source` of time-stamped frames."""

import runtime.sources.quiet  # noqa: F401  (before cv2 is imported by what follows)
from runtime.sources.frames import Frame, Gap, Image, SourceConfig
from runtime.sources.source import Source, open_source
from runtime.sources.uri import SourceUri, csi_pipeline, parse_uri

__all__ = [
    "Frame",
    "Gap",
    "Image",
    "Source",
    "SourceConfig",
    "SourceUri",
    "csi_pipeline",
    "open_source",
    "parse_uri",
]
