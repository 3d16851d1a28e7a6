"""What a finished export says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from export.base import Delegation
from export.verify import Verified
from runtime.artifact_table import action_table, artifact_table
from runtime.bundle_spec import Artifact, BundleSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactReport:
    """One artifact of a finished export.

    Attributes:
        artifact: Its entry in the bundle.
        path: The file.
        delegation: What the delegate took, where the engine has one.
        parity: Its errors against torch.
        seconds: How long quantizing, lowering and verifying took.
    """

    artifact: Artifact
    path: Path
    delegation: Delegation | None
    parity: Verified
    seconds: float

    def lines(self) -> list[str]:
        """Return what the table of the bundle does not say of the artifact."""
        most = ", ".join(
            f"{name.removeprefix('pred_')} {value:.2g}"
            for name, value in self.parity.max_abs.items()
        )
        matched = self.artifact.parity["matched"]
        text = (
            f"{self.artifact.stem}: {matched['boxes']} of {matched['expected']} detections matched "
            f"at θ {self.artifact.conf:.4g}, {matched['found']} found; largest error {most}"
            f"{self._f1()}{self._by()}; {self.seconds:.0f} s"
        )
        outside = self.delegation.fallbacks if self.delegation is not None else ()
        return [text, *([f"  outside the delegate: {', '.join(outside)}"] if outside else [])]

    def _f1(self) -> str:
        threshold = self.artifact.threshold
        return "" if threshold is None else f"; F1 {threshold.f1:.3f}"

    def _by(self) -> str:
        return "; by torch, not by its engine" if self.artifact.parity["ran"] is False else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """A finished export.

    Attributes:
        out: The bundle's folder.
        artifacts: One entry per artifact.
        spec: The bundle's `bundle.json`.
        notes: What the user should know: untrained, drawn clips, few clips.
        failed: Targets that could be tried here, and failed; the bundle says why.
    """

    out: Path
    artifacts: tuple[ArtifactReport, ...]
    spec: BundleSpec
    notes: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the report: the bundle's table, more of each artifact, notes, next commands."""
        rows = [*artifact_table(self.spec), "", *action_table(self.spec), ""]
        rows += [line for report in self.artifacts for line in report.lines()]
        rows += [f"note: {note}" for note in self.notes]
        then = f"edge run --model {self.out} --source 0"
        return [*rows, "next:", f"  edge info {self.out}", f"  {then}"]
