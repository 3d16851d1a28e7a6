"""Tables of the documentation are those of the JSON that a command wrote."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from runtime.errors import ConfigError
from runtime.report import write_report

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("docs_tables", ROOT / "tools" / "docs_tables.py")
assert SPEC is not None
assert SPEC.loader is not None
docs_tables = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(docs_tables)


def test_pages_and_their_json_are_the_same() -> None:
    assert list(docs_tables.differences(ROOT)) == []


def test_every_table_says_command_date_and_machine() -> None:
    for path in (ROOT / "docs" / "data").glob("*.json"):
        data = json.loads(path.read_text(encoding="utf-8"))
        assert data["command"]
        assert data["date"]
        assert data["host"]["processor"]
        width = len(data["table"][0])
        assert all(len(row) == width for row in data["table"]), path.name


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a repository with one page, one table in it, and its JSON as a benchmark writes it."""
    write_report(
        tmp_path / "docs" / "data", "speed", title="Speed", command="measure it", content={},
        table=[("model", "ms"), ("nano", "3.9")],
    )  # fmt: skip
    page = tmp_path / "docs" / "page.md"
    page.write_text("before\n<!-- table: speed -->\n<!-- /table -->\nafter\n")
    return tmp_path


def test_a_report_becomes_a_table(site: Path) -> None:
    page = site / "docs" / "page.md"
    assert [*docs_tables.differences(site)] == [
        "docs/page.md differs from docs/data; run tools/docs_tables.py"
    ]
    page.write_text(docs_tables.rewritten(page.read_text(), site / "docs" / "data"))
    assert "|model|ms|\n|---|---|\n|nano|3.9|\n\n*`measure it`, " in page.read_text()
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("<!-- /table -->\nafter\n")
    assert [*docs_tables.differences(site)] == []
    page.write_text(page.read_text().replace("3.9", "3.8"))
    assert len([*docs_tables.differences(site)]) == 1


def test_a_table_that_no_page_has_is_named(site: Path) -> None:
    (site / "docs" / "page.md").write_text("nothing\n")
    assert [*docs_tables.differences(site)] == ["docs/data/speed.json is in no page"]


@pytest.mark.parametrize("content", [None, "no json", "{}"])
def test_what_is_no_table_is_refused(site: Path, content: str | None) -> None:
    path = site / "docs" / "data" / "speed.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(ConfigError, match=r"speed\.json is not the JSON of a table"):
        list(docs_tables.differences(site))
