"""Whether `runtime`, `export`, `quantize` and `calibration` are the packages of this project."""

from __future__ import annotations

import importlib.util
from pathlib import Path

NAMES = ("runtime", "calibration", "quantize", "export")


def check_siblings() -> None:
    """Refuse to go on where a file or package of somebody else's has the name of one of ours.

    Raises:
        ImportError: One is hidden; the sentence says by what.
    """
    ours = Path(__file__).resolve().parents[1]
    for name in NAMES:
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or ())]
        found = [Path(place).resolve() for place in places if place is not None]
        if not any(ours / name in (place, place.parent) for place in found):
            hiding = found[0] if found else "nothing"
            raise ImportError(
                f"`import {name}` finds {hiding}, expected the package in {ours / name}: a file or "
                "folder of that name hides it; rename yours, or start from another folder"
            )
