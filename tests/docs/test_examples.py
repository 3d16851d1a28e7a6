"""Every example of the documentation is run, or says what it needs that a test does not have.

Limits are put behind the flags of a page so that it takes seconds. Programs for XNNPACK, whose
lowering takes minutes, are made as ONNX here; tests/export makes them as they are.
"""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest
import yaml

pytest.importorskip("torch")
pytest.importorskip("executorch")
pytest.importorskip("runtime._native", reason="the native module is not built here")

from edge.cli import main
from tests.docs.examples import PAGES, ROOT, Command, blocks, commands, provide

# What keeps a run of an example short: flags put behind those of the page, and shorter data sets.
LIMITS: dict[str, tuple[str, ...]] = {
    "run": ("--max-keyframes", "4"),
    "train": ("--batch", "2", "--steps", "1", "--val-clips", "1", "--workers", "0",
              "--no-tensorboard", "--device", "cpu"),
    "features": ("--clips", "2"),
    "calibrate": ("--calib-clips", "2"),
    "quantize": ("--calib-clips", "2"),
    "export": ("--calib-clips", "2", "--val-clips", "2"),
    "val": ("--worst", "1", "--no-plots"),
    "explain": ("--max-keyframes", "1"),
    "benchmark": ("--runs", "2", "--warmup", "1", "--cold-starts", "1"),
    "demo": ("--seconds", "2"),
}  # fmt: skip
SHORT = ((r"(synthetic-train)(:\d+)?(?=$|[:+*])", r"\1:2"), (r"(synthetic-val)(:\d+)?$", r"\1:2"))
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
KEYS = {"frame", "t", "keyframe", "keyframe_t", "latency_ms", "detections"}


def shortened(words: tuple[str, ...]) -> list[str]:
    """Return an `edge` command with tiny limits."""
    verb, *rest = words[1:]
    for pattern, short in SHORT:
        rest = [re.sub(pattern, short, word) for word in rest]
    if verb == "export":
        rest = list(dict.fromkeys("onnx-int8" if word == "xnnpack-int8" else word for word in rest))
    if verb == "train":
        lengths = ("--epochs", "--steps", "--val-every")
        rest = [
            w
            for before, w in zip(["", *rest[:-1]], rest, strict=True)
            if not {before, w} & {*lengths}
        ]
    limits = list(LIMITS.get(verb, ()))
    if verb == "export" and "--val-data" not in rest:
        limits = limits[:2]
    if verb == "calibrate" and "--threshold" in rest:
        limits = []
    return [verb, *rest, *limits]


@pytest.mark.parametrize("name", NAMES)
def test_examples_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {}
    for language, text in blocks(ROOT / name):
        if language == "python" and not text.startswith("# needs "):
            provide(tmp_path, tuple(re.findall(r'"([^"\s]+)"', text)))
            exec(compile(text, name, "exec"), space)
        if language != "console":
            continue
        for command in commands(text):
            if command.machine or command.needs or command.words[0] != "edge":
                continue
            provide(tmp_path, command.words)
            code = main(shortened(command.words))
            out, err = capfd.readouterr()
            assert code == 0, f"{' '.join(command.words)}\n{out[-1000:]}\n{err[-3000:]}"


def everything() -> list[Command]:
    return [
        command
        for page in PAGES
        for language, text in blocks(page)
        if language == "console"
        for command in commands(text)
    ]


def help_of(module: str, verb: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(module).main([*([verb] if verb else []), "--help"])
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_flags_and_extras_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """Also those of commands that no test can run."""
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    known: dict[tuple[str, str], str] = {}
    checked = 0
    for command in everything():
        first, *rest = command.words
        text = " ".join(command.words)
        if text.startswith("pip install"):
            extras = re.findall(r"\[([\w,]+)\]", text)
            asked = {extra for group in extras for extra in group.split(",")}
            assert asked <= {*project["optional-dependencies"]}, text
        elif first == "make":
            assert rest[0] in targets, text
        module, verb = ("edge.cli", rest[0]) if first == "edge" else ("", "")
        if (first, rest[:1]) == ("python", ["-m"]) or (first, rest[:1]) == ("python3", ["-m"]):
            module, verb = rest[1], ""
            if module in ("runtime", "edge"):
                module, verb = "edge.cli", rest[2] if rest[2:] and rest[2][0] != "-" else "run"
        if verb == "data":
            continue  # its flags belong to its second word; the examples are run
        if not module.startswith(("edge", "benchmarks")):
            continue
        if (module, verb) not in known:
            known[module, verb] = help_of(module, verb, capsys)
        flags = {word.split("=")[0] for word in rest if re.match(r"--[a-z]", word)}
        wrong = {f for f in flags if not re.search(rf"{f}\b(?!-)", known[module, verb])}
        assert not wrong, f"{text}: {sorted(wrong)} are no flags of {module} {verb}"
        checked += 1
    assert checked > 20


@pytest.mark.parametrize("name", NAMES)
def test_blocks_of_data_can_be_read(name: str) -> None:
    for language, text in blocks(ROOT / name):
        if language == "json":
            found = json.loads(text)
            assert not {"detections"} & {*found} or {*found} == KEYS, text
        if language == "yaml":
            assert yaml.safe_load(text)


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, *sorted((ROOT / "docs" / "adr").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            if not target.startswith(("http", "mailto:")):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_files_and_modules_that_pages_name_exist() -> None:
    folders = "runtime|edge|export|quantize|calibration|benchmarks|tools|tests"
    for page in [*PAGES, *sorted((ROOT / "docs" / "adr").glob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        for path in re.findall(rf"`((?:{folders})/[\w/.-]+)`", text):
            assert "NAME" in path or (ROOT / path).exists(), f"{page.name} names {path}"
        for name in re.findall(rf"`((?:{folders})(?:\.\w+)+)`", text):
            parts = name.split(".")
            found = [ROOT.joinpath(*parts[:n]) for n in (len(parts), len(parts) - 1)]
            assert any(p.is_dir() or p.with_suffix(".py").is_file() for p in found), (
                f"{page.name} names {name}"
            )


def test_quoted_messages_are_those_of_the_code() -> None:
    sources = [*ROOT.glob("runtime/**/*.py"), *ROOT.glob("edge/**/*.py")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    quoted = re.findall(r'"([^"]+)"', (ROOT / "docs" / "troubleshooting.md").read_text("utf-8"))
    assert len(quoted) > 4
    assert [words for words in quoted if words not in code] == []


def test_the_documentation_stays_short() -> None:
    pages = [*PAGES, *(ROOT / "docs" / "adr").glob("*.md")]
    words = sum(len(page.read_text(encoding="utf-8").split()) for page in pages)
    assert words <= 18_000
