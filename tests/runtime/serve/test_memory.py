"""The allocator takes what it is asked for."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

ARENAS = """
import threading
from runtime.serve.memory import give_back, tame
assert tame() is True
def work():
    blocks = [bytes(1000 + i) for i in range(20000)]
    ready.wait()
ready = threading.Barrier(17)
threads = [threading.Thread(target=work) for _ in range(16)]
for thread in threads: thread.start()
ready.wait()
for thread in threads: thread.join()
give_back()
import ctypes, os, tempfile
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as file:
    stream = libc.fopen(file.name.encode(), b"w")
    libc.malloc_info(0, ctypes.c_void_p(stream))
    libc.fclose(ctypes.c_void_p(stream))
    print(open(file.name).read().count("<heap nr="))
"""


def test_many_threads_share_few_arenas() -> None:
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("another C library than glibc")
    done = subprocess.run(
        [sys.executable, "-c", ARENAS], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) <= 2
