"""Events as JSON Lines, appended to a file that is turned over at a size.

An event is acknowledged when its line is written and `fsync` has returned: from then on neither the
end of the process nor that of the power takes it. Lines that come together share one `fsync`.
Where a line cannot be written (the disk is full), what was begun is cut off, so that the file holds
whole lines only, and it is tried again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

from runtime.errors import SinkError
from runtime.events.config import JsonlConfig
from runtime.events.queue import QueueSink
from runtime.events.types import ActionEvent
from runtime.outputs import why_no_output

_MB = 1_000_000
_TAIL = 1 << 16


class JsonlSink(QueueSink):
    """Appends to `path`; older files are `path.1` (the newest of them), `path.2`, ..."""

    name = "jsonl"

    def __init__(self, config: JsonlConfig) -> None:
        """Open the file, and cut off a line that a killed process left unfinished.

        Raises:
            SinkError: It cannot be opened, or another process writes it.
        """
        super().__init__(config.queue)
        self.path = Path(config.path)
        self._most = int(config.max_mb * _MB)
        self._files = config.files
        self._file: FileIO | None = None
        reason = why_no_output(self.path)
        if reason:
            raise SinkError(reason)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self.path.with_name(self.path.name + ".lock").open("ab")
        except OSError as error:
            raise SinkError(f"{self.path} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file = self._opened()
        except BlockingIOError as error:
            self._lock.close()
            raise SinkError(f"{self.path} is written by another process; name a file each") from (
                error
            )
        except OSError as error:
            self._lock.close()
            raise SinkError(f"{self.path} cannot be written: {error.strerror}") from error
        self._start()

    def status(self) -> dict[str, object]:
        """Return the queue's status and the file."""
        return {**super().status(), "path": str(self.path)}

    def _deliver(self, batch: Sequence[ActionEvent]) -> None:
        lines = [
            json.dumps(event.to_dict(), ensure_ascii=False, allow_nan=False) + "\n"
            for event in batch
        ]
        data = "".join(lines).encode("utf-8", "backslashreplace")
        try:
            self._append(data)
        except OSError as error:
            raise SinkError(f"{self.path} cannot be written: {error.strerror}") from error

    def _append(self, data: bytes) -> None:
        file = self._current()
        start = file.seek(0, os.SEEK_END)
        if start and start + len(data) > self._most:
            file = self._turn_over()
            start = 0
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(start)
            raise

    def _current(self) -> FileIO:
        """Return the open file; a new one where ours was renamed or removed by somebody."""
        if self._file is not None:
            try:
                if os.path.samestat(self.path.stat(), os.fstat(self._file.fileno())):
                    return self._file
            except OSError:  # it is gone
                pass
            self._file.close()
            self._file = None
        self._file = self._opened()
        return self._file

    def _opened(self) -> FileIO:
        new = not self.path.exists()
        file = FileIO(self.path, "x+" if new else "r+")
        try:
            size = file.seek(0, os.SEEK_END)
            file.truncate(_whole_lines(file, size))
            if new:
                self._sync_folder()
        except BaseException:
            file.close()
            raise
        return file

    def _turn_over(self) -> FileIO:
        assert self._file is not None
        self._file.close()
        self._file = None
        for number in range(self._files - 1, 0, -1):
            older = self._numbered(number)
            newer = self._numbered(number - 1)
            if newer.exists():
                newer.replace(older)
        if self._files == 1:
            self.path.unlink(missing_ok=True)
        self._file = self._opened()
        return self._file

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path

    def _sync_folder(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._lock.close()


def _whole_lines(file: FileIO, size: int) -> int:
    """Return how many bytes of a file are whole lines."""
    end = size
    while end:
        start = max(0, end - _TAIL)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
