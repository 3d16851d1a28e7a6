"""Instructions that are held back change the rounding only: the self-test still passes."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.bundle import DEFAULT_BUNDLE

pytest.importorskip("executorch", reason="ExecuTorch's wheel is not installed here")
pytest.importorskip("runtime._native", reason="the native module is not built here")

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="instruction sets of x86-64")
@pytest.mark.parametrize("level", ["all", "avx2"])
def test_a_program_runs_without_what_is_held_back(level: str) -> None:
    words = [level, str(DEFAULT_BUNDLE), "xnnpack-int8", "1", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks._held_back", *words], cwd=REPOSITORY, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    if "another layout, or there is no AVX2" in done.stderr:
        pytest.skip("this processor has no AVX2")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["ms"]) == 2
    assert found["self_test"] <= 1.0
    assert (found["held_back"] == []) == (level == "all" or not found["held_back"])
