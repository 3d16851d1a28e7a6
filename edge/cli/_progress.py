"""One progress bar on stderr for the steps of a long job."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from calibration.clips import Progress


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Progress | None]:
    """Give a callback `(step, done, total)` that moves a bar; None where nobody watches."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    bar: tqdm[None] = tqdm(total=0, leave=False, dynamic_ncols=True)

    def move(step: str, done: int, total: int) -> None:
        if bar.desc != f"{step}: " or bar.total != total:
            bar.reset(total=max(total, 1))
            bar.set_description(step)
        bar.n = done
        bar.refresh()

    try:
        yield move
    finally:
        bar.close()
