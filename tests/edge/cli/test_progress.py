"""A long job says what it does: a bar on a terminal, lines in a log, nothing where it is quiet."""

from __future__ import annotations

import io
import sys
import time

import pytest

from edge.cli._progress import StepLines, progress_bar
from edge.cli._train_progress import TrainLines


def test_a_log_has_a_line_for_each_step_and_for_what_lasts() -> None:
    log, now = io.StringIO(), [100.0]
    steps = StepLines(log, every_s=30.0, clock=lambda: now[0])
    steps("lowering x", 0, 1)
    for now[0] in (110.0, 131.0, 140.0, 162.0):
        steps.tick()
    steps("measuring x", 1, 500)
    steps("measuring x", 200, 500)
    now[0] = 195.0
    steps.tick()
    assert log.getvalue().splitlines() == [
        "     0 s  lowering x ...",
        "    31 s  lowering x: for 31 s",
        "    62 s  lowering x: for 62 s",
        "    62 s  measuring x: 500",
        "    95 s  measuring x: 200 of 500, for 33 s",
    ]


def test_a_log_of_training_has_losses_now_and_then_and_the_time_left() -> None:
    log, now = io.StringIO(), [0.0]
    lines = TrainLines(log, every_s=30.0, clock=lambda: now[0])
    row = {"loss": 4.0, "bbox": 0.25, "lr": 1e-3, "clips_per_s": 8.0}
    now[0] = 40.0
    lines.tick()
    lines.begin(100, 1000)
    now[0] = 70.0
    lines.tick()
    now[0] = 100.0
    for step in (101, 102):
        lines.moved(step)
        lines.stepped(step, row)
        now[0] += 12.0
    now[0] = 112.0
    lines.validating(102)
    lines.validated(102, {"frame_map": 0.5})
    now[0] = 142.0
    lines.tick()
    lines.stepped(1000, row)
    assert log.getvalue().splitlines() == [
        "     0 s  reading the data ...",
        "    40 s  reading the data: for 40 s",
        "    40 s  training from step 100 of 1000",
        "    70 s  step: 100 of 1000, for 30 s",
        "   100 s  step 101 of 1000: loss 4.000, bbox 0.250, 8.0 clips/s, 14 h 59 min left",
        "   112 s  validating at step 102 ...",
        "   112 s  step 102: frame-mAP@0.5 0.500",
        "   142 s  step: 102 of 1000, for 30 s",
        "   142 s  step 1000 of 1000: loss 4.000, bbox 0.250, 8.0 clips/s",
    ]


@pytest.mark.parametrize(
    ("quiet", "lines", "shown"),
    [
        pytest.param(True, True, False, id="quiet"),
        pytest.param(False, False, False, id="no lines wanted"),
        pytest.param(False, True, True, id="lines"),
    ],
)
def test_stderr_that_is_no_terminal(
    capsys: pytest.CaptureFixture[str], quiet: bool, lines: bool, shown: bool
) -> None:
    with progress_bar(quiet=quiet, lines=lines) as progress:
        assert (progress is not None) is shown
        if progress is not None:
            progress("verifying", 1, 16)
    printed = capsys.readouterr()
    assert ("verifying: 16" in printed.err) is shown
    assert printed.out == ""


def test_a_step_inside_foreign_code_goes_on_showing(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with progress_bar(quiet=False, lines=True, line_every_s=0.0, tick_s=0.01) as progress:
        assert progress is not None
        progress("lowering x", 0, 1)
        monkeypatch.setattr(sys, "stderr", io.StringIO())  # as tools of delegates do
        deadline = time.monotonic() + 10
        while "lowering x: for" not in log.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "lowering x: for" in log.getvalue()
