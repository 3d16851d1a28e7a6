"""`edge` in a process of its own, so that nothing of this one is in the way."""

from __future__ import annotations

import subprocess
import sys

from runtime.errors import EdgeError


def run_edge(*argv: str) -> None:
    """Run `edge ...` in a new process; its output is shown.

    Raises:
        EdgeError: It failed.
    """
    done = subprocess.run([sys.executable, "-m", "edge", *argv, "--quiet"], check=False)
    if done.returncode != 0:
        raise EdgeError(f"edge {argv[0]} ended with exit code {done.returncode}; see above")
