"""Write a bundle whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from export.base import ExportedArtifact
from runtime.bundle import Bundle
from runtime.bundle_spec import (
    BUNDLE_FILE,
    OUTPUTS,
    SCHEMA_VERSION,
    Artifact,
    BundleSpec,
    GoldenClip,
)
from runtime.errors import ConfigError, ExportError
from runtime.outputs import write_atomically

if TYPE_CHECKING:
    from edge.model.bmvit import BMViT
    from edge.model.checkpoint import Checkpoint

GOLDEN_FILE = "golden.npz"


def check_destination(out: Path, *, overwrite: bool) -> None:
    """Check that a bundle may be written to `out`, before any work is done for it.

    Only a bundle is ever replaced: a folder of other things is nobody's to delete.

    Raises:
        ConfigError: Something is there and may not be replaced.
    """
    if not out.exists():
        return
    if not overwrite:
        raise ConfigError(f"{out} exists; choose another name or pass --overwrite")
    if not (out.is_dir() and ((out / BUNDLE_FILE).is_file() or not any(out.iterdir()))):
        raise ConfigError(f"{out} exists and is no bundle; it will not be replaced")


def write_bundle(
    out: Path,
    *,
    checkpoint: Checkpoint,
    name: str,
    artifacts: Sequence[ExportedArtifact],
    golden_rgb: npt.NDArray[np.uint8],
    not_made: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Write `bundle.json`, programs and golden clip to a temporary folder, then rename it.

    Args:
        out: Folder to make.
        checkpoint: What was exported; says names, clip and preprocess.
        name: The bundle's name.
        artifacts: At least one.
        golden_rgb: The golden clip (T, H, W, 3) uint8 RGB, resized.
        not_made: Targets that were asked for and could not be made, with the reason.
        overwrite: Replace an older bundle.

    Returns:
        The bundle as loaded back and checked.

    Raises:
        ConfigError: `out` may not be replaced.
        ExportError: It cannot be written.
    """
    check_destination(out, overwrite=overwrite)
    folder: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.part"))
        _fill(folder, checkpoint, name, artifacts, golden_rgb, dict(not_made or {}))
        folder.chmod(0o755)  # mkdtemp's folders are for their owner alone
        _replace(folder, out)
    except OSError as error:
        raise ExportError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
    bundle = Bundle.load(out)
    bundle.verify()
    return bundle


def _replace(folder: Path, out: Path) -> None:
    """Put a finished folder in the place of `out`; the older bundle goes last."""
    if not out.exists():
        folder.rename(out)
        return
    older = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.old"))
    out.rename(older / out.name)
    try:
        folder.rename(out)
    except OSError:
        (older / out.name).rename(out)
        raise
    finally:
        shutil.rmtree(older, ignore_errors=True)


def _fill(
    folder: Path,
    checkpoint: Checkpoint,
    name: str,
    artifacts: Sequence[ExportedArtifact],
    golden_rgb: npt.NDArray[np.uint8],
    not_made: dict[str, str],
) -> None:
    for artifact in artifacts:
        write_atomically(folder / artifact.entry.file, artifact.program)
    arrays: dict[str, npt.NDArray[np.generic]] = {"frames_rgb": golden_rgb}
    for artifact in artifacts:
        for output, value in zip(OUTPUTS, artifact.golden, strict=True):
            arrays[f"{artifact.entry.stem}/{output}"] = value[0]
    with (folder / GOLDEN_FILE).open("wb") as stream:
        # Not compressed: edge_runner tests itself with it, and has no inflate.
        np.savez(stream, **arrays)  # type: ignore[arg-type]
    digest = hashlib.sha256((folder / GOLDEN_FILE).read_bytes()).hexdigest()
    spec = replace(
        _spec(checkpoint, name, [one.entry for one in artifacts], digest),
        not_made=not_made,
    )
    write_atomically(folder / BUNDLE_FILE, spec.to_json().encode())


def program_facts(checkpoint: Checkpoint, name: str, artifact: Artifact) -> dict[str, object]:
    """Return what a program says of its model: constant methods of a `.pte`.

    `bundle_json` is `bundle.json` without seal and golden clip, and with this artifact alone, as
    far as it is known before the file is written; the rest are the facts that a runner of
    somebody else's would ask for.
    """
    spec = _spec(checkpoint, name, [artifact], "").to_dict()
    for gone in ("golden", "not_made", "artifacts"):
        del spec[gone]
    kept = ("file", "target", "precision", "conf", "action_thresholds")
    spec["artifact"] = {key: value for key, value in asdict(artifact).items() if key in kept}
    return {
        "bundle_json": json.dumps(spec, ensure_ascii=False),
        "num_frames": spec["clip"]["num_frames"],
        "sampling_rate": spec["clip"]["sampling_rate"],
        "fps": spec["clip"]["fps"],
        "height": spec["input"]["height"],
        "width": spec["input"]["width"],
        "num_tokens": spec["num_tokens"],
        "num_classes": len(spec["class_names"]),
        "conf": artifact.conf,
    }


def _spec(
    checkpoint: Checkpoint, name: str, artifacts: Sequence[Artifact], golden_sha256: str
) -> BundleSpec:
    config = checkpoint.config
    model: BMViT = checkpoint.model
    return BundleSpec(
        schema_version=SCHEMA_VERSION,
        name=name,
        variant=config.variant,
        trained=checkpoint.trained,
        note=checkpoint.note,
        class_names=tuple(checkpoint.class_names),
        clip=config.clip,
        token_selection=config.token_selection,
        num_tokens=model.num_tokens,
        artifacts=tuple(artifacts),
        golden=GoldenClip(file=GOLDEN_FILE, sha256=golden_sha256),
    )
