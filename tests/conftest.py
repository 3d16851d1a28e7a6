"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("EDGE_SHARED", REPOSITORY.parent / "shared")) / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real videos and annotations, or skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no reference data at {SHARED} (set EDGE_SHARED to its parent folder)")
    return SHARED
