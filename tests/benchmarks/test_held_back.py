"""Instructions that are held back change the rounding only: the self-test still passes."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks._held_back import LEVELS

pytest.importorskip("executorch", reason="ExecuTorch's wheel is not installed here")
pytest.importorskip("runtime._native", reason="the native module is not built here")

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from benchmarks._held_back import hold_back
taken = hold_back(sys.argv[1])
from runtime.bundle import Bundle, DEFAULT_BUNDLE
from runtime.engine import load_engine
with Bundle.load(DEFAULT_BUNDLE) as bundle:
    engine = load_engine(bundle, artifact="xnnpack-int8", num_threads=1)
print(len(taken), engine.self_test_share)
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="instruction sets of x86-64")
@pytest.mark.parametrize("level", LEVELS)
def test_a_program_runs_without_what_is_held_back(level: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, level], cwd=REPOSITORY, check=False, capture_output=True,
        text=True,
    )  # fmt: skip
    if "this processor has no" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    taken, share = done.stdout.split()
    assert float(share) <= 1.0
    assert taken == "0" or level != "all"
