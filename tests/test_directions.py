"""The house keeps its directions: who may import whom, and that the device needs no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("runtime", "edge", "calibration", "quantize", "export")
# What each folder may import of the others (design: data flows one way). The command line drives
# everything, and imports it when a verb is called.
ALLOWED = {
    "runtime": {"runtime"},
    "edge": {"edge", "runtime"},
    "edge/cli": set(PACKAGES),
    "calibration": {"calibration", "edge", "runtime"},
    "quantize": {"quantize", "calibration", "edge", "runtime"},
    "export": set(PACKAGES),
}
HEAVY = {"torch", "torchao", "executorch", "scipy", "tqdm"}


def imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    """Yield the first name of every absolute import in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_imports_against_the_direction(package: str) -> None:
    files = sorted((REPOSITORY / package).rglob("*.py"))
    assert files
    for path in files:
        in_cli = path.is_relative_to(REPOSITORY / "edge" / "cli")
        allowed = ALLOWED["edge/cli" if in_cli else package]
        wrong = {name for name in imports(path) if name in PACKAGES} - allowed
        assert not wrong, f"{path.relative_to(REPOSITORY)} imports {sorted(wrong)}"


def test_runtime_never_names_torch() -> None:
    for path in sorted((REPOSITORY / "runtime").rglob("*.py")):
        found = set(imports(path)) & (HEAVY - {"tqdm"})
        assert not found, f"{path.relative_to(REPOSITORY)} imports {sorted(found)}"


@pytest.mark.parametrize("folder", ["edge/cli", "edge/data"])
def test_the_command_line_imports_nothing_heavy_before_a_verb_is_called(folder: str) -> None:
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        found = set(imports(path, top_level_only=True)) & HEAVY
        assert not found, f"{path.relative_to(REPOSITORY)} imports {sorted(found)} on import"


BLOCKED = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "executorch", "torchao", "scipy"}:
            raise ModuleNotFoundError(f"{name} is blocked by this test")

sys.meta_path.insert(0, Block())
import importlib, pkgutil
import runtime
assert "torch" not in sys.modules
names = [m.name for m in pkgutil.walk_packages(runtime.__path__, "runtime.")]
assert len(names) > 10, names
for name in names:
    if name != "runtime.__main__":
        importlib.import_module(name)
import edge, edge.cli
print(len(names))
"""


def test_every_module_of_the_runtime_imports_with_torch_blocked() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10
