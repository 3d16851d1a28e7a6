from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.quiet import Busy, Busyness


def _stat(root: Path, user: int, idle: int, steal: int) -> Path:
    (root / "proc").mkdir(exist_ok=True)
    rows = [
        f"cpu{number} {user} 0 0 {idle} 0 0 0 {steal} 0 0" for number in os.sched_getaffinity(0)
    ]
    (root / "proc/stat").write_text("\n".join(["cpu 9 9 9 9 9 9 9 9 9 9", *rows]))
    return root


@pytest.mark.parametrize(
    ("user", "idle", "steal", "quiet", "said"),
    [
        pytest.param(2, 98, 0, True, "others used", id="quiet"),
        pytest.param(0, 900, 100, False, "NOT QUIET", id="taken by a hypervisor"),
    ],
)
def test_what_others_did(
    tmp_path: Path, user: int, idle: int, steal: int, quiet: bool, said: str
) -> None:
    busy = Busy(_stat(tmp_path, 0, 0, 0))
    _stat(tmp_path, user * 1000, idle * 1000, steal * 1000)
    found = busy.since()
    assert found.quiet is quiet
    assert said in str(found)


def test_a_busy_machine_is_not_quiet(tmp_path: Path) -> None:
    busy = Busy(_stat(tmp_path, 0, 0, 0))
    _stat(tmp_path, 50_000, 50_000, 0)
    found = busy.since()
    assert found.others == pytest.approx(0.5, abs=0.05)
    assert str(found).startswith("NOT QUIET: others used 5")


@pytest.mark.parametrize("text", ["", "cpu0 1 2\n", "intr 1 2 3\n"])
def test_what_cannot_be_read_is_not_called_quiet(tmp_path: Path, text: str) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text(text)
    found = Busy(tmp_path).since()
    assert found.others is None
    assert not found.quiet
    assert "not known" in str(found)


def test_our_own_work_is_not_the_others() -> None:
    assert Busyness(others=0.05, stolen=0.0, processors=2).quiet
