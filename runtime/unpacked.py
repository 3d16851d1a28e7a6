"""A zip's files on disk: unpacked once into this user's cache, and used from there again.

The cache is keyed by the SHA-256 of the zip. What a killed process left half unpacked is removed by
the next; of zips that nobody uses the newest few stay. Where there is no cache (no home, a disk
that is read-only or full) a temporary folder takes its place, for the time of one process.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from io import BufferedRandom
from pathlib import Path

from runtime.archives import UNREADABLE
from runtime.bundle_spec import PLAIN_NAME
from runtime.errors import ArtifactError

logger = logging.getLogger(__name__)

# A bundle holds compact models; a zip that claims more than this is hostile or a mistake.
MAX_UNPACKED_BYTES = 4 << 30
KEPT = 8
"""Zips whose files stay in the cache."""
_TRIES = 3

Accept = Callable[[Path], object]


class Unpacked:
    """The files of a zip in a folder, until `close`.

    Attributes:
        folder: Where they are.
    """

    def __init__(
        self,
        folder: Path,
        *,
        lock: BufferedRandom | None = None,
        temporary: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        """Hold a folder.

        Args:
            folder: Where the files are.
            lock: Says to other processes that the folder is in use.
            temporary: What is removed by `close`.
        """
        self.folder, self._lock, self._temporary = folder, lock, temporary

    def close(self) -> None:
        """Let go of the folder; a temporary one is removed."""
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def cache_folder() -> Path:
    """Return where zips are unpacked."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "bmvit-edge" / "bundles"


def unpack(path: Path, accept: Accept) -> Unpacked:
    """Return the files of a zip on disk.

    Args:
        path: The zip: plain files at its root, or in one folder.
        accept: Called with the folder before it is used; what it raises refuses the zip.

    Raises:
        ArtifactError: The zip is damaged, or holds something else.
    """
    try:
        return _cached(path, accept)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home is known
        logger.debug("%s is unpacked into a temporary folder: %s", path, error)
    temporary = tempfile.TemporaryDirectory(prefix="bmvit-bundle-")
    try:
        folder = Path(temporary.name)
        _extract(path, folder)
        accept(folder)
    except OSError as error:
        temporary.cleanup()
        raise ArtifactError(
            f"{path} cannot be unpacked ({error.strerror or error}); copy it again, or make room"
        ) from error
    except BaseException:
        temporary.cleanup()
        raise
    return Unpacked(folder, temporary=temporary)


def _cached(path: Path, accept: Accept) -> Unpacked:
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    if cache.stat().st_uid != os.getuid():
        raise PermissionError(f"{cache} is another user's")
    digest = _sha256(path)
    folder, name = cache / digest, cache / f"{digest}.lock"
    for _ in range(_TRIES):
        # Waits for one who unpacks.
        lock = _locked(name, fcntl.LOCK_SH)
        assert lock is not None
        try:
            if _is_whole(folder, path):
                accept(folder)
                os.utime(folder)
                _prune(cache, keep=folder)
                return Unpacked(folder, lock=lock)
        except BaseException:
            lock.close()
            raise
        lock.close()
        alone = _locked(name, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if alone is not None:
            with alone:
                _fill(folder, path, accept)
    raise BlockingIOError(f"{folder} was changed, and is in use")


def _fill(folder: Path, path: Path, accept: Accept) -> None:
    part = folder.with_name(f"{folder.name}.part")
    for old in (part, folder):  # of a process that was killed; not as it should be
        shutil.rmtree(old, ignore_errors=True)
    part.mkdir()
    try:
        _extract(path, part)
        accept(part)
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _locked(path: Path, how: int) -> BufferedRandom | None:
    """Return a lock file that is open and locked; None where it is not to be had at once."""
    while True:
        file = path.open("a+b")
        try:
            fcntl.flock(file, how)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except BlockingIOError:
            file.close()
            return None
        except BaseException:
            file.close()
            raise
        file.close()  # it was removed between our opening and our locking


def _prune(cache: Path, *, keep: Path) -> None:
    """Remove all but the newest folders, where nobody uses them."""
    folders = [found for found in cache.iterdir() if found.is_dir() and found != keep]
    folders.sort(key=lambda found: found.stat().st_mtime, reverse=True)
    for old in folders[KEPT - 1 :]:
        path = cache / f"{old.name.removesuffix('.part')}.lock"
        lock = _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if lock is not None:
            with lock:
                shutil.rmtree(old, ignore_errors=True)
                path.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _is_whole(folder: Path, path: Path) -> bool:
    """Tell whether a folder holds each file of a zip with the zip's own checksum."""
    if not folder.is_dir():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    file = folder / member.filename.rsplit("/", 1)[-1]
                    if zlib.crc32(file.read_bytes()) != member.CRC:
                        return False
    except UNREADABLE:
        return False
    return True


def _extract(path: Path, target: Path) -> None:
    """Unpack a zip of plain files (at its root, or in one folder)."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            if len({m.filename.split("/")[-1] for m in members}) != len(members):
                raise ArtifactError(f"{path} holds a file twice, expected the files of one bundle")
            total = sum(m.file_size for m in members)
            if total > MAX_UNPACKED_BYTES:
                raise ArtifactError(
                    f"{path} unpacks to {total} bytes, more than the {MAX_UNPACKED_BYTES} allowed"
                )
            for member in members:
                parts = member.filename.split("/")
                if len(parts) > 2 or not all(PLAIN_NAME.fullmatch(part) for part in parts):
                    raise ArtifactError(
                        f"{path} holds {member.filename!r}, expected plain files of one bundle"
                    )
                with archive.open(member) as source, (target / parts[-1]).open("wb") as sink:
                    shutil.copyfileobj(source, sink)
                    sink.flush()
                    os.fsync(sink.fileno())
    except OSError:
        raise  # of the disk
    except UNREADABLE as error:
        raise ArtifactError(f"{path} cannot be unpacked ({error}); copy it again") from error
