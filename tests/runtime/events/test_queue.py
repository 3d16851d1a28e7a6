"""The queue of a sink: bounded, tried again, counted, and never in the way of its caller."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence

import pytest

from runtime.errors import SinkError
from runtime.events import ActionEvent
from runtime.events.queue import GiveUp, QueueSink
from tests.runtime.events.made import event, until


class Scripted(QueueSink):
    """Does what the script says, one word for each attempt; `ok` behind its end."""

    name = "scripted"
    largest_batch = 2
    longest_wait_s = 0.05

    def __init__(self, *script: str, limit: int = 100) -> None:
        super().__init__(limit)
        self.script = list(script)
        self.delivered: list[ActionEvent] = []
        self.gate = threading.Event()
        self.attempts = 0
        self.released = False
        self._start()

    def _deliver(self, batch: Sequence[ActionEvent]) -> None:
        self.gate.wait()
        self.attempts += 1
        word = self.script.pop(0) if self.script else "ok"
        if word == "fail":
            raise SinkError("the disk is full")
        if word == "give up":
            raise GiveUp("refused")
        if word == "fault":
            raise RuntimeError("a fault")
        self.delivered += batch

    def _release(self) -> None:
        self.released = True


@pytest.fixture
def sinks() -> Iterator[list[Scripted]]:
    opened: list[Scripted] = []
    yield opened
    for sink in opened:
        sink.gate.set()
        sink.close(5.0)


def test_events_come_in_order_and_are_counted(sinks: list[Scripted]) -> None:
    sink = Scripted()
    sinks.append(sink)
    events = [event(n) for n in range(5)]
    for one in events:
        sink.send(one)
    assert sink.status()["queued"] == 5
    sink.gate.set()
    until(lambda: sink.status()["sent"] == 5)
    assert sink.delivered == events
    assert sink.status() == {"queued": 0, "sent": 5, "dropped": 0, "error": None}


def test_a_full_queue_drops_its_oldest(sinks: list[Scripted]) -> None:
    sink = Scripted(limit=3)
    sinks.append(sink)
    sink.send(event(0))
    until(lambda: sink._batch)  # it is on its way and no longer in the queue
    for number in range(1, 8):
        sink.send(event(number))
    assert sink.status()["dropped"] == 4
    sink.gate.set()
    until(lambda: sink.status()["sent"] == 4)
    assert [e.person for e in sink.delivered] == [0, 5, 6, 7]


def test_what_fails_is_tried_again_and_said_once(
    sinks: list[Scripted], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sink = Scripted("fail", "fault", "fail", "ok")
    sinks.append(sink)
    sink.send(event(1))
    sink.gate.set()
    until(lambda: sink.status()["sent"] == 1)
    assert sink.attempts == 4
    assert sink.status()["dropped"] == 0
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warnings == ["scripted: the disk is full"]
    assert "scripted: works again" in caplog.text


def test_what_is_given_up_is_dropped_and_the_next_is_delivered(sinks: list[Scripted]) -> None:
    sink = Scripted("give up")
    sinks.append(sink)
    sink.send(event(1))
    sink.send(event(2))
    sink.send(event(3))
    sink.gate.set()
    until(lambda: sink.status()["queued"] == 0)
    status = sink.status()
    assert status["dropped"] in (1, 2)
    assert int(str(status["sent"])) + int(str(status["dropped"])) == 3


def test_a_batch_that_nobody_can_handle_does_not_block_the_next(sinks: list[Scripted]) -> None:
    sink = Scripted("fail", "fault", "fault", "fault", limit=10)
    sinks.append(sink)
    sink.send(event(1))
    until(lambda: sink._batch)
    sink.send(event(2))
    sink.gate.set()
    until(lambda: sink.status()["sent"] == 1)
    assert sink.status()["dropped"] == 1
    assert sink.delivered == [event(2)]


def test_close_delivers_what_is_queued() -> None:
    sink = Scripted("fail", "fail")
    for number in range(9):
        sink.send(event(number))
    sink.gate.set()
    sink.close(30.0)
    assert len(sink.delivered) == 9
    assert sink.released
    sink.send(event(10))
    assert sink.status()["dropped"] == 1
    sink.close(1.0)  # once more does nothing


def test_close_counts_what_it_could_not_deliver() -> None:
    sink = Scripted(*["fail"] * 10_000)
    for number in range(9):
        sink.send(event(number))
    sink.gate.set()
    sink.close(0.2)
    status = sink.status()
    assert (status["sent"], status["dropped"], status["queued"]) == (0, 9, 0)
    assert sink.released
