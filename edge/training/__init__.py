"""How a model learns: `Trainer(TrainOptions.of(data="my-folder")).run()`.

Names are imported when they are first used: the flags need no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.training.config import TrainOptions as TrainOptions
    from edge.training.loop import Outcome as Outcome
    from edge.training.loop import Trainer as Trainer

_MODULES = {"Outcome": "loop", "TrainOptions": "config", "Trainer": "loop"}

__all__ = ["Outcome", "TrainOptions", "Trainer"]


def __getattr__(name: str) -> Any:
    """Import a public name from the module where it is defined."""
    if name not in _MODULES:
        raise AttributeError(f"module 'edge.training' has no attribute {name!r}")
    return getattr(importlib.import_module(f"edge.training.{_MODULES[name]}"), name)
