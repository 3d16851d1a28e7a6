"""Facts of the machine, and atomic writing of a measurement as JSON and Markdown."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shlex
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from runtime.instructions import instructions
from runtime.options import defaults_of, flag_of, to_flat
from runtime.outputs import write_atomically

PACKAGES = (
    "bmvit-edge", "numpy", "opencv-python", "torch", "executorch", "torchao",
    "onnx", "onnxruntime", "openvino", "nncf",
)  # fmt: skip


def host_facts() -> dict[str, Any]:
    """Return what a figure needs beside it: processor, cores, system, versions."""
    facts: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            facts[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return facts


def today() -> str:
    """Return the date in UTC, as reports write it."""
    return datetime.now(tz=timezone.utc).date().isoformat()


def write_report(
    folder: Path, name: str, *, title: str, command: str, content: dict[str, Any],
    table: Sequence[Sequence[str]], notes: Sequence[str] = (),
) -> str:  # fmt: skip
    """Write `<name>.json` and `<name>.md` below `folder`; return the Markdown text.

    Args:
        folder: Where both files go; made when absent.
        name: File name without suffix.
        title: Heading of the Markdown.
        command: The command that made the figures.
        content: What goes into the JSON, beside command, date, machine and table.
        table: Rows of the Markdown table, the header first.
        notes: Lines below the table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts = host_facts()
    data = {
        "command": command,
        "date": today(),
        "host": facts,
        "table": [list(row) for row in table],
        **content,
    }
    lines = [f"# {title}", "", *markdown_table(table), "", *notes]
    lines += [f"Command: `{command}`", "", "Machine: " + _facts_line(facts)]
    text = "\n".join(lines) + "\n"
    write_atomically(folder / f"{name}.json", json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    write_atomically(folder / f"{name}.md", text)
    return text


def command_of(program: str, options: Any) -> str:
    """Return a command line with every flag that differs from its default.

    Of an absolute path the name alone: what any machine calls its folders says nothing.

    Args:
        program: What is called, such as `edge benchmark`.
        options: Its flags.
    """
    words, defaults = [program], defaults_of(type(options))
    for name, value in to_flat(options).items():
        if value == defaults[name] or name == "verbose":
            continue
        flag = flag_of(name)
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
            continue
        each = value if isinstance(value, tuple) else (value,)
        words += [flag, *(shlex.quote(_unplaced(str(one))) for one in each)]
    return " ".join(words)


def _unplaced(text: str) -> str:
    return Path(text).name if text.startswith("/") else text


def markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table with aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    padded = [[c.ljust(w) for c, w in zip(row, widths, strict=True)] for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in padded]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return lines


def _facts_line(facts: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in facts.items())


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown"
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    name = found.group(1) if found else platform.machine()
    # Virtual machines often hide the model; what int8 costs is decided by these.
    known = ", ".join(sorted(instructions() or ()))
    return f"{name} ({known})" if known else name
