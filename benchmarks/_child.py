"""Code measured in a process of its own, so that nothing measured before it is in the way."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from runtime.errors import EdgeError


def run_child(code: str, *args: str) -> dict[str, Any]:
    """Run Python code in a new process and return the JSON object that it prints.

    Raises:
        subprocess.CalledProcessError: It failed; what it said is in `stderr`.
    """
    done = subprocess.run(
        [sys.executable, "-c", code, *args], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def run_edge(*argv: str) -> None:
    """Run `edge ...` in a new process, which speaks for itself.

    Raises:
        EdgeError: It failed.
    """
    done = subprocess.run([sys.executable, "-m", "edge", *argv, "--quiet"], check=False)
    if done.returncode != 0:
        raise EdgeError(f"edge {argv[0]} ended with exit code {done.returncode}; see above")
