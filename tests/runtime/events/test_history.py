"""The history: found again, bounded by age and size, whole after a kill and a full disk."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import pytest

from runtime.errors import SinkError
from runtime.events import ActionEvent, History
from runtime.events.config import HistoryConfig
from runtime.events.history import _TrustedClock
from tests.runtime.events.made import event, fill, until
from tests.runtime.events.test_jsonl import killed


def history(path: Path, **settings: object) -> History:
    # The events of these tests are years old.
    given = {"max_days": 36_500.0, **settings}
    return History(HistoryConfig(path=str(path), **given))  # type: ignore[arg-type]


def keep(kept: History, events: list[ActionEvent]) -> None:
    before = int(str(kept.status()["sent"]))
    for one in events:
        kept.send(one)
    until(lambda: kept.status()["sent"] == before + len(events))


def test_events_are_found_by_time_and_camera(tmp_path: Path) -> None:
    kept = history(tmp_path / "new" / "history.sqlite")
    assert kept.since(0) == []
    events = [event(n, camera="door" if n % 2 else "yard") for n in range(10)]
    keep(kept, events[::-1])
    assert kept.since(0) == events
    assert kept.since(events[4].time) == events[4:]
    assert kept.since(0, "door") == events[1::2]
    assert kept.since(0, "door", 2) == events[1:5:2]
    assert kept.since(0, "nobody") == []
    kept.close(30.0)
    again = history(tmp_path / "new" / "history.sqlite")
    assert again.since(0) == events
    again.close(30.0)


def test_an_event_is_kept_once(tmp_path: Path) -> None:
    kept = history(tmp_path / "history.sqlite")
    keep(kept, [event(1), event(1), event(1, phase="end")])
    assert kept.since(0) == [event(1), event(1, phase="end")]
    kept.close(30.0)


def test_names_are_values_and_no_sql(tmp_path: Path) -> None:
    kept = history(tmp_path / "a b?#%41.sqlite")
    odd = event(1, camera="'; DROP TABLE events; --", action='"\u2603\n')
    keep(kept, [odd])
    assert kept.since(0, odd.camera) == [odd]
    kept.close(30.0)


def test_old_events_go(tmp_path: Path) -> None:
    kept = history(tmp_path / "history.sqlite", max_days=1.0)
    now = time.time()
    old, new = event(1, time=now - 86_500), event(2, time=now - 86_300)
    keep(kept, [old, new])
    keep(kept, [event(n, time=now) for n in range(10, 210)])  # then it looks
    until(lambda: old not in kept.since(0))
    assert new in kept.since(0)
    kept.close(30.0)


def test_the_size_is_bounded_and_the_newest_stay(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    kept = history(path, max_mb=1.0, queue=100_000)
    keep(kept, [event(n) for n in range(12_000)])
    keep(kept, [event(n) for n in range(12_000, 12_200)])
    found = [e.person for e in kept.since(0, limit=100_000)]
    assert found == list(range(12_200))[-len(found) :]
    assert 1000 < len(found) < 12_000
    kept.close(30.0)
    assert path.stat().st_size < 1_500_000
    assert not path.with_name(path.name + "-wal").exists()


@pytest.mark.parametrize("content", [b"no database" * 100, b"SQLite format 3\0" + b"x" * 4080])
def test_a_broken_file_is_put_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "history.sqlite"
    path.write_bytes(content)
    kept = history(path)
    keep(kept, [event(1)])
    assert kept.since(0) == [event(1)]
    kept.close(30.0)
    assert (tmp_path / "history.sqlite.broken").read_bytes() == content


def test_a_file_that_breaks_while_it_is_open_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    kept = history(path)
    keep(kept, [event(n) for n in range(300)])
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
    with path.open("r+b") as file:  # all of it, so that no page in memory helps
        file.write(b"\xff" * path.stat().st_size)
        file.flush()
        os.fsync(file.fileno())
    other = sqlite3.connect(path)  # another writer makes the open one read it again
    with pytest.raises(sqlite3.DatabaseError):
        other.execute("SELECT * FROM events")
    other.close()
    keep(kept, [event(1000)])
    kept.close(30.0)
    again = history(path)
    assert event(1000) in again.since(0)
    again.close(30.0)


def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    acknowledged = killed(path, "HistoryConfig", "history", "History", "max_days=36_500.0")
    kept = history(path)
    found = [e.person for e in kept.since(0, limit=1_000_000)]
    kept.close(30.0)
    assert found == list(range(len(found)))
    assert len(found) >= acknowledged > 2000


def test_a_full_disk_loses_nothing_that_was_acknowledged(small_disk: Path) -> None:
    path = small_disk / "history.sqlite"
    kept = history(path, queue=100_000)
    kept.longest_wait_s = 0.5
    keep(kept, [event(0)])
    filler = fill(small_disk)
    for number in range(1, 1000):
        kept.send(event(number))
    until(lambda: kept.status()["error"])
    assert "full" in str(kept.status()["error"])
    during = int(str(kept.status()["sent"]))
    assert [e.person for e in kept.since(0)][:during] == list(range(during))
    filler.unlink()
    until(lambda: kept.status()["sent"] == 1000)
    assert kept.status()["dropped"] == 0
    assert [e.person for e in kept.since(0)] == list(range(1000))
    kept.close(30.0)


def test_a_full_disk_is_no_reason_not_to_start(small_disk: Path) -> None:
    filler = fill(small_disk)
    kept = history(small_disk / "history.sqlite")
    kept.longest_wait_s = 0.5
    kept.send(event(1))
    until(lambda: kept.status()["error"])
    filler.unlink()
    until(lambda: kept.status()["sent"] == 1)
    assert kept.since(0) == [event(1)]
    kept.close(30.0)


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="cannot be opened"):
        history(tmp_path / "file" / "history.sqlite")
    with pytest.raises(SinkError, match="is a folder"):
        history(tmp_path)


def test_a_clock_that_was_set_deletes_nothing_before_it_is_trusted() -> None:
    clock = _TrustedClock()
    assert clock.now(1000.0, 0.0) == 1000.0
    assert clock.now(1100.0, 100.0) == 1100.0
    assert clock.now(9e9, 200.0) == 1200.0  # far ahead
    assert clock.now(9e9 + 3500, 3700.0) == 4700.0  # not long enough
    assert clock.now(4800.0, 3800.0) == 4800.0  # and back: as if nothing had been
    assert clock.now(100.0, 3900.0) == 100.0  # set back: deletes less
    assert clock.now(9e9, 4000.0) == 5000.0
    assert clock.now(9e9 + 3601, 7601.0) == 9e9 + 3601  # right after all
