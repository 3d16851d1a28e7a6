"""`export_bundle`: a checkpoint becomes a bundle whose artifacts were run and compared."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from export.base import (
    INSTALL,
    Delegation,
    Floats,
    Lowered,
    Outputs,
    Precision,
    Progress,
    Target,
)
from export.bundle_writer import Part, check_destination, write_bundle
from export.registry import get_target
from export.verify import Verified, native_engine, run_program, verify_program
from runtime.bundle import Artifact
from runtime.errors import BackendUnavailableError, CalibrationError, ConfigError, ExportError

if TYPE_CHECKING:
    from edge.model.bmvit import BMViTConfig
    from edge.model.checkpoint import Checkpoint

logger = logging.getLogger(__name__)

Frames = npt.NDArray[np.uint8]

# A device's own rounding may differ from this machine's as much as this machine's does from
# torch's simulation of it: the golden answer must be met to that, and to no less than this.
_SELF_TEST_LEAST: dict[Precision, dict[str, float]] = {
    "fp32": {"pred_boxes": 1e-4, "pred_actor": 2e-3, "pred_actions": 2e-3},
    "int8": {"pred_boxes": 0.01, "pred_actor": 0.1, "pred_actions": 0.1},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactReport:
    """One artifact of a finished export.

    Attributes:
        artifact: Its entry in the bundle.
        path: The file.
        delegation: What the delegate took.
        parity: Its errors against torch.
        seconds: How long quantizing, lowering and verifying took.
    """

    artifact: Artifact
    path: Path
    delegation: Delegation
    parity: Verified
    seconds: float

    def line(self) -> str:
        """Return the artifact's row."""
        taken = self.delegation
        error = self.parity.mean_abs
        outside = f", outside: {', '.join(taken.fallbacks)}" if taken.fallbacks else ""
        return (
            f"{self.path}  {self.artifact.size_bytes / 1e6:.2f} MB  "
            f"delegated {taken.share:.1%} in {taken.calls} call"
            f"{'s' if taken.calls != 1 else ''}{outside}  "
            f"mean error boxes {error['pred_boxes']:.2g}, actor {error['pred_actor']:.2g}, "
            f"actions {error['pred_actions']:.2g}  θ {self.artifact.conf:.4g}  {self.seconds:.0f} s"
        )


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
        return [
            *rows,
            "next:",
            f"  edge info {self.out}",
            f"  edge run --model {self.out} --source 0",
        ]


