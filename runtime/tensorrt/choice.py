"""Which of several TensorRT engines of one network a bundle keeps, and what it records of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.bundle import file_sha256
from runtime.bundle_spec import OUTPUTS, Artifact
from runtime.errors import ArtifactError

PRECISIONS = ("fp16", "int8")
# How much frame-mAP a faster program may cost, as for every int8 program of the project.
MAP_MARGIN = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An engine that was built and, where it can be run, measured.

    Attributes:
        source: The ONNX artifact that it was built from.
        engine: The file.
        made_with: What goes into its record: versions, GPU, how.
        median_ms: Median of the runs; None where it was not run.
        errors: Largest difference of each output from the recorded answer to the golden clip;
            None where it was not compared.
    """

    source: Artifact
    engine: Path
    made_with: dict[str, str]
    median_ms: float | None
    errors: dict[str, float] | None

    @property
    def name(self) -> str:
        """What the artifact will be called, `tensorrt-int8`."""
        return f"tensorrt-{self.source.precision}"

    @property
    def share(self) -> float | None:
        """Its error as a share of the self-test's tolerance; above 1 fails, as does no number."""
        if self.errors is None:
            return None
        shares = [self.errors[n] / self.source.self_test_tolerance[n] for n in OUTPUTS]
        return max(shares) if all(s == s for s in shares) else float("inf")

    @property
    def frame_map(self) -> float | None:
        """The frame-mAP that its ONNX program had at export, where labelled clips were given."""
        found = (self.source.accuracy or {}).get("frame_map_50")
        return float(found) if isinstance(found, (int, float)) else None

    def line(self) -> str:
        """Return what is printed of it."""
        time = "not timed" if self.median_ms is None else f"{self.median_ms:.2f} ms (median)"
        tested = "not self-tested"
        if self.share is not None:
            tested = f"self-test at {self.share:.0%} of its tolerance"
        accuracy = ""
        if self.frame_map is not None:
            accuracy = f", frame-mAP {self.frame_map:.4f} (of {self.source.stem}, at export)"
        return f"{self.name}: {time}, {tested}{accuracy}"


def choose(candidates: Sequence[Candidate]) -> tuple[Candidate, str]:
    """Return the fastest candidate that keeps its accuracy, and why it is that one.

    Accuracy is kept where the self-test passes and, where all have a frame-mAP, it is within
    `MAP_MARGIN` of the best. A candidate that could not be run is trusted only in float16.

    Raises:
        ArtifactError: None keeps it.
    """
    passed = [c for c in candidates if c.share is None or c.share <= 1.0]
    if not passed:
        raise ArtifactError(
            "no engine answers the golden clip as its ONNX program did: "
            + "; ".join(c.line() for c in candidates)
            + "; nothing was written"
        )
    maps = [c.frame_map for c in passed if c.frame_map is not None]
    kept = passed
    if len(maps) == len(passed):
        kept = [
            c for c in passed if c.frame_map is not None and c.frame_map >= max(maps) - MAP_MARGIN
        ]
    if any(c.share is None or c.median_ms is None for c in kept):
        best = min(kept, key=lambda c: PRECISIONS.index(c.source.precision))
        return best, "it could not be run here, and int8 is not taken unseen where fp16 is there"
    best = min(kept, key=lambda c: (c.median_ms, PRECISIONS.index(c.source.precision)))
    others = [c for c in candidates if c is not best]
    if not others:
        return best, "the only one that was built"
    reasons = []
    for other in others:
        if other not in passed:
            reasons.append(f"{other.name} fails its self-test")
        elif other not in kept:
            reasons.append(f"{other.name} loses more than {MAP_MARGIN:g} of frame-mAP")
        else:
            reasons.append(f"{other.name} is not faster ({other.median_ms:.2f} ms)")
    return best, "; ".join(reasons)


def record(candidate: Candidate, others: Sequence[Candidate], reason: str) -> Artifact:
    """Return the artifact's entry in `bundle.json`.

    θ and its curve are those of the ONNX program: the same network in the same types. Its mAP is
    not: only what an engine itself was measured at stands under `accuracy`.
    """
    source = candidate.source
    compared: dict[str, Any] = {"clips": 0, "ran": False, "not_run": "it could not be run here"}
    if candidate.errors is not None:
        compared = {
            "clips": 1,
            "ran": True,
            "max_abs": candidate.errors,
            "against": f"the recorded answer of {source.stem} to the golden clip",
        }
    return Artifact(
        file=f"{candidate.name}.engine",
        sha256=file_sha256(candidate.engine),
        size_bytes=candidate.engine.stat().st_size,
        target="tensorrt",
        precision=source.precision,
        conf=source.conf,
        made_with=candidate.made_with,
        delegated={
            "chosen": reason,
            "candidates": [
                {"name": c.name, "median_ms": c.median_ms, "self_test": c.share}
                for c in (candidate, *others)
            ],
        },
        parity=compared,
        self_test_tolerance=source.self_test_tolerance,
        threshold=source.threshold,
    )
