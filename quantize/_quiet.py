"""Keep the warnings of torch's own tools off the terminal."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_tools() -> Iterator[None]:
    """Ignore warnings inside: deprecations of torch and ExecuTorch that no user can act on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
