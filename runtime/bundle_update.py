"""Change a bundle on disk whole or not at all: a second folder is made, checked, and swapped in."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.archives import UNREADABLE
from runtime.bundle import Bundle, file_sha256
from runtime.bundle_spec import BUNDLE_FILE, OUTPUTS, Artifact, GoldenClip
from runtime.errors import ArtifactError, ConfigError

# Of renameat2(2): both names exist before and after, so no moment is without a bundle.
_EXCHANGE, _HERE = 2, -100


def add_artifact(
    bundle: Bundle,
    artifact: Artifact,
    program: Path,
    *,
    answers_of: Artifact,
    instead_of: Sequence[Artifact] = (),
) -> Bundle:
    """Add a program to a bundle folder, re-seal it, and return it loaded anew.

    Args:
        bundle: A folder, not a zip.
        artifact: The program's record.
        program: Its file, wherever it is.
        answers_of: The artifact whose recorded answers to the golden clip are the new one's too:
            both are the same network.
        instead_of: Artifacts that go.

    Raises:
        ConfigError: The bundle is a zip, or its folder cannot be written.
        ArtifactError: The program is not the one that its record describes, or the golden clip
            lacks the answers.
    """
    folder = bundle.path.resolve()
    if not folder.is_dir():
        raise ConfigError(f"{bundle.path} is a zip; unzip it, and name the folder")
    if file_sha256(program) != artifact.sha256:
        raise ArtifactError(f"{program} is not the program that its record describes")
    gone = {a.file: a for a in (*instead_of, artifact)}
    kept = tuple(a for a in bundle.spec.artifacts if a.file not in gone)
    stems = {a.stem for a in kept}
    golden = _golden(bundle, stems, artifact.stem, answers_of.stem)
    try:
        part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.part"))
    except OSError as error:
        raise ConfigError(
            f"{folder.parent} cannot be written ({error.strerror}), where the changed bundle is "
            "made before it takes the old one's place"
        ) from error
    try:
        _copy(folder, part, leave_out=set(gone) | {BUNDLE_FILE, bundle.spec.golden.file})
        shutil.copyfile(program, part / artifact.file)
        _sync(part / artifact.file)
        spec = replace(
            bundle.spec,
            artifacts=(*kept, artifact),
            golden=_write_golden(part / bundle.spec.golden.file, golden),
        )
        (part / BUNDLE_FILE).write_bytes(spec.to_json().encode())
        _sync(part / BUNDLE_FILE)
        shutil.copymode(folder, part)
        Bundle.load(part).verify()
        exchange(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)  # by now the old bundle, or what failed
    return Bundle.load(bundle.path)


def _golden(
    bundle: Bundle, stems: set[str], new: str, source: str
) -> dict[str, npt.NDArray[np.generic]]:
    """Return the golden clip with the answers of `stems`, and those of `source` for `new`."""
    try:
        with (
            bundle.golden_path().open("rb") as stream,
            np.load(stream, allow_pickle=False) as stored,
        ):
            golden = {k: v for k, v in stored.items() if "/" not in k or k.split("/")[0] in stems}
            return golden | {f"{new}/{n}": stored[f"{source}/{n}"] for n in OUTPUTS}
    except KeyError as error:
        raise ArtifactError(
            f"the golden clip lacks the answers of {source}; export the bundle again"
        ) from error
    except UNREADABLE as error:
        raise ArtifactError(
            "the golden clip holds no plain arrays; export the bundle again"
        ) from error


def exchange(new: Path, old: Path) -> None:
    """Let two folders change names, in one step where the file system can.

    Where it cannot, a process that is killed between two renames leaves the old bundle beside its
    place, as `.NAME.old`.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        if libc.renameat2(_HERE, os.fsencode(new), _HERE, os.fsencode(old), _EXCHANGE) == 0:
            return
        if ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(old))
    aside = old.with_name(f".{old.name}.old")
    old.rename(aside)
    try:
        new.rename(old)
    except OSError:
        aside.rename(old)
        raise
    aside.rename(new)


def _copy(folder: Path, part: Path, *, leave_out: set[str]) -> None:
    """Bring the other files along: as hard links, which cost nothing, where that is possible."""
    for path in sorted(folder.iterdir()):
        if path.name in leave_out:
            continue
        if path.is_dir():
            shutil.copytree(path, part / path.name, symlinks=True)
            continue
        try:
            os.link(path, part / path.name, follow_symlinks=False)
        except OSError:
            shutil.copy2(path, part / path.name, follow_symlinks=False)


def _write_golden(path: Path, arrays: Mapping[str, npt.NDArray[np.generic]]) -> GoldenClip:
    with path.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    _sync(path)
    return GoldenClip(file=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
