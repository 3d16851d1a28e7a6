"""Add rows to a table that was measured before, perhaps on another machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks._method_options import TableOptions
from benchmarks._method_report import table_of
from benchmarks._method_rows import rows_of
from runtime.errors import ConfigError
from runtime.outputs import write_atomically
from runtime.report import host_facts, markdown_table, today

Results = Mapping[str, list[dict[str, Any]]]


def add_rows(options: TableOptions, results: Results, costs: Mapping[str, Any]) -> str:
    """Write the report `--base` with the rows named by `--rows` in it; return its table.

    The first of them is not added: its times stand beside those of the others, which say what they
    were measured on.

    Args:
        options: The flags.
        results: Runs of the named rows, as far as there are any.
        costs: Of the named rows.

    Raises:
        ConfigError: The report is no table of methods.
    """
    assert options.base is not None
    try:
        base: dict[str, Any] = json.loads(Path(options.base).read_text("utf-8"))
        runs, known = dict(base["rows"]), dict(base["costs"])
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{options.base} is no report of a table: {error!r}") from error
    host, (first, *others) = host_facts(), options.rows
    for name in others:
        if name in results:
            runs[name] = results[name]
        beside = {key: costs[first][key] for key in ("rounds_ms", "live_ms")
                  if key in costs.get(first, {})}  # fmt: skip
        known[name] = {**costs[name], "host": host, "date": today(), "beside": beside}
    words = {row.name: row.words for row in rows_of(options.table)
             if row.name in runs or row.name in known}  # fmt: skip
    table = table_of(options.table, words, runs, known)
    content = {**base, "table": table, "rows": runs, "costs": known}
    file = options.folder / f"methods-{options.table}.json"
    write_atomically(file, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return "\n".join(markdown_table(table)) + "\n"
