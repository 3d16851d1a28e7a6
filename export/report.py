"""What a finished export says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from export.base import Delegation
from export.verify import Verified
from runtime.bundle import Artifact


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

    def line(self) -> str:
        """Return the artifact's row."""
        error, most = self.parity.mean_abs, self.parity.max_abs
        errors = ", ".join(
            f"{name.removeprefix('pred_')} {error[name]:.2g} ({most[name]:.2g})" for name in error
        )
        matched = self.artifact.parity["matched"]
        return (
            f"{self.path}  {self.artifact.size_bytes / 1e6:.2f} MB  {self._delegated()}"
            f"mean error (and largest) {errors} on {self.parity.clips} clips  "
            f"θ {self.artifact.conf:.4g}, {matched['boxes']} of {matched['expected']} "
            f"detections matched, {matched['found']} found  "
            f"{self._measured()}{self.seconds:.0f} s"
        )

    def _delegated(self) -> str:
        taken = self.delegation
        if taken is None:
            return ""
        outside = f", outside: {', '.join(taken.fallbacks)}" if taken.fallbacks else ""
        return (
            f"delegated {taken.share:.1%} in {taken.calls} call"
            f"{'s' if taken.calls != 1 else ''}{outside}  "
        )

    def _measured(self) -> str:
        threshold, accuracy = self.artifact.threshold, self.artifact.accuracy
        if threshold is None or accuracy is None or accuracy["frame_map_50"] is None:
            return ""
        return f"F1 {threshold.f1:.3f}  frame-mAP@0.5 {accuracy['frame_map_50']:.4f}  "


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """A finished export.

    Attributes:
        out: The bundle's folder.
        artifacts: One entry per artifact.
        notes: What the user should know: untrained, drawn clips, few clips.
    """

    out: Path
    artifacts: tuple[ArtifactReport, ...]
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the report: a row per artifact, the notes, the next commands."""
        rows = [report.line() for report in self.artifacts]
        rows += [f"note: {note}" for note in self.notes]
        then = f"edge run --model {self.out} --source 0"
        return [*rows, "next:", f"  edge info {self.out}", f"  {then}"]
