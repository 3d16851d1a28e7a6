"""The unfinished file of an output: one process writes it, and nothing written is lost.

While a run lasts, its output has a part's name (`part_names`) and is locked by the run; the lock
ends with the process, however it ends. So a part that nobody holds was left by a run that was cut
off: it is kept under another name. A part that somebody holds belongs to a run that still writes.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from runtime.errors import SinkError
from runtime.sources.names import shown_name

logger = logging.getLogger(__name__)

# Where a file system has no locks (some network shares) or no second names (FAT).
_NO_LOCKS = frozenset(
    {errno.ENOLCK, errno.EBADF, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
)
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class Part:
    """The unfinished file of one output, new and empty, open for writing.

    Attributes:
        path: The output's name.
        part: Where it is until it is whole.
        file: The part, open for bytes, unbuffered: each write is with the operating system.
    """

    def __init__(self, path: Path, part: Path, *, overwrite: bool) -> None:
        """Take the part's name, and keep what an earlier run left there.

        Args:
            path: The output's name.
            part: Its unfinished file, in the same folder.
            overwrite: Let the finished file take the place of one that exists.

        Raises:
            SinkError: Another run writes it, the file is there already, or the folder takes none.
        """
        if path.exists() and not overwrite:
            raise SinkError(
                f"{shown_name(path)} is there already; name another file or allow overwriting"
            )
        if part.exists() and not part.is_file():
            raise SinkError(
                f"{shown_name(part)}, the name of the unfinished file, is a folder, a pipe or a "
                "device; remove it, or name another output"
            )
        self.path, self.part, self._overwrite = path, part, overwrite
        try:
            self.file = _take(path, part)
        except OSError as error:
            raise SinkError(f"{shown_name(path)} cannot be written: {error.strerror}") from error

    def publish(self) -> None:
        """Give the file its name, once its bytes are on the disk.

        Raises:
            SinkError: A file of that name appeared meanwhile; the part is left.
            OSError: The disk refuses.
        """
        os.fsync(self.file.fileno())
        if self._overwrite:
            self.part.replace(self.path)
        else:
            self._publish_as_new()
        self.file.close()

    def _publish_as_new(self) -> None:
        try:
            os.link(self.part, self.path)
        except FileExistsError:
            raise self._appeared() from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if self.path.exists():
                raise self._appeared() from None
            self.part.replace(self.path)
        else:
            self.part.unlink()

    def _appeared(self) -> SinkError:
        return SinkError(
            f"{shown_name(self.path)} appeared while it was being made, and is left as it is; "
            f"this run's output is in {shown_name(self.part)}"
        )

    def close(self) -> None:
        """Let go of the part and leave it."""
        self.file.close()

    def discard(self) -> None:
        """Remove the part."""
        self.part.unlink(missing_ok=True)
        self.file.close()


def _take(path: Path, part: Path) -> FileIO:
    """Open the part, alone; see `Part`."""
    while True:
        handle = os.open(part, os.O_RDWR | os.O_CREAT, 0o644)
        file = os.fdopen(handle, "r+b", buffering=0)
        try:
            _lock(file.fileno(), path)
            state = os.fstat(handle)
            if not _is_named(state, part):
                # Its owner finished, or renamed it, between our opening and our locking.
                file.close()
                continue
            if state.st_size:
                _keep(part)
                file.close()
                continue
        except BaseException:
            file.close()
            raise
        return file


def _lock(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            logger.warning(
                "%s: this file system has no locks; see that no second run writes it",
                shown_name(path),
            )
        elif error.errno in (errno.EAGAIN, errno.EACCES):
            raise SinkError(
                f"{shown_name(path)} is being written by another run; name another"
            ) from None
        else:
            raise


def _is_named(state: os.stat_result, part: Path) -> bool:
    """Tell whether an open file still has the part's name."""
    try:
        return os.path.samestat(state, part.stat())
    except FileNotFoundError:
        return False


def _keep(part: Path) -> None:
    """Give what an earlier run left another name, which no file has."""
    for number in itertools.count(1):
        kept = part.with_name(f"{part.stem}-{number}{part.suffix}")
        if not os.path.lexists(kept):
            part.rename(kept)
            logger.warning(
                "%s was left by a run that was cut off; it is now %s",
                shown_name(part), shown_name(kept),
            )  # fmt: skip
            return


@contextmanager
def owned_folder(folder: Path) -> Iterator[None]:
    """Hold a folder while one process writes in it; the folder is made where it is missing.

    Raises:
        SinkError: Another process holds it.
        OSError: It cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)
