"""An output has one owner; what was written stays, whatever ends the process."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from runtime import parts
from runtime.cli.run import main
from runtime.errors import SinkError
from runtime.parts import Part
from runtime.sinks import JsonLinesSink

ROOT = Path(__file__).parents[2]


def part_of(path: Path, *, overwrite: bool = False) -> Part:
    return Part(path, path.with_name(path.name + ".part"), overwrite=overwrite)


def test_a_second_writer_of_one_output_is_refused(tmp_path: Path) -> None:
    first = part_of(tmp_path / "out")
    with pytest.raises(SinkError, match="out is being written by another run"):
        part_of(tmp_path / "out", overwrite=True)
    first.file.write(b"mine")
    first.publish()
    assert (tmp_path / "out").read_bytes() == b"mine"
    part_of(tmp_path / "out", overwrite=True).discard()


def test_of_many_that_begin_at_once_one_writes(tmp_path: Path) -> None:
    taken: list[Part] = []
    refused: list[SinkError] = []
    barrier = threading.Barrier(8)

    def begin() -> None:
        barrier.wait()
        try:
            taken.append(part_of(tmp_path / "out"))
        except SinkError as error:
            refused.append(error)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(taken), len(refused)) == (1, 7)
    taken[0].close()


def test_what_an_earlier_run_left_is_kept_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2):
        left = part_of(tmp_path / "out")
        left.file.write(b"run %d" % number)
        left.close()
    part_of(tmp_path / "out").close()
    assert (tmp_path / "out-1.part").read_bytes() == b"run 1"
    assert (tmp_path / "out-2.part").read_bytes() == b"run 2"
    assert (tmp_path / "out.part").read_bytes() == b""
    assert "out.part was left by a run that was cut off; it is now" in caplog.text


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_a_file_that_appeared_meanwhile_is_left_as_it_is(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(parts.os, "link", no_links)
    mine = part_of(tmp_path / "out")
    mine.file.write(b"mine")
    (tmp_path / "out").write_bytes(b"theirs")
    with pytest.raises(SinkError, match=r"out appeared while .* is in .*out\.part"):
        mine.publish()
    assert (tmp_path / "out").read_bytes() == b"theirs"
    assert (tmp_path / "out.part").read_bytes() == b"mine"
    (tmp_path / "out").unlink()
    mine.publish()
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("out", b"mine")]


def test_edge_run_refuses_an_output_that_another_run_writes(tmp_path: Path) -> None:
    source = tmp_path / "clip.mp4"
    source.write_bytes(b"not read")
    held = JsonLinesSink(tmp_path / "out.jsonl")
    try:
        with pytest.raises(SinkError, match="is being written by another run"):
            main([str(source), "--save-json", str(tmp_path / "out.jsonl"), "--quiet"])
    finally:
        held.close(ok=False)


# --- kill -9 --------------------------------------------------------------------------------------


class Writers:
    """A process that forks writers (`killed_writer.py`), each of which is killed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run_and_kill(self, kind: str, folder: Path, after: int) -> list[int]:
        """Let a writer write, kill it once it said `after` things, and return all it said."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{kind} {folder}\n")
        stdin.flush()
        child, killed, said = 0, False, list[int]()
        while (line := stdout.readline()) != ".\n":
            assert line, "the process that forks writers ended"
            if line.startswith("pid"):
                child = int(line.split()[1])
            else:
                said.append(int(line))
            # The child may have said some of it before its parent says who it is.
            if child and not killed and len(said) >= after:
                os.kill(child, signal.SIGKILL)
                killed = True
        return said


@pytest.fixture
def writers() -> Iterator[Writers]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("killed_writer.py"))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    ) as process:  # fmt: skip
        yield Writers(process)
        assert process.stdin is not None
        process.stdin.close()


def whole_lines(path: Path) -> list[int]:
    text = path.read_text()
    assert not text or text.endswith("\n")
    return [json.loads(line)["frame"] for line in text.splitlines()]


def test_nothing_that_was_said_to_be_written_is_lost_in_a_hundred_kills(
    writers: Writers, tmp_path: Path
) -> None:
    rng = random.Random(0)
    said = [len(writers.run_and_kill("lines", tmp_path, rng.randrange(40))) for _ in range(100)]
    found = [whole_lines(path) for path in tmp_path.iterdir()]
    assert sum(said) > 1000, "the writers wrote"
    assert all(lines == list(range(len(lines))) for lines in found), "each part is of one run"
    # Between writing and saying a kill may come: a run has what it said, or one line more.
    wrote = sorted((len(lines) for lines in found if lines), reverse=True)
    claimed = sorted((count for count in said if count), reverse=True)
    assert len(wrote) >= len(claimed)
    for least, has in zip(claimed, wrote, strict=False):
        assert least <= has <= least + 1


def test_a_file_is_whole_or_not_there_in_a_hundred_kills(writers: Writers, tmp_path: Path) -> None:
    rng = random.Random(1)
    said = set[int]()
    for _ in range(100):
        said.update(writers.run_and_kill("files", tmp_path, rng.randrange(8)))
        for path in tmp_path.glob("*.jsonl"):
            assert whole_lines(path) == [0, 1, 2]
    assert len(said) > 100
    assert said <= {int(path.stem) for path in tmp_path.glob("*.jsonl")}


def test_a_video_can_be_played_after_a_kill(writers: Writers, tmp_path: Path) -> None:
    rng = random.Random(2)
    for number in range(20):
        said = writers.run_and_kill("video", tmp_path, rng.randrange(50, 150))
        part = tmp_path / "out.part.mp4"
        capture = cv2.VideoCapture(str(part))
        frames = 0
        while capture.grab():
            frames += 1
        capture.release()
        # Frames that the encoder still had, and those of a fragment of a second not yet full.
        assert len(said) - 40 <= frames <= len(said) + 1
        part.rename(tmp_path / f"kept-{number}.mp4")
