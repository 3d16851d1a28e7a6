"""Fit θ again for each artifact of a finished bundle, on labelled clips, without another export."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from calibration.threshold import FittedThreshold, fit_threshold
from edge.data.dataset import ClipDataset
from runtime.artifact_table import action_table
from runtime.bundle import Bundle, pack_bundle
from runtime.bundle_spec import BUNDLE_FILE, Artifact, BundleSpec
from runtime.engine import load_engine
from runtime.errors import ArtifactError, BackendUnavailableError
from runtime.outputs import write_atomically
from runtime.types import ClipSpec, Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitReport:
    """What was fitted.

    Attributes:
        path: The bundle.
        fitted: Each artifact that ran here, as it was, and its new threshold.
        skipped: Why each other one keeps its own.
        spec: What the bundle says now.
    """

    path: Path
    fitted: tuple[tuple[Artifact, FittedThreshold], ...]
    skipped: tuple[str, ...]
    spec: BundleSpec

    def lines(self) -> list[str]:
        """Return a row for each artifact, and what the user should know."""
        rows = [
            f"{artifact.stem}: θ {artifact.conf:.4g} -> {found.conf:.4g}  "
            f"F1 {found.record.f1:.3f}  precision {found.record.precision:.3f}  "
            f"recall {found.record.recall:.3f}  on {found.record.clips} clips"
            for artifact, found in self.fitted
        ]
        rows += [f"note: {sentence}; its θ is what it was" for sentence in self.skipped]
        rows += action_table(self.spec)
        if not self.spec.trained:
            rows.append("note: the weights are untrained: detections and θ mean nothing")
        return rows


def refit_thresholds(
    path: str | Path,
    open_dataset: Callable[[ClipSpec], ClipDataset],
    *,
    artifact: str | None = None,
    num_threads: int = 0,
    progress: Progress | None = None,
) -> RefitReport:
    """Fit θ of a bundle's artifacts by their own engines, and write it into the bundle.

    Actions of which the clips show enough get a threshold anew, others keep theirs. The bundle
    changes at the end and at once; until then, and after any error, it is as it was.

    Args:
        path: Bundle folder or zip.
        open_dataset: Gives the validation clips for the bundle's clip shape.
        artifact: Only this one; all by default.
        num_threads: Threads of the engine; 0 leaves it to the engine.
        progress: Told after each clip.

    Raises:
        ArtifactError: The bundle or an artifact is broken, or the bundle cannot be written.
        BackendUnavailableError: None of the artifacts runs here.
        CalibrationError: The clips or the model's answers give no threshold.
        ConfigError: The bundle has no such artifact, or the data set cannot be opened.
    """
    path = Path(path)
    with Bundle.load(path) as bundle:
        spec = bundle.spec
        chosen = spec.artifacts if artifact is None else (bundle.artifact(artifact),)
        dataset = open_dataset(spec.clip)
        fitted: dict[str, FittedThreshold] = {}
        skipped = []
        for entry in chosen:
            try:
                engine = load_engine(bundle, artifact=entry.file, num_threads=num_threads)
            except BackendUnavailableError as error:
                skipped.append(str(error))
                continue
            fitted[entry.file] = fit_threshold(
                engine, dataset, spec.clip, class_names=spec.class_names, progress=progress
            )
        if not fitted:
            raise BackendUnavailableError("; ".join(skipped))
        changed = replace(spec, artifacts=tuple(_with(a, fitted) for a in spec.artifacts))
        _write(bundle, changed)
    return RefitReport(
        path=path,
        fitted=tuple((a, fitted[a.file]) for a in chosen if a.file in fitted),
        skipped=tuple(skipped),
        spec=changed,
    )


def _with(artifact: Artifact, fitted: dict[str, FittedThreshold]) -> Artifact:
    found = fitted.get(artifact.file)
    if found is None:
        return artifact
    # An artifact that was not run at export has a θ of torch's until now.
    parity = {name: value for name, value in artifact.parity.items() if name != "conf_by"}
    actions = {**artifact.action_thresholds, **found.actions}
    return replace(
        artifact, conf=found.conf, threshold=found.record, action_thresholds=actions, parity=parity
    )


def _write(bundle: Bundle, spec: BundleSpec) -> None:
    """Replace `bundle.json` of the folder, or the zip with a new one."""
    target = bundle.folder / BUNDLE_FILE
    try:
        write_atomically(target, spec.to_json())
        if bundle.path != bundle.folder:
            pack_bundle(bundle.folder, bundle.path)
    except OSError as error:
        raise ArtifactError(f"cannot write {bundle.path}: {error.strerror or error}") from error
