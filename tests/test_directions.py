"""Imports run one way between folders, no files form a circle, and the device needs no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping, Set
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("runtime", "edge", "calibration", "quantize", "export")
SOURCES = (*PACKAGES, "benchmarks", "tools")
# What each top-level folder may import of the others.
ALLOWED = {
    "runtime": {"runtime"},
    "edge": {"edge", "runtime"},
    "calibration": {"calibration", "edge", "runtime"},
    "quantize": {"quantize", "calibration", "edge", "runtime"},
    "export": set(PACKAGES),
}
# The table of verbs names a module of each package; comparisons need the source tree.
TABLES: Mapping[str, Set[str]] = {
    "edge.cli": set(PACKAGES),
    "edge.cli.benchmark": {"edge", "runtime", "benchmarks"},
    # Training for int8 is a wrapper that the package above gives, by name.
    "edge.cli.train": {"edge", "runtime", "quantize"},
}
# Within `edge`: a folder imports those in front of it. The drawn world is data.
EDGE_ORDER = (
    {"data", "world"}, {"model"}, {"labelling"}, {"evaluation"}, {"training"}, {"explain"}, {"cli"},
)  # fmt: skip
HEAVY = {"torch", "torchao", "executorch", "scipy", "tqdm"}


@cache
def modules() -> dict[str, Path]:
    """Return every module of the source tree by its dotted name."""
    paths = [path for folder in SOURCES for path in (REPOSITORY / folder).rglob("*.py")]
    names = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in paths]
    return {
        name.removesuffix(".__init__"): path for name, path in zip(names, paths, strict=True)
    }  # fmt: skip


@cache
def imports(name: str) -> frozenset[str]:
    """Return the modules of the source tree that a module imports, also by a string."""
    return frozenset(_found(ast.parse(modules()[name].read_text(encoding="utf-8"))))


def _found(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules())
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                whole = inner if inner in modules() else node.module
                if whole in modules() and not stub_of(inner).is_file():
                    yield whole
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # importlib.import_module("a.b"), and tables of such names; not a word such as "edge".
            yield from {node.value} & modules().keys() if "." in node.value else ()


def stub_of(name: str) -> Path:
    """Return where the types of a native module would lie."""
    return REPOSITORY.joinpath(*name.split(".")).with_suffix(".pyi")


def imported_names(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Return the first name of every absolute import in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_imports_against_the_direction(package: str) -> None:
    names = [name for name in modules() if name.split(".")[0] == package]
    assert names
    for name in names:
        found = {other.split(".")[0] for other in imports(name)}
        wrong = found - TABLES.get(name, ALLOWED[package])
        assert not wrong, f"{name} imports {sorted(wrong)}"


def test_folders_of_edge_import_one_way() -> None:
    level = {folder: at for at, folders in enumerate(EDGE_ORDER) for folder in folders}
    for name in modules():
        folder = name.split(".")[1:2]
        if name.split(".")[0] != "edge" or folder not in [[one] for one in level]:
            continue
        for other in imports(name):
            top, *rest = other.split(".")
            if top == "edge" and rest and rest[0] in level:
                assert level[rest[0]] <= level[folder[0]], f"{name} imports {other}"


def circles() -> list[list[str]]:
    """Return the groups of modules that import each other, by Tarjan's algorithm."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for other in imports(name):
            if other not in order:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], order[other])
        if lowest[name] == order[name]:
            at = stack.index(name)
            found.append(stack[at:])
            del stack[at:]

    for name in modules():
        if name not in order:
            visit(name)
    return [sorted(group) for group in found if len(group) > 1]


def test_no_files_of_the_packages_import_each_other_in_a_circle() -> None:
    assert circles() == []


def test_runtime_never_names_torch() -> None:
    for path in sorted((REPOSITORY / "runtime").rglob("*.py")):
        found = imported_names(path) & (HEAVY - {"tqdm"})
        assert not found, f"{path.relative_to(REPOSITORY)} imports {sorted(found)}"


@pytest.mark.parametrize("folder", ["edge/cli", "edge/data", "edge/world"])
def test_the_command_line_imports_nothing_heavy_before_a_verb_is_called(folder: str) -> None:
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        found = imported_names(path, top_level_only=True) & HEAVY
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
