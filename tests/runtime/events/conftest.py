"""Small disks that can be filled."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, size_mb: int) -> Iterator[Path]:
    """Mount a file system of this size (tmpfs); needs root and the right to mount."""
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("a file system to fill needs root")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a file system to fill cannot be mounted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a disk of 1 MB."""
    with mounted(tmp_path / "disk", 1) as disk:
        yield disk


@pytest.fixture
def larger_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a disk of 16 MB."""
    with mounted(tmp_path / "disk", 16) as disk:
        yield disk
