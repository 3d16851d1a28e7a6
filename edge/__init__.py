"""The model, how it learns and is measured, and the command line.

Importing it does not import torch; `edge.model` does.
"""

from __future__ import annotations

import importlib.metadata

from edge._siblings import check_siblings

__all__ = ["__version__"]

try:
    __version__ = importlib.metadata.version("bmvit-edge")
except importlib.metadata.PackageNotFoundError:
    __version__ = "0+source"

check_siblings()
