"""An output takes no other file's place: not the input's, a device's, a link's, or each other's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from runtime.bundle import DEFAULT_BUNDLE
from runtime.cli.run import main
from runtime.errors import ConfigError, SinkError
from runtime.outputs import atomic_file, why_in_the_way, why_no_output, write_atomically
from runtime.parts import Part
from runtime.sinks import JsonLinesSink


def test_a_plain_name_is_welcome_whether_it_exists_or_not(tmp_path: Path) -> None:
    assert why_no_output(tmp_path / "new.jsonl") is None
    (tmp_path / "old.jsonl").write_text("old")
    assert why_no_output(tmp_path / "old.jsonl") is None


def test_a_device_a_pipe_a_link_and_a_folder_are_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for path, word in (
        (Path("/dev/full"), "device"),
        (tmp_path / "pipe", "pipe"),
        (tmp_path / "link", "link"),
        (tmp_path, "folder"),
        (Path("-"), "--json"),
        (tmp_path / ("x" * 400), "cannot be a file"),
    ):
        assert word in str(why_no_output(path))
        with pytest.raises(ConfigError, match=word):
            JsonLinesSink(path, overwrite=True)
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("name", ["clip.mp4", "clip.part.mp4", "clip.mp4.part", "hard.mp4"])
def test_neither_an_output_nor_its_part_is_the_input(name: str, tmp_path: Path) -> None:
    source = tmp_path / name
    source.write_bytes(b"mine")
    if name == "hard.mp4":
        os.link(source, tmp_path / "clip.mp4")
    assert "which is read" in str(why_in_the_way(tmp_path / "clip.mp4", [source]))
    assert why_in_the_way(tmp_path / "other.mp4", [source]) is None
    assert why_in_the_way(source, [tmp_path / "not-yet.jsonl"]) is None


@pytest.mark.parametrize("flag", ["--save", "--save-json"])
@pytest.mark.parametrize("source", ["in.mp4", "./in.mp4", "in.part.mp4", "link.mp4"])
def test_edge_run_never_replaces_its_source(
    flag: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("in.mp4", "in.part.mp4"):
        Path(name).write_bytes(b"mine")
    Path("link.mp4").symlink_to("in.mp4")
    with pytest.raises(ConfigError, match="which is read"):
        main(["--source", source, flag, "in.mp4", "--overwrite"])
    assert Path("in.mp4").read_bytes() == Path("in.part.mp4").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        pytest.param(["--save", "a", "--save-json", "./a"], "a file for each", id="one name"),
        pytest.param(["--save-events", "a", "--save-json", "a"], "a file for each", id="one file"),
        pytest.param(["--save-events", ""], "--save-events is empty", id="empty events"),
        pytest.param(["--save", ""], "--save is empty", id="empty video"),
        pytest.param(["--save-json", ""], "--save-json is empty", id="empty lines"),
        pytest.param(["--model", ""], "--model is empty", id="empty model"),
        pytest.param(["--fps", "1e300"], "--fps is 1e.300, expected at most 1000", id="fps"),
        pytest.param(["--max-age-ms", "inf"], "is inf, expected at most", id="age"),
        pytest.param(["--max-age-ms", "nan"], "is nan, expected", id="age not a number"),
        pytest.param(["--save-json", "/dev/full", "--overwrite"], "device", id="device"),
    ],
)
def test_flags_of_run_that_cannot_be_are_wrong_use(flags: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        main(["--source", "clip.mp4", *flags])


@pytest.mark.parametrize("content", ["grün\n", "grün\n".encode(), memoryview("grün\n".encode())])
def test_a_file_is_written_whole_with_its_folder(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "new" / "file.txt"
    for _ in range(2):  # the second time in the place of the first
        write_atomically(path, content)
        assert path.read_bytes() == "grün\n".encode()
    assert path.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in path.parent.iterdir()] == ["file.txt"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_atomically(path, "before")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["file.txt"]


def _fail_midway(path: Path) -> None:
    with atomic_file(path) as part:
        assert (part.parent, part.suffix) == (path.parent, ".png")
        part.write_bytes(b"half")
        raise ZeroDivisionError


def test_a_file_that_fails_midway_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        _fail_midway(tmp_path / "picture.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["bundle.json", "xnnpack-int8.pte"])
def test_no_output_takes_the_place_of_a_file_of_the_bundle(tmp_path: Path, name: str) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(DEFAULT_BUNDLE, bundle)
    before = (bundle / name).read_bytes()
    (tmp_path / "a.mp4").write_bytes(b"no video")
    argv = ["--model", str(bundle), "--source", str(tmp_path / "a.mp4"),
            "--save-json", str(bundle / name), "--overwrite"]  # fmt: skip
    with pytest.raises(ConfigError, match=rf"would replace .*{name}, which is read"):
        main(argv)
    assert (bundle / name).read_bytes() == before


def test_an_output_is_not_the_part_of_another(tmp_path: Path) -> None:
    argv = ["--source", "0", "--save-json", str(tmp_path / "x.jsonl.part"),
            "--save-events", str(tmp_path / "x.jsonl")]  # fmt: skip
    with pytest.raises(ConfigError, match="two of the outputs are"):
        main(argv)


def test_a_pipe_with_the_name_of_the_part_is_one_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jsonl.part")
    with pytest.raises(SinkError, match="the name of the unfinished file, is a folder, a pipe"):
        Part(tmp_path / "x.jsonl", tmp_path / "x.jsonl.part", overwrite=False)
