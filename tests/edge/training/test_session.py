"""A session ends at its limits."""

from __future__ import annotations

import torch

from edge.training.session import Session

torch.set_num_threads(1)


def test_a_session_ends_at_its_limits() -> None:
    session = Session(limit_steps=2, max_minutes=None)
    wants = []
    for _ in range(2):
        session.stepped()
        wants.append(session.wants)
    assert wants == [None, "step limit"]
    assert Session(limit_steps=None, max_minutes=1e-9).wants == "time limit"


def test_a_state_is_due_so_long_after_the_last() -> None:
    now = [0.0]
    session = Session(limit_steps=None, max_minutes=None, save_minutes=10.0, clock=lambda: now[0])
    due = []
    for now[0] in (599.0, 600.0, 700.0):
        due.append(session.save_due)
    session.saved()
    for now[0] in (1299.0, 1300.0):
        due.append(session.save_due)
    assert due == [False, True, True, False, True]
