"""The bundle on disk: the contract between export and device.

A folder (or its zip) with `bundle.json` (`bundle_spec.py`), one file per artifact and a golden
clip. The file is sealed with a digest of its own content, and every other file with its SHA-256,
so that one changed byte is found before it can change a detection.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from runtime._schema import unique_keys
from runtime.bundle_spec import (
    BUNDLE_FILE,
    DIGEST_KEY,
    Artifact,
    BundleSpec,
    content_digest,
)
from runtime.errors import ArtifactError, ArtifactMismatchError, ConfigError
from runtime.model_files import what_is
from runtime.outputs import atomic_file
from runtime.unpacked import Unpacked, unpack

DEFAULT_BUNDLE = Path(__file__).resolve().parent / "models" / "nano"


@dataclass(slots=True)
class Bundle:
    """A bundle on disk, checked. Use it as a context manager when it may be a zip."""

    path: Path
    folder: Path
    spec: BundleSpec
    _unpacked: Unpacked | None = field(default=None, repr=False)

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """Open a bundle folder or its zip, and check `bundle.json` against schema and seal.

        Raises:
            ArtifactError: Nothing is there, or it is no bundle, or it is damaged.
            ArtifactMismatchError: It was written for another version of this package.
        """
        path = Path(path)
        if path.is_dir():
            return cls(path=path, folder=path, spec=_read_spec(path, path))
        if not path.exists():
            raise ArtifactError(f"no bundle at {path}; make one with `edge export`")
        if (kind := what_is(path)) is not None:
            raise ArtifactError(f"{path} is {kind}")
        if not zipfile.is_zipfile(path):
            raise ArtifactError(
                f"{path} is neither a bundle folder nor the zip of one; a single program file "
                "needs the bundle that `edge export` wrote beside it"
            )
        unpacked = unpack(path, lambda folder: _read_spec(folder, path))
        spec = _read_spec(unpacked.folder, path)
        return cls(path=path, folder=unpacked.folder, spec=spec, _unpacked=unpacked)

    def file(self, name: str, sha256: str) -> Path:
        """Return the path of a file of the bundle after checking its SHA-256.

        Raises:
            ArtifactError: The file is missing.
            ArtifactMismatchError: Its content is not the one that the bundle describes.
        """
        path = self.folder / name
        if not path.is_file():
            raise ArtifactError(f"{self.path} lacks its file {name}; export the bundle again")
        found = file_sha256(path)
        if found != sha256:
            raise ArtifactMismatchError(
                f"{name} in {self.path} has SHA-256 {found[:12]}…, the bundle says "
                f"{sha256[:12]}…: the file is damaged or of another model; export or copy it again"
            )
        return path

    def artifact_path(self, artifact: Artifact) -> Path:
        """Return the checked path of an artifact's program."""
        return self.file(artifact.file, artifact.sha256)

    def golden_path(self) -> Path:
        """Return the checked path of the golden clip."""
        return self.file(self.spec.golden.file, self.spec.golden.sha256)

    def verify(self) -> None:
        """Check every file of the bundle; raises as `file` does."""
        for artifact in self.spec.artifacts:
            self.artifact_path(artifact)
        self.golden_path()

    def artifact(self, name: str) -> Artifact:
        """Return the artifact of that file name or stem.

        Raises:
            ConfigError: The bundle has none of that name.
        """
        for artifact in self.spec.artifacts:
            if name in (artifact.file, artifact.stem):
                return artifact
        choices = ", ".join(a.stem for a in self.spec.artifacts)
        raise ConfigError(f"artifact {name!r} is not in {self.path}; choose from: {choices}")

    def close(self) -> None:
        """Let go of what was unpacked from a zip."""
        if self._unpacked is not None:
            self._unpacked.close()
            self._unpacked = None

    def __enter__(self) -> Bundle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def pack_bundle(folder: Path, zip_path: Path) -> None:
    """Write a bundle folder as a zip, whole or not at all."""
    with (
        atomic_file(zip_path) as part,
        zipfile.ZipFile(part, "w", compression=zipfile.ZIP_DEFLATED) as archive,
    ):
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)


def _read_spec(folder: Path, shown: Path) -> BundleSpec:
    """Read `bundle.json`; `shown` is the path that the user knows (the zip of that folder)."""
    path = folder / BUNDLE_FILE
    if not path.is_file():
        raise ArtifactError(f"{shown} has no {BUNDLE_FILE}: it is not a bundle of `edge export`")
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique_keys)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{BUNDLE_FILE} in {shown} is not valid JSON ({type(error).__name__}); "
            "export the bundle again"
        ) from error
    if not isinstance(content, dict):
        raise ArtifactError(
            f"{BUNDLE_FILE} in {shown} holds a JSON {type(content).__name__}, expected an object"
        )
    seal = content.pop(DIGEST_KEY, None)
    spec = BundleSpec.parse(content)
    if seal != content_digest(content):
        raise ArtifactMismatchError(
            f"{BUNDLE_FILE} in {shown} was changed after export: its seal {DIGEST_KEY} does not "
            "fit its content; export the bundle again"
        )
    return spec
