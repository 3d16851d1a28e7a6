"""A zip is unpacked once; what a killed process left goes, and nothing leaks."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from runtime import unpacked
from runtime.errors import ArtifactError
from runtime.unpacked import KEPT, cache_folder, unpack

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "bmvit-edge" / "bundles"


def anything(_: Path) -> None:
    """Accept what was unpacked."""


def make_zip(path: Path, content: bytes = b"content") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bundle/a.bin", content)
        archive.writestr("bundle/b.bin", content[::-1])
    return path


def folders(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


def test_a_zip_is_unpacked_once(tmp_path: Path, cache: Path) -> None:
    path = make_zip(tmp_path / "b.zip")
    first = unpack(path, anything)
    assert (first.folder / "a.bin").read_bytes() == b"content"
    inode = (first.folder / "a.bin").stat().st_ino
    second = unpack(path, anything)
    assert second.folder == first.folder
    assert (second.folder / "a.bin").stat().st_ino == inode
    first.close()
    second.close()
    assert folders(cache) == [first.folder.name]
    assert cache == cache_folder()


def test_a_file_that_was_changed_in_the_cache_is_unpacked_again(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "b.zip")
    first = unpack(path, anything)
    first.close()
    (first.folder / "b.bin").write_bytes(b"changed")
    again = unpack(path, anything)
    assert (again.folder / "b.bin").read_bytes() == b"tnetnoc"
    again.close()


def test_a_changed_file_of_a_zip_in_use_is_not_touched(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "b.zip")
    first = unpack(path, anything)
    (first.folder / "b.bin").write_bytes(b"changed")
    other = unpack(path, anything)
    assert (other.folder / "b.bin").read_bytes() == b"tnetnoc"
    assert (first.folder / "b.bin").read_bytes() == b"changed"
    other.close()
    assert not other.folder.exists()
    first.close()


def test_what_is_refused_is_not_kept(tmp_path: Path, cache: Path) -> None:
    def refuse(_: Path) -> None:
        raise ArtifactError("no bundle")

    with pytest.raises(ArtifactError, match="no bundle"):
        unpack(make_zip(tmp_path / "b.zip"), refuse)
    assert folders(cache) == []


def test_of_zips_that_nobody_uses_the_newest_stay(tmp_path: Path, cache: Path) -> None:
    used = unpack(make_zip(tmp_path / "used.zip", b"used"), anything)
    names = []
    for number in range(KEPT + 3):
        one = unpack(make_zip(tmp_path / "b.zip", b"%d" % number), anything)
        names.append(one.folder.name)
        os.utime(one.folder, (number + 1e9, number + 1e9))
        one.close()
    os.utime(used.folder, (0, 0))
    last = unpack(make_zip(tmp_path / "b.zip", b"last"), anything)
    last.close()
    left = set(folders(cache))
    assert used.folder.name in left, "a zip in use stays"
    assert len(left) == KEPT + 1
    assert names[-1] in left
    assert names[0] not in left
    locks = {path.name.removesuffix(".lock") for path in cache.glob("*.lock")}
    assert locks == left
    used.close()


def test_without_a_cache_a_temporary_folder_goes_with_the_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_zip(tmp_path / "b.zip")
    monkeypatch.setattr(unpacked, "cache_folder", lambda: Path("/proc/no/such/folder"))
    one = unpack(path, anything)
    assert (one.folder / "a.bin").read_bytes() == b"content"
    one.close()
    assert not one.folder.exists()


def test_a_hundred_kills_leave_one_folder(tmp_path: Path, cache: Path) -> None:
    path = make_zip(tmp_path / "b.zip", os.urandom(200_000))
    rng = random.Random(0)
    script = (
        "import os, signal, sys, pathlib\n"
        "from runtime.unpacked import unpack\n"
        "for line in sys.stdin:\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        os.write(1, b'began %d\\n' % os.getpid())\n"
        "        for path in pathlib.Path(os.environ['XDG_CACHE_HOME']).rglob('a.bin'):\n"
        "            path.unlink()\n"
        f"        unpack(pathlib.Path({str(path)!r}), lambda folder: None)\n"
        "        signal.pause()\n"
        "    os.waitpid(child, 0)\n"
        "    os.write(1, b'ended\\n')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(100):
            process.stdin.write("go\n")
            process.stdin.flush()
            child = int(process.stdout.readline().split()[1])
            time.sleep(rng.uniform(0, 0.01))
            os.kill(child, signal.SIGKILL)
            assert process.stdout.readline() == "ended\n"
        process.stdin.close()
    one = unpack(path, anything)
    assert (one.folder / "a.bin").stat().st_size == 200_000
    one.close()
    assert folders(cache) == [one.folder.name]
    assert len(list(cache.iterdir())) == 2, "the folder and its lock"
