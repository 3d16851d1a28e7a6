"""JSON Lines of events: turned over, cut to whole lines, nothing acknowledged is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.errors import SinkError
from runtime.events import event_from_dict
from runtime.events.config import JsonlConfig
from runtime.events.jsonl import JsonlSink
from tests.runtime.events.made import event, fill, until

ROOT = Path(__file__).resolve().parents[3]
# Sends a hundred whenever fewer than a thousand wait, and says how many are acknowledged. Without
# the wait it keeps the lock of the queue from the sink on some machines, until events are dropped.
WRITER = """
import sys, time
from runtime.events.config import {config}
from runtime.events.{module} import {sink}
from tests.runtime.events.made import event
sink = {sink}({config}(path=sys.argv[1], {settings}))
number = 0
while True:
    while sink.status()["queued"] >= 1000:
        time.sleep(0.001)
    for _ in range(100):
        sink.send(event(number))
        number += 1
    print(sink.status()["sent"], flush=True)
"""


def people(path: Path) -> list[int]:
    """Return the numbers of the events in a file and in those before it, oldest first."""
    older = sorted(path.parent.glob(f"{path.name}.[0-9]*"), key=lambda p: -int(p.suffix[1:]))
    lines = [line for one in (*older, path) for line in one.read_text().splitlines()]
    return [event_from_dict(json.loads(line)).person for line in lines]


def killed(path: Path, config: str, module: str, sink: str, settings: str) -> int:
    """Run a writer, kill it while it writes, and return how many events it had acknowledged."""
    code = WRITER.format(config=config, module=module, sink=sink, settings=settings)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    acknowledged = 0
    for line in process.stdout:
        acknowledged = int(line)
        if acknowledged > 2000:
            break
    process.send_signal(signal.SIGKILL)
    for line in process.stdout:  # what it said before it died
        acknowledged = int(line) if line.endswith("\n") else acknowledged
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    return acknowledged


def test_each_event_is_a_line_that_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "events.jsonl"
    sink = JsonlSink(JsonlConfig(path=str(path)))
    events = [event(n, phase=phase) for n, phase in enumerate(("begin", "continue", "end"))]
    for one in events:
        sink.send(one)
    sink.close(30.0)
    assert [event_from_dict(json.loads(line)) for line in path.read_text().splitlines()] == events
    assert sink.status()["sent"] == 3


def test_what_is_no_text_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = JsonlSink(JsonlConfig(path=str(path)))
    odd = event(1, camera="a\udcff\u2603\n")
    sink.send(odd)
    sink.close(30.0)
    assert event_from_dict(json.loads(path.read_text(encoding="utf-8"))) == odd


def test_files_are_turned_over_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = JsonlSink(JsonlConfig(path=str(path), max_mb=0.001, files=3))
    for number in range(40):
        sink.send(event(number))
        until(lambda sent=number + 1: sink.status()["sent"] == sent)
    sink.close(30.0)
    names = sorted(p.name for p in tmp_path.iterdir() if p.suffix != ".lock")
    assert names == ["events.jsonl", "events.jsonl.1", "events.jsonl.2"]
    assert all((tmp_path / name).stat().st_size <= 1000 for name in names)
    kept = people(path)
    assert kept == list(range(40))[-len(kept) :]
    assert len(kept) > 6


def test_a_single_file_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = JsonlSink(JsonlConfig(path=str(path), max_mb=0.001, files=1))
    for number in range(10):
        sink.send(event(number))
        until(lambda sent=number + 1: sink.status()["sent"] == sent)
    sink.close(30.0)
    assert people(path)[-1] == 9
    assert not list(tmp_path.glob("*.1"))


def test_an_unfinished_line_is_cut_off_and_the_rest_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    whole = json.dumps(event(1).to_dict()) + "\n"
    path.write_text(whole + '{"event_id": "half')
    sink = JsonlSink(JsonlConfig(path=str(path)))
    sink.send(event(2))
    sink.close(30.0)
    assert people(path) == [1, 2]


def test_a_file_without_any_end_of_line_is_cut_to_nothing(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"x" * 200_000)
    JsonlSink(JsonlConfig(path=str(path))).close(30.0)
    assert path.read_bytes() == b""


def test_a_file_that_somebody_moved_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = JsonlSink(JsonlConfig(path=str(path)))
    sink.send(event(1))
    until(lambda: sink.status()["sent"] == 1)
    path.replace(tmp_path / "taken.jsonl")
    sink.send(event(2))
    sink.close(30.0)
    assert people(path) == [2]


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = JsonlSink(JsonlConfig(path=str(path)))
    with pytest.raises(SinkError, match="written by another process"):
        JsonlSink(JsonlConfig(path=str(path)))
    sink.close(30.0)
    JsonlSink(JsonlConfig(path=str(path))).close(30.0)


@pytest.mark.parametrize("kind", ["folder", "link", "below a file"])
def test_names_that_cannot_be_written_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "events.jsonl"
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "other")
    else:
        path.write_text("")
        path = path / "events.jsonl"
    with pytest.raises(SinkError):
        JsonlSink(JsonlConfig(path=str(path)))


def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    acknowledged = killed(path, "JsonlConfig", "jsonl", "JsonlSink", "max_mb=1.0")
    sink = JsonlSink(JsonlConfig(path=str(path)))  # as after a restart: cuts what is unfinished
    sink.close(30.0)
    found = people(path)
    assert found == list(range(len(found)))
    assert len(found) >= acknowledged > 2000


def test_a_full_disk_loses_nothing_that_was_acknowledged(small_disk: Path) -> None:
    path = small_disk / "events.jsonl"
    sink = JsonlSink(JsonlConfig(path=str(path), queue=100_000))
    sink.longest_wait_s = 0.5
    sink.send(event(0))
    until(lambda: sink.status()["sent"] == 1)
    filler = fill(small_disk)
    for number in range(1, 2000):
        sink.send(event(number))
    until(lambda: sink.status()["error"])
    assert "No space left" in str(sink.status()["error"])
    during = int(str(sink.status()["sent"]))
    assert people(path)[:during] == list(range(during))
    assert path.read_bytes().endswith(b"\n")
    filler.unlink()
    until(lambda: sink.status()["sent"] == 2000)
    assert sink.status()["error"] is None
    assert sink.status()["dropped"] == 0
    sink.close(30.0)
    assert people(path) == list(range(2000))