def export_bundle(
    checkpoint_path: str | Path,
    *,
    targets: Sequence[str],
    calib_data: str | Path | None,
    calib_clips: int = 256,
    out: str | Path,
    overwrite: bool = False,
    verify_clips: int = 16,
    golden_rgb: Frames | None = None,
    name: str | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Export a checkpoint for one or more targets, and write a bundle if every artifact holds.

    Checks come in a fixed order, cheap ones first: config, packages, environment, forward, convert.

    Args:
        checkpoint_path: Float checkpoint.
        targets: Names of `export.registry.TARGETS`.
        calib_data: Folder of videos, one video, or a file that `calibrate` wrote; int8 needs it.
        calib_clips: Calibration clips wanted.
        out: Folder to write.
        overwrite: Replace an older bundle.
        verify_clips: Clips on which each artifact is compared with torch, and θ is fitted.
        golden_rgb: The clip (T, H, W, 3) uint8 RGB that devices test themselves with; by default
            the first of the clips.
        name: The bundle's name; by default the folder's.
        progress: Told of each step.

    Raises:
        ConfigError: A target is unknown, or `out` may not be replaced.
        CalibrationError: int8 without calibration data, or data that cannot stand for anything.
        BackendUnavailableError: A package or the native runtime is missing here.
        ArtifactError: The checkpoint cannot be loaded.
        ExportError: A target does not take the model, or its artifact is too far from torch.
    """
    out = Path(out)
    chosen = _check_config(targets, calib_data, out, overwrite, verify_clips)
    _check_environment(chosen)
    from edge.model.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(checkpoint_path)
    frames, notes = _clips(Path(checkpoint_path), checkpoint, calib_data, calib_clips, progress)
    golden = frames[0] if golden_rgb is None else golden_rgb
    session = _Session(checkpoint, frames, golden, verify_clips, progress)
    session.check_forward()
    made = [session.make(target) for target in chosen]
    bundle_name = name or out.name
    parts = [part for part, _ in made]
    write_bundle(
        out,
        checkpoint=checkpoint,
        name=bundle_name,
        parts=parts,
        golden_rgb=golden,
        overwrite=overwrite,
    )
    if not checkpoint.trained:
        notes.append("the weights are untrained: detections and θ mean nothing")
    reports = tuple(
        ArtifactReport(
            artifact=part.artifact,
            path=out / part.artifact.file,
            delegation=facts.lowered.delegation,
            parity=facts.verified,
            seconds=facts.seconds,
        )
        for part, facts in made
    )
    return ExportReport(out=out, artifacts=reports, notes=tuple(notes))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    lowered: Lowered
    verified: Verified
    seconds: float


class _Session:
    """One checkpoint and its clips on the way through several targets."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        frames: Frames,
        golden: Frames,
        verify_clips: int,
        progress: Progress | None,
    ) -> None:
        from calibration.calibrate import engine_clips
        from export.program import float_outputs

        config = checkpoint.config
        self.model = checkpoint.model.eval()
        self.truth = float_outputs(self.model)
        self.clips: list[Floats] = list(engine_clips(frames, config))
        step = max(1, len(self.clips) // verify_clips)
        self.verify_clips = self.clips[::step][:verify_clips]
        self.golden = next(engine_clips(golden[None], config))
        self.progress = progress

    def check_forward(self) -> None:
        """Run the float model once.

        Raises:
            ExportError: It fails, or gives values that are not finite.
        """
        try:
            outputs = self.truth(self.clips[0])
        except RuntimeError as error:
            raise ExportError(f"the float model does not run on a clip: {error}") from error
        if not all(np.isfinite(output).all() for output in outputs):
            raise ExportError(
                "the float model gives values that are not finite; train it again, or take an "
                "earlier checkpoint"
            )

    def make(self, target: Target) -> tuple[Part, _Made]:
        """Lower the model for a target, compare, and fit θ by the artifact's own engine."""
        from calibration.threshold import quantile_threshold

        start = time.perf_counter()
        lowered = target.lower(self.model, self.clips, progress=self.progress)
        file = f"{target.name}{target.suffix}"
        verified = verify_program(
            lowered.program,
            self.verify_clips,
            name=file,
            precision=target.precision,
            truth=self.truth,
            simulate=lowered.simulate,
            in_steps=bool(lowered.methods),
            progress=self.progress,
        )
        golden: Outputs = run_program(lowered.program, [self.golden], name=file)
        conf = quantile_threshold(verified.outputs[1])
        artifact = _artifact(target, file, lowered, verified, conf)
        seconds = time.perf_counter() - start
        part = Part(artifact=artifact, program=lowered.program, golden=golden)
        return part, _Made(lowered=lowered, verified=verified, seconds=seconds)


def _artifact(
    target: Target, file: str, lowered: Lowered, verified: Verified, conf: float
) -> Artifact:
    least = _SELF_TEST_LEAST[target.precision]
    return Artifact(
        file=file,
        sha256=hashlib.sha256(lowered.program).hexdigest(),
        size_bytes=len(lowered.program),
        target=target.engine,
        precision=target.precision,
        conf=conf,
        made_with=lowered.made_with,
        delegated={
            **_delegated(lowered.delegation),
            "methods": {name: _delegated(taken) for name, taken in lowered.methods.items()},
        },
        parity=verified.parity(),
        self_test_tolerance={
            name: max(least[name], verified.simulated_max_abs[name]) for name in least
        },
    )


def _delegated(taken: Delegation) -> dict[str, object]:
    return {
        "share": taken.share,
        "calls": taken.calls,
        "multiply_adds": taken.multiply_adds,
        "fallbacks": list(taken.fallbacks),
    }


def _check_config(
    targets: Sequence[str],
    calib_data: str | Path | None,
    out: Path,
    overwrite: bool,
    verify_clips: int,
) -> list[Target]:
    if not targets:
        raise ConfigError("no target given; choose one, such as xnnpack-int8")
    chosen = [get_target(name) for name in dict.fromkeys(targets)]
    if verify_clips < 1:
        raise ConfigError(f"verify_clips is {verify_clips}, expected 1 or more")
    check_destination(out, overwrite=overwrite)
    if calib_data is None:
        needy = [target.name for target in chosen if target.precision == "int8"]
        if needy:
            raise CalibrationError(
                f"{needy[0]} needs --calib-data: a folder of videos (or one video) from the camera "
                "and place where the model will work; there is no default set"
            )
    return chosen


def _check_environment(targets: Sequence[Target]) -> None:
    if importlib.util.find_spec("torch") is None:
        raise BackendUnavailableError(f"export needs torch, not installed here; run: {INSTALL}")
    for target in targets:
        target.check_packages()
    native_engine()


def _clips(
    checkpoint_path: Path,
    checkpoint: Checkpoint,
    calib_data: str | Path | None,
    count: int,
    progress: Progress | None,
) -> tuple[Frames, list[str]]:
    """Return the clips (K, T, H, W, 3) of the deployment, and what to say about them."""
    from calibration.calibrate import obtain_clips

    if calib_data is None:
        note = "no --calib-data: compared with torch, and θ fitted, on drawn clips only"
        return drawn_clips(checkpoint.config, 4), [note]
    clips = obtain_clips(
        checkpoint_path, checkpoint.config, calib_data, count=count, progress=progress
    )
    return clips.frames_rgb, clips.lines()


def drawn_clips(config: BMViTConfig, count: int) -> Frames:
    """Return clips of the drawn demo scene, (count, T, H, W, 3) uint8 RGB."""
    from edge.data.clips import resize_frames
    from edge.data.demo_clip import render_frame

    period_s = config.sampling_rate / config.fps
    return np.stack(
        [
            resize_frames(
                [render_frame(1.0 + i + t * period_s) for t in range(config.num_frames)],
                config.height,
                config.width,
            )
            for i in range(count)
        ]
    )
