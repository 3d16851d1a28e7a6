"""Code, stubs and NVIDIA's own packages name the same things: TensorRT cannot be imported here.

The packages are only read, not installed. `make test` downloads them into `build/cuda_wheels`;
`EDGE_CUDA_WHEELS` names another folder.
"""

from __future__ import annotations

import ast
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
WHEELS = Path(os.environ.get("EDGE_CUDA_WHEELS", REPOSITORY / "build" / "cuda_wheels"))
STUBS = {
    "trt": REPOSITORY / "typings" / "tensorrt" / "__init__.pyi",
    "cudart": REPOSITORY / "typings" / "cuda" / "bindings" / "runtime.pyi",
}
CODE = (
    "runtime/tensorrt/engine.py",
    "runtime/tensorrt/cuda.py",
    "runtime/tensorrt/child.py",
)
# Names of the language, of the typing of stubs, and one that NVIDIA gives to no object.
OURS = {"__init__", "__iter__", "__next__", "__int__", "__buffer__", "DimsIterator", "__version__"}


def used(root: str) -> dict[str, str]:
    """Return each dotted name that our code takes from a module, and where."""
    found: dict[str, str] = {}
    for name in CODE:
        for node in ast.walk(ast.parse((REPOSITORY / name).read_text(encoding="utf-8"))):
            chain: list[str] = []
            value: ast.expr | ast.AST = node
            while isinstance(value, ast.Attribute):
                chain.insert(0, value.attr)
                value = value.value
            if chain and isinstance(value, ast.Name) and value.id == root:
                found[".".join(chain)] = name
    return found


def declared(path: Path) -> set[str]:
    """Return the dotted names of everything in a stub."""

    def walk(body: list[ast.stmt], prefix: str) -> Iterator[str]:
        for node in body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from walk(node.body, f"{prefix}{node.name}.")
            if isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                yield from (prefix + t.id for t in targets if isinstance(t, ast.Name))

    return set(walk(ast.parse(path.read_text(encoding="utf-8")).body, ""))


@pytest.mark.parametrize("root", STUBS)
def test_the_stubs_hold_what_the_code_uses(root: str) -> None:
    taken, known = used(root), declared(STUBS[root])
    assert len(taken) > 8
    # `__init__` and `.name` come with every class and every enumeration.
    missing = {n: where for n, where in taken.items() if n.removesuffix(".__init__") not in known}
    assert not missing


@pytest.mark.parametrize("root", STUBS)
def test_the_stubs_hold_nothing_that_no_code_uses(root: str) -> None:
    text = "\n".join((REPOSITORY / name).read_text(encoding="utf-8") for name in CODE)
    leaves = {name.split(".")[-1] for name in declared(STUBS[root])} - OURS
    # Types are named by mypy alone, and an enumeration needs a second member to be one.
    types = {"IHostMemory", "Dims", "ICudaEngine", "IExecutionContext", "INetworkDefinition",
             "ITimingCache", "ParserError", "VERBOSE", "INFO", "OUTPUT", "cudaErrorNoDevice",
             "cudaDeviceProp", "cudaGraph_t"}  # fmt: skip
    assert {leaf for leaf in leaves - types if not re.search(rf"\b{leaf}\b", text)} == set()


def wheels(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in WHEELS.glob(pattern))


TENSORRT_WHEELS = wheels("tensorrt_cu1*_bindings-*.whl")
CUDA_WHEELS = [
    path
    for path in wheels("cuda_python-12*.whl", "cuda_bindings-*.whl")
    if not path.name.endswith("-none-any.whl")  # from 12.7 on cuda-python only names cuda-bindings
]
absent = f"no wheels at {WHEELS} (make test downloads them; or set EDGE_CUDA_WHEELS)"


def strings(wheel: Path, pattern: str) -> bytes:
    """Return the content of the shared objects of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if re.search(pattern, n)]
        assert names, f"{wheel.name} has no {pattern}"
        return b"\0".join(archive.read(name) for name in names)


@pytest.mark.parametrize(
    "wheel",
    TENSORRT_WHEELS or [pytest.param(Path(), marks=pytest.mark.skip(reason=absent))],
    ids=lambda path: path.name or "none",
)
def test_tensorrt_has_every_name_of_the_stub(wheel: Path) -> None:
    content = strings(wheel, r"tensorrt\.so$")
    leaves = {name.split(".")[-1] for name in declared(STUBS["trt"])} - OURS
    # C strings, as pybind11 is given them; one may be stored as the end of a longer one.
    missing = {leaf for leaf in leaves if b"%s\0" % leaf.encode() not in content}
    assert not missing


@pytest.mark.parametrize(
    "wheel",
    CUDA_WHEELS or [pytest.param(Path(), marks=pytest.mark.skip(reason=absent))],
    ids=lambda path: path.name or "none",
)
def test_cuda_python_has_every_name_of_the_stub(wheel: Path) -> None:
    content = strings(wheel, r"(bindings/runtime|cuda/cudart)\.cpython.*\.so$")
    leaves = {name.split(".")[-1] for name in declared(STUBS["cudart"])} - OURS
    missing = {leaf for leaf in leaves if leaf.encode() not in content}
    assert not missing


@pytest.mark.parametrize(
    "wheel",
    wheels("torch_tensorrt-2.13*.whl")
    or [pytest.param(Path(), marks=pytest.mark.skip(reason=absent))],
    ids=lambda path: path.name or "none",
)
def test_torch_tensorrt_has_the_functions_that_are_called(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        compiler = archive.read("torch_tensorrt/dynamo/_compiler.py").decode()
        quantize = archive.read("torch_tensorrt/dynamo/conversion/impl/quantize.py").decode()
        registry = archive.read("torch_tensorrt/dynamo/conversion/_ConverterRegistry.py").decode()
    arguments = function_arguments(compiler, "convert_exported_program_to_serialized_trt_engine")
    assert {"exported_program", "arg_inputs", "workspace_size", "timing_cache_path"} <= arguments
    assert function_arguments(quantize, "quantize") >= {"ctx", "target", "source_ir", "name"}
    assert "key" in function_arguments(registry, "dynamo_tensorrt_converter")


def function_arguments(text: str, name: str) -> set[str]:
    """Return the names of a function's arguments, without importing it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return {a.arg for a in (*node.args.args, *node.args.kwonlyargs)}
    return set()


def test_cuda_that_does_not_start_is_one_sentence() -> None:
    """The bindings raise TypeError where their factory returns nothing."""
    from runtime.errors import ArtifactError
    from runtime.tensorrt import engine

    def nothing(log: object) -> object:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "tensorrt_log", lambda: object())
        with pytest.raises(ArtifactError, match=r"TensorRT does not start .*edge doctor"):
            engine.started(nothing)
