"""Fixtures that all tests share."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
NOBODY = 65534
SHARED = Path(os.environ.get("EDGE_SHARED", REPOSITORY.parent / "shared")) / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real videos and annotations, or skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no reference data at {SHARED} (set EDGE_SHARED to its parent folder)")
    return SHARED


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the tests unpack out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def locked() -> Callable[[], AbstractContextManager[Path]]:
    """Return what opens an empty folder that may be read and not written, as root by being nobody.

    What the test imports lazily must be there before: nobody may not be able to read Python itself.
    """
    return _locked


@contextmanager
def _locked() -> Iterator[Path]:
    # Not below `tmp_path`, which only its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="locked-"))
    folder.chmod(0o555)
    root = os.geteuid() == 0
    try:
        if root:  # the saved id stays root's, to come back by
            os.setresuid(NOBODY, NOBODY, 0)
        yield folder
    finally:
        if root:
            os.setresuid(0, 0, 0)
        folder.chmod(0o755)
        shutil.rmtree(folder)
