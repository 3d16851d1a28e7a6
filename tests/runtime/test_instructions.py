"""Which instructions a processor has, and where int8 sums overflow."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime import instructions as module
from runtime.instructions import instructions, int8_sums_overflow

CASES = {
    "Haswell": ("x86_64", "flags\t\t: fpu sse4_2 fma avx avx2 erms\n", True),
    "Cascade Lake": ("x86_64", "flags\t\t: avx2 avx512f avx512_vnni\n", False),
    "Alder Lake": ("x86_64", "flags\t\t: avx2 avx_vnni\n", False),
    "Cortex-A53": ("aarch64", "Features\t: fp asimd evtstrm crc32\n", False),
    "Cortex-A78": ("aarch64", "Features\t: fp asimd asimddp\n", False),
}


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    """Forget what was found out about this machine, and about each case."""
    int8_sums_overflow.cache_clear()
    yield
    int8_sums_overflow.cache_clear()


@pytest.mark.parametrize("name", CASES)
def test_int8_sums_overflow_on_x86_without_vnni(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, text, overflows = CASES[name]
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\n{text}")
    found = instructions(path)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(module, "instructions", lambda: found)
    assert int8_sums_overflow() is overflows


def test_a_system_that_tells_nothing_is_not_slowed_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert instructions(tmp_path / "cpuinfo") is None
    monkeypatch.setattr(module, "instructions", lambda: None)
    assert not int8_sums_overflow()
