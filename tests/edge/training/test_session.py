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
