"""The registry of backbones: every module of this folder with a `BACKBONE` is one row.

A new backbone is one new file here: its configuration (with `build`), its module, and

    BACKBONE = Backbone(kind="mine", config=MineConfig, variants={"mine-s": BMViTConfig(...)})

Checkpoints, `build_model`, `edge train --model mine-s` and the export then know it.
"""

from __future__ import annotations

import importlib
import pkgutil

from edge.model.backbones.protocol import Backbone, FeatureBackbone

__all__ = ["BACKBONES", "Backbone", "FeatureBackbone"]


_FIRST = ("stem_mvit", "compact", "mvit")  # in lists; others follow by name


def find_rows() -> dict[str, Backbone]:
    """Return the rows of all modules of this folder by kind."""
    rows: dict[str, Backbone] = {}
    others = sorted(one.name for one in pkgutil.iter_modules(__path__) if one.name not in _FIRST)
    for name in (*_FIRST, *others):
        row = getattr(importlib.import_module(f"{__name__}.{name}"), "BACKBONE", None)
        if isinstance(row, Backbone):
            rows[row.kind] = row
    return rows


BACKBONES: dict[str, Backbone] = find_rows()
"""All backbones by kind."""
