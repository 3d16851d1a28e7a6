"""Put measured tables into the pages of the documentation, or check that they are there.

    python tools/docs_tables.py            # rewrite the tables of README.md and docs/
    python tools/docs_tables.py --check    # exit code 1 if a page and its JSON differ

A page names a table between two markers, `<!-- table: NAME -->` and `<!-- /table -->`. Its content
is `docs/data/NAME.json`, as `runtime.report.write_report` writes it: `command`, `host`, `date` and
`table`, a list of rows with the header first. `transcribed: true` says that a person copied the
figures from an older report.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from runtime.errors import ConfigError  # noqa: E402
from runtime.options import guarded  # noqa: E402

MARKED = re.compile(r"(<!-- table: ([\w-]+) -->\n)(.*?)(<!-- /table -->)", re.DOTALL)


def pages(root: Path) -> list[Path]:
    """Return the pages that may hold tables."""
    found = [root / "README.md", root / "weights" / "README.md", *(root / "docs").rglob("*.md")]
    return [path for path in found if path.is_file()]


def render(name: str, folder: Path) -> str:
    """Return a table with the command, date and machine that made it, as Markdown.

    Raises:
        ConfigError: There is no such file, or it lacks a field.
    """
    path = folder / f"{name}.json"
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        rows, command, date, host = (data[k] for k in ("table", "command", "date", "host"))
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path} is not the JSON of a table: {error!r}") from error
    lines = ["|".join(["", *row, ""]) for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    source = f"*`{command}`, {host['processor']}, {host['cores']} cores, {date}.*"
    return "\n".join([*lines, "", source, ""])


def rewritten(text: str, folder: Path) -> str:
    """Return a page with its tables as their JSON says them."""
    return MARKED.sub(lambda m: m[1] + render(m[2], folder) + m[4], text)


def differences(root: Path) -> Iterator[str]:
    """Yield a sentence for each page that differs from its JSON, and each unused table."""
    folder, used = root / "docs" / "data", set()
    for page in pages(root):
        text = page.read_text(encoding="utf-8")
        used |= {match[2] for match in MARKED.finditer(text)}
        if text != rewritten(text, folder):
            yield f"{page.relative_to(root)} differs from docs/data; run tools/docs_tables.py"
    for name in sorted({path.stem for path in folder.glob("*.json")} - used):
        yield f"docs/data/{name}.json is in no page"


def main(argv: Sequence[str]) -> int:
    """Rewrite the pages, or with `--check` say what differs."""
    if list(argv) not in ([], ["--check"]):
        raise ConfigError(f"got {' '.join(argv)}; expected nothing or --check")
    if argv:
        found = list(differences(ROOT))
        print(*found, sep="\n" if found else "", end="\n" if found else "")
        return bool(found)
    for page in pages(ROOT):
        text = page.read_text(encoding="utf-8")
        new = rewritten(text, ROOT / "docs" / "data")
        if new != text:
            page.write_text(new, encoding="utf-8")
            print(f"rewrote {page.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
