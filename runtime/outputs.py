"""Which names an output file may have, and how one is written: whole or not at all.

Never the name of the input, of a device, of another output.

Outputs are written under a part's name and then take the place of what is there. Without these
checks `--overwrite` could replace the video that is being read, or `/dev/null` itself.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def why_no_output(path: Path) -> str | None:
    """Return why nothing may be written under this name, whatever the flags; None where it may."""
    if str(path) == "-":
        return "- is no name of a file; `edge run --json` prints JSON Lines to stdout"
    try:
        if path.is_symlink():
            return f"{path} is a link, which would be replaced; name the file that it points to"
        if path.is_dir():
            return f"{path} is a folder, expected the name of a file to write"
        if path.exists() and not path.is_file():
            return f"{path} is a device or a pipe, expected the name of a file to write"
    except OSError as error:
        return f"{str(path)[:80]} cannot be a file to write: {error.strerror}"
    return None


def part_names(path: Path) -> tuple[Path, Path]:
    """Return the names of an unfinished file: as text, and as a video, which needs its suffix."""
    return path.with_name(path.name + ".part"), path.with_name(f"{path.stem}.part{path.suffix}")


def why_in_the_way(path: Path, inputs: Iterable[Path]) -> str | None:
    """Return why an output, or its part, would destroy one of the files that are read."""
    for own in (path, *part_names(path)):
        for other in inputs:
            both = own.exists() and other.exists()
            if own.resolve() == other.resolve() or (both and own.samefile(other)):
                return f"writing {path} would replace {other}, which is read; name another file"
    return None


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give the name of a new file beside `path`, which takes its place when the block ends.

    The new file has the suffix of `path`, and no other process has its name. After an error it is
    removed, and `path` is as it was. The folder is made where it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.chmod(0o644)  # mkstemp makes it private; these are ordinary files
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes | memoryview) -> None:
    """Write a file whole or not at all; see `atomic_file`.

    Args:
        path: The file.
        content: Its bytes; a text is written in UTF-8.
    """
    with atomic_file(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
