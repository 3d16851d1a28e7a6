"""Choose the artifact of a bundle that runs best here, load it, and test it before it is trusted.

A bundle may hold several programs of one model. Each names its target, the engine it is made for;
`ENGINES` says which of them can run here. The choice is by engine, then by precision, and is said
in one line with its reason. A program whose answer to the golden clip differs from the one recorded
at export is not used: the next one is, with a warning, or loading fails.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from runtime.backend_library import load_backend_libraries
from runtime.bundle_spec import OUTPUTS
from runtime.choice import fastest, keep_choice, kept_choice, key_of, measure_ms
from runtime.engines import ENGINES, Program
from runtime.engines.base import DEVICES
from runtime.errors import (
    ArtifactError,
    ArtifactMismatchError,
    BackendUnavailableError,
    ConfigError,
)
from runtime.instructions import int8_sums_overflow
from runtime.self_test import check_answer, golden_answer
from runtime.types import Floats, Outputs

if TYPE_CHECKING:
    from runtime.bundle import Bundle
    from runtime.bundle_spec import Artifact

logger = logging.getLogger(__name__)

# Faster first; a precision that is not listed comes last.
PRECISIONS = ("int8", "fp16", "bf16", "fp32")
MAX_THREADS = 256  # that of runtime/native/engine.cc


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedEngine:
    """A program that runs here, and why it was chosen.

    A `ClipModel` like its program. Calls from several threads follow one another.
    """

    artifact: Artifact
    reason: str
    program: Program
    self_test_share: float | None

    @property
    def num_threads(self) -> int:
        """Threads that compute."""
        return self.program.num_threads

    def __call__(self, clips: Floats, /, first: int = -1) -> Outputs:
        """Run one clip.

        Args:
            clips: (1, T, 3, H, W) float32, C-contiguous.
            first: Serial number of its first sample, from the clip buffer, so that an engine
                loaded with a stride computes only what is new; -1 for a clip from elsewhere.

        Raises:
            ConfigError: The clip has another shape or type.
            ArtifactError: The program failed.
        """
        return self.program(clips, first)


def load_engine(
    bundle: Bundle,
    *,
    artifact: str | None = None,
    num_threads: int = 0,
    stride: int = 0,
    self_test: bool = True,
    device: str = "auto",
) -> LoadedEngine:
    """Load the best artifact of a bundle that runs here.

    Args:
        bundle: An open bundle.
        artifact: File name or stem of the one to load; None chooses.
        num_threads: Threads of the engine; 0 leaves it to the engine.
        stride: Samples from one clip to the next; 0 for clips that do not overlap. Where it lets
            clips have steps in common, and the program has the methods for it, each step is
            computed once.
        self_test: Compare the program's answer to the golden clip with the recorded one.
        device: Which artifacts come into question: those that compute on the `cpu`, on `cuda`, or
            `auto`, on any, a GPU first.

    Returns:
        The loaded engine; its `reason` is also logged.

    Raises:
        ConfigError: The bundle has no artifact of that name, `num_threads` is not in [0, 256], or
            there is no such device.
        BackendUnavailableError: No artifact can run with this build.
        ArtifactError: A file is missing or does not load.
        ArtifactMismatchError: A file is not the one described, or the self-test failed.
    """
    if not 0 <= num_threads <= MAX_THREADS:
        raise ConfigError(
            f"num_threads is {num_threads}, expected 1 to {MAX_THREADS}, or 0 for one thread per "
            "fast core"
        )
    if device not in ("auto", *DEVICES):
        raise ConfigError(
            f"--device {device!r} is not known; choose from: auto, {', '.join(DEVICES)}"
        )
    load_backend_libraries()
    candidates, skipped = _candidates(bundle, artifact, device)
    comparable = _comparable(candidates) if artifact is None and self_test else []
    how = ""
    if len(comparable) > 1:
        key = key_of(comparable, num_threads=num_threads, stride=stride)
        kept = kept_choice(key, comparable) or _measured(
            bundle, comparable, key, num_threads=num_threads, stride=stride
        )
        if kept is not None:
            how = kept[1]
            candidates = [kept[0], *(c for c in candidates if c is not kept[0])]
    for i, candidate in enumerate(candidates):
        # Outside the fallback below: a changed file means that the bundle cannot be trusted.
        path = bundle.artifact_path(candidate)
        try:
            program, error = _load_checked(bundle, candidate, path, num_threads, stride, self_test)
        except ArtifactError as failure:
            if i + 1 == len(candidates):
                raise
            logger.warning("%s; falling back to %s", failure, candidates[i + 1].stem)
            skipped.append(f"{candidate.stem} failed")
            continue
        how = how if candidate is candidates[0] else ""
        why = "as asked" if artifact is not None else how or _unmeasured(len(candidates))
        reason = _reason(candidate, program, skipped, why=why, error=error)
        logger.info("%s", reason)
        return LoadedEngine(
            artifact=candidate, reason=reason, program=program, self_test_share=error
        )
    raise BackendUnavailableError(
        f"none of the artifacts of {bundle.path} runs here: {'; '.join(skipped)}. Export one for "
        f"{' or '.join(ENGINES)}"
    )


def _candidates(bundle: Bundle, name: str | None, device: str) -> tuple[list[Artifact], list[str]]:
    """Return the artifacts that can run here, best first, and why each other cannot."""
    wanted = bundle.spec.artifacts if name is None else (bundle.artifact(name),)
    usable: list[Artifact] = []
    skipped: list[str] = []
    for artifact in wanted:
        target = ENGINES.get(artifact.target)
        if target is not None and device not in ("auto", target.device):
            skipped.append(f"{artifact.stem} runs on {target.device}, not on {device} as asked")
            continue
        try:
            missing = "this build has no such engine" if target is None else target.missing()
        except ImportError as error:
            raise BackendUnavailableError(
                f"the native runtime does not import ({error}); build it with `pip install .` or "
                "tools/build_native.sh"
            ) from error
        if missing is None:
            usable.append(artifact)
        else:
            skipped.append(f"{artifact.stem} needs {artifact.target}: {missing}")
    targets = list(ENGINES)
    usable.sort(key=lambda a: (targets.index(a.target), _rank(a.precision), a.file))
    return usable, skipped


def _comparable(candidates: list[Artifact]) -> list[Artifact]:
    """Return the programs that only a measurement can tell apart: those of the processor.

    None where the best candidate runs elsewhere.
    """
    if not candidates or ENGINES[candidates[0].target].device != "cpu":
        return []
    return [c for c in candidates if ENGINES[c.target].device == "cpu"]


def _measured(
    bundle: Bundle, comparable: list[Artifact], key: str, *, num_threads: int, stride: int
) -> tuple[Artifact, str] | None:
    """Measure programs, keep which is the fastest, and return it with the words for it."""
    found: list[tuple[Artifact, float]] = []
    for candidate in comparable:
        path = bundle.artifact_path(candidate)
        try:
            program, _ = _load_checked(bundle, candidate, path, num_threads, stride, True)
            clip, _ = golden_answer(bundle, candidate)
            found.append((candidate, measure_ms(program, clip, stride)))
        except ArtifactError as failure:
            logger.debug("not measured: %s", failure)
    if len(found) < 2:
        return None
    chosen, took = found[fastest([ms for _, ms in found])]
    others = ", ".join(f"{a.stem} {ms:.1f}" for a, ms in found if a is not chosen)
    text = f"measured here: {took:.1f} ms a result, {others}"
    keep_choice(key, chosen, text)
    return chosen, text


def _unmeasured(usable: int) -> str:
    """Say why a program was taken that nothing measured against others."""
    if usable == 1:
        return "the bundle's only program that runs here"
    return f"preferred among the bundle's {usable} programs that run here"


def _rank(precision: str) -> int:
    return PRECISIONS.index(precision) if precision in PRECISIONS else len(PRECISIONS)


def _reason(
    artifact: Artifact, program: Program, skipped: list[str], *, why: str, error: float | None
) -> str:
    threads = f"{program.num_threads} thread{'s' if program.num_threads != 1 else ''}"
    tested = "not self-tested"
    if error is not None:
        tested = f"self-test passed at {error:.0%} of its tolerance"
    text = f"{artifact.stem} ({artifact.target}, {artifact.precision}), {why}: {threads}, {tested}"
    if (
        artifact.precision == "int8"
        and ENGINES[artifact.target].int8_overflows
        and int8_sums_overflow()
    ):
        text += ", in float32 since its int8 sums overflow on this processor"
    if program.shares_steps:
        text += ", overlapping clips share their steps"
    return f"{text}; skipped: {', '.join(skipped)}" if skipped else text


def _load_checked(
    bundle: Bundle,
    artifact: Artifact,
    path: Path,
    num_threads: int,
    stride: int,
    self_test: bool,
) -> tuple[Program, float | None]:
    """Load one program, and hold it against the bundle's shapes and golden clip."""
    kind = ENGINES[artifact.target]
    if kind.load_recorded is None:
        program = kind.load(path, num_threads, stride)
    else:
        program = kind.load_recorded(path, artifact, bundle.path)
    spec = bundle.spec
    tokens, classes = spec.num_tokens, len(spec.class_names)
    outputs = ((1, tokens, 4), (1, tokens), (1, tokens, classes))
    if program.input_shape != spec.clip.input_shape or program.output_shapes != outputs:
        raise ArtifactMismatchError(
            f"{artifact.file} takes {program.input_shape} and gives {program.output_shapes}, the "
            f"bundle says {spec.clip.input_shape} and {outputs}: it is the program of another model"
        )
    if not self_test:
        return program, None
    start = time.perf_counter()
    clip, recorded = golden_answer(bundle, artifact)
    verdict = check_answer(
        program, clip, recorded, largest=artifact.self_test_tolerance,
        precision=artifact.precision, conf=artifact.conf,
    )  # fmt: skip
    if verdict.fault is not None:
        raise ArtifactMismatchError(
            f"self-test of {artifact.file} failed: on the golden clip {verdict.fault}; export it "
            "again on, or for, this kind of machine"
        )
    logger.debug(
        "loaded %s in %.0f ms, self-test %.0f ms",
        artifact.file,
        program.load_ms,
        (time.perf_counter() - start) * 1e3,
    )
    return program, verdict.share


def golden_errors(bundle: Bundle, artifact: Artifact, program: Program) -> dict[str, float]:
    """Return each output's largest difference from the recorded answer to the golden clip.

    Raises:
        ArtifactError: The golden clip is missing or unreadable.
        ArtifactMismatchError: It is not the one described, or lacks this artifact.
    """
    clip, recorded = golden_answer(bundle, artifact)
    return {
        name: float(np.abs(found[0].astype(np.float64) - wanted).max())
        for name, found, wanted in zip(OUTPUTS, program(clip), recorded, strict=True)
    }
