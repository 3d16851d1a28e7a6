"""The command that made a report, without what any machine calls its folders."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

_LEFT_OUT = ("out", "verbose")


def command_of(module: str, options: Any) -> str:
    """Return `python -m MODULE` with the flags of a dataclass that differ from their defaults."""
    words = [f"python -m {module}"]
    for spec in dataclasses.fields(options):
        value = getattr(options, spec.name)
        if value == spec.default or spec.name in _LEFT_OUT:
            continue
        flag = f"--{spec.name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        elif isinstance(value, tuple):
            words += [flag, *map(str, value)]
        else:
            words += [flag, Path(value).name if spec.name == "calib_data" else str(value)]
    return " ".join(words)
