"""What Python and NumPy raise where a zip or an array file is damaged, or made to do damage.

Neither says: `zipfile` raises `NotImplementedError` for a version it does not know, `RuntimeError`
for a password, `UnicodeDecodeError` for a name, `zlib.error` inside a member; NumPy's header is
Python source. A fuzzer found each (tests/fuzz).
"""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib

UNREADABLE: tuple[type[Exception], ...] = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
    OSError,
    EOFError,
    ValueError,  # also what is no UTF-8
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    MemoryError,
    RecursionError,
    SyntaxError,
    NotImplementedError,
    RuntimeError,
)
"""Errors of reading an archive or an array that is not what it should be."""
