"""Code measured in a process of its own, so that nothing measured before it is in the way."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


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
