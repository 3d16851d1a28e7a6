"""Memory that is freed and asked for again, in a process of its own: the setting lasts."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

# Prints how many pages the system handed out when a block of 64 MB was filled for the last time.
# Small things settle in the first holes; from the tenth time or so on the block finds its place.
_OFTEN = """
import resource
import torch
from edge.training.memory import keep_freed_memory
torch.set_num_threads(1)
told = keep_freed_memory() if {keep} else None
for _ in range(40):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = torch.full((64 * 2**20,), 7, dtype=torch.uint8)
    pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    del block
print(told, pages)
"""


def last_time(*, keep: bool, **environment: str) -> tuple[str, int]:
    names = [n for n in os.environ if not n.startswith(("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD"))]
    done = subprocess.run(
        [sys.executable, "-c", _OFTEN.format(keep=keep)],
        env={**{name: os.environ[name] for name in names}, **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    told, pages = done.stdout.split()
    return told, int(pages)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_freed_memory_is_kept() -> None:
    _, anew = last_time(keep=False)
    told, kept = last_time(keep=True)
    assert told == "True"
    assert kept * 20 < anew


def test_who_has_set_the_library_up_is_left_alone() -> None:
    told, _ = last_time(keep=True, MALLOC_TRIM_THRESHOLD_="131072")
    assert told == "False"
