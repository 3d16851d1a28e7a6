"""Events in an SQLite file, to be looked up; bounded by age and by size.

An event is acknowledged when its transaction is committed (WAL, `synchronous=FULL`): neither the
end of the process nor that of the power takes it then.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runtime.errors import SinkError
from runtime.events.config import HistoryConfig
from runtime.events.queue import QueueSink
from runtime.events.types import ActionEvent, Phase
from runtime.outputs import why_no_output

logger = logging.getLogger(__name__)

_MB = 1_000_000
_DAY_S = 86_400.0
_CHECK_EVERY_S, _CHECK_EVERY = 60.0, 200
_SHARE = 10  # of the oldest events go where the file is too large: one in so many
# A wall clock that was set by more than this is not believed before it went on evenly for so long.
_CLOCK_SET_S, _CLOCK_TRUSTED_S = 60.0, 3600.0
_FULL = (errno.ENOSPC, errno.EDQUOT)
_COLUMNS = (
    "event_id, camera, phase, action, person, score, x1, y1, x2, y2, started, time, duration_s"
)
_TABLES = """
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL, camera TEXT NOT NULL, phase TEXT NOT NULL, action TEXT NOT NULL,
    person INTEGER NOT NULL, score REAL NOT NULL,
    x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL,
    started REAL NOT NULL, time REAL NOT NULL, duration_s REAL NOT NULL,
    UNIQUE (event_id, phase, time)
);
CREATE INDEX IF NOT EXISTS events_time ON events (time);
CREATE INDEX IF NOT EXISTS events_camera ON events (camera, time);
"""


class History(QueueSink):
    """Keeps events and finds them again. `since` may be called from any thread."""

    name = "history"

    def __init__(self, config: HistoryConfig) -> None:
        """Open the database; one that is broken is put aside, said, and a new one begun.

        Raises:
            SinkError: It cannot be opened.
        """
        super().__init__(config.queue)
        self.path = Path(config.path)
        self._max_age_s = config.max_days * _DAY_S
        self._most = int(config.max_mb * _MB)
        self._write: sqlite3.Connection | None = None
        self._read: sqlite3.Connection | None = None
        self._reading = threading.Lock()
        self._unchecked, self._checked_at = 0, time.monotonic()
        self._clock = _TrustedClock()
        reason = why_no_output(self.path)
        if reason:
            raise SinkError(reason)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write = self._connect()
        except (OSError, sqlite3.Error) as error:
            if not _is_full(error):
                raise SinkError(f"{self.path} cannot be opened: {_words(error)}") from error
            # A full disk is no reason not to start: the thread tries again.
            logger.warning("%s: the disk is full", self.path)
        self._start()

    def status(self) -> dict[str, object]:
        """Return the queue's status and the file."""
        return {**super().status(), "path": str(self.path)}

    def since(self, t: float, camera: str | None = None, limit: int = 1000) -> list[ActionEvent]:
        """Return acknowledged events told at `t` (Unix seconds) or later, oldest first.

        To go on, call it with the last one's `time`; those of the same time come again.

        Args:
            t: Unix seconds.
            camera: Only those of this camera.
            limit: At most so many.

        Raises:
            SinkError: The database cannot be read.
        """
        only = "" if camera is None else " AND camera = ?"
        query = f"SELECT {_COLUMNS} FROM events WHERE time >= ?{only} ORDER BY time, id LIMIT ?"
        values = (t, *(() if camera is None else (camera,)), max(0, limit))
        try:
            with self._reading:
                if self._read is None:
                    if not self.path.exists():
                        return []
                    self._read = sqlite3.connect(
                        f"file:{quote(str(self.path))}?mode=ro", uri=True, check_same_thread=False
                    )
                rows = self._read.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise SinkError(f"{self.path} cannot be read: {error}") from error
        return [_event(row) for row in rows]

    def _deliver(self, batch: Sequence[ActionEvent]) -> None:
        try:
            if self._write is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._write = self._connect()
            places = ", ".join("?" * len(_COLUMNS.split(",")))
            with self._write:  # one transaction; an event that is there already is the same
                self._write.executemany(
                    f"INSERT OR IGNORE INTO events ({_COLUMNS}) VALUES ({places})", map(_row, batch)
                )
            self._unchecked += len(batch)
            due = time.monotonic() - self._checked_at >= _CHECK_EVERY_S
            if due or self._unchecked >= _CHECK_EVERY:
                self._bound()
        except sqlite3.DatabaseError as error:
            if _is_broken(error):
                self._disconnect()
                self._put_aside(error)
            raise SinkError(f"{self.path} cannot be written: {_words(error)}") from error
        except (OSError, sqlite3.Error) as error:
            raise SinkError(f"{self.path} cannot be written: {_words(error)}") from error

    def _bound(self) -> None:
        """Delete what is too old, and the oldest where the file is too large."""
        assert self._write is not None
        self._unchecked, self._checked_at = 0, time.monotonic()
        oldest = self._clock.now(time.time(), time.monotonic()) - self._max_age_s
        with self._write:
            self._write.execute("DELETE FROM events WHERE time < ?", (oldest,))
        while self._bytes() > self._most:
            with self._write:
                gone = self._write.execute(
                    "DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY id LIMIT "
                    f"(SELECT max(1, count(*) / {_SHARE}) FROM events))"
                ).rowcount
            if not gone:
                break
        self._write.execute("PRAGMA incremental_vacuum").fetchall()

    def _bytes(self) -> int:
        """Return the size of the pages that hold something."""
        assert self._write is not None
        pages, free, size = (
            self._write.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _connect(self) -> sqlite3.Connection:
        try:
            return self._opened()
        except sqlite3.DatabaseError as error:
            if not _is_broken(error):
                raise
            self._put_aside(error)
            return self._opened()

    def _opened(self) -> sqlite3.Connection:
        # The thread of the queue is the only one that writes, and the first to after this one.
        connection = sqlite3.connect(self.path, timeout=5.0, check_same_thread=False)
        try:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {4 * _MB}").fetchall()
            connection.executescript(_TABLES)
        except BaseException:
            connection.close()
            raise
        return connection

    def _put_aside(self, error: sqlite3.Error) -> None:
        aside = self.path.with_name(f"{self.path.name}.broken")
        logger.error("%s is broken (%s); it is kept as %s, a new one begins",
                     self.path, error, aside.name)  # fmt: skip
        for suffix in ("", "-wal", "-shm"):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.replace(self.path.with_name(aside.name + suffix))

    def _disconnect(self) -> None:
        with self._reading:
            # The writer last: it can put the log's pages into the file and remove it.
            for connection in (self._read, self._write):
                if connection is not None:
                    connection.close()
            self._write = self._read = None

    def _release(self) -> None:
        self._disconnect()


class _TrustedClock:
    """The wall clock, except where it was set: then the earlier of both until it is trusted.

    Otherwise a clock that is wrong for a moment would delete the whole history.
    """

    def __init__(self) -> None:
        self._known: tuple[float, float] | None = None
        self._new: tuple[float, float] | None = None

    def now(self, wall: float, monotonic: float) -> float:
        """Return by which time to delete; both arguments in seconds."""
        if self._known is None or self._goes_on(self._known, wall, monotonic):
            self._known, self._new = (wall, monotonic), None
            return wall
        if self._new is None or not self._goes_on(self._new, wall, monotonic):
            self._new = (wall, monotonic)
        if monotonic - self._new[1] >= _CLOCK_TRUSTED_S:
            self._known, self._new = (wall, monotonic), None
            return wall
        return min(wall, self._known[0] + monotonic - self._known[1])

    @staticmethod
    def _goes_on(since: tuple[float, float], wall: float, monotonic: float) -> bool:
        return abs(wall - since[0] - (monotonic - since[1])) <= _CLOCK_SET_S


def _row(event: ActionEvent) -> tuple[object, ...]:
    return (
        event.event_id, event.camera, event.phase.value, event.action, event.person, event.score,
        *event.box, event.started, event.time, event.duration_s,
    )  # fmt: skip


def _event(row: tuple[Any, ...]) -> ActionEvent:
    return ActionEvent(
        event_id=row[0], camera=row[1], phase=Phase(row[2]), action=row[3], person=row[4],
        score=row[5], box=(row[6], row[7], row[8], row[9]), started=row[10], time=row[11],
        duration_s=row[12],
    )  # fmt: skip


def _is_broken(error: sqlite3.Error) -> bool:
    text = str(error)
    return "malformed" in text or "not a database" in text


def _is_full(error: Exception) -> bool:
    full = isinstance(error, OSError) and error.errno in _FULL
    return full or "disk is full" in str(error)


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
