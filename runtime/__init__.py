"""Everything a device needs to run a bundle; never imports torch.

`from runtime import ClipRunner` is the whole interface most programs need. Names are imported when
they are first used: `import runtime` itself costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.bundle import Bundle as Bundle
    from runtime.decode import Detections as Detections
    from runtime.results import Event as Event
    from runtime.results import KeyframeResult as KeyframeResult
    from runtime.runner import ClipRunner as ClipRunner
    from runtime.sources import SourceConfig as SourceConfig
    from runtime.types import ClipModel as ClipModel
    from runtime.types import ClipSpec as ClipSpec
    from runtime.types import Outputs as Outputs

_HOMES = {
    "Bundle": "runtime.bundle",
    "ClipModel": "runtime.types",
    "ClipRunner": "runtime.runner",
    "ClipSpec": "runtime.types",
    "Detections": "runtime.decode",
    "Event": "runtime.results",
    "KeyframeResult": "runtime.results",
    "Outputs": "runtime.types",
    "SourceConfig": "runtime.sources",
}

__all__ = [
    "Bundle",
    "ClipModel",
    "ClipRunner",
    "ClipSpec",
    "Detections",
    "Event",
    "KeyframeResult",
    "Outputs",
    "SourceConfig",
]


def __getattr__(name: str) -> Any:
    """Import a public name from the module where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"module 'runtime' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
