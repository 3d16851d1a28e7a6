"""`export_bundle`: a checkpoint becomes a bundle whose artifacts were run and compared."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge.data.registry import open_dataset
from edge.data.remap import judged
from export.base import INSTALL, Progress, Target
from export.bundle import check_destination, program_facts, write_bundle
from export.clips import Frames, deployment_clips, engine_clips
from export.judge import Judge
from export.registry import get_target
from export.report import ArtifactReport, ExportReport
from export.session import Made, Session, Weights
from quantize.mixed_precision import choose_float_layers
from runtime.errors import (
    BackendUnavailableError,
    CalibrationError,
    ConfigError,
    EdgeError,
    ExportError,
)
from runtime.types import ClipModel

if TYPE_CHECKING:
    from edge.model.checkpoint import Checkpoint


def export_bundle(
    checkpoint_path: str | Path,
    *,
    targets: Sequence[str],
    calib_data: str | Path | None,
    calib_clips: int = 256,
    out: str | Path,
    qat_model: str | Path | None = None,
    val_data: str | None = None,
    val_clips: int = 0,
    float_layers: Sequence[str] = (),
    overwrite: bool = False,
    verify_clips: int = 16,
    golden_rgb: Frames | None = None,
    name: str | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Export a checkpoint for one or more targets, and write a bundle of the artifacts that hold.

    Checks come in a fixed order, cheap ones first: config, packages, environment, forward, convert.
    Of several targets, those that cannot be made here do not stop the others: the bundle and the
    report name each with its reason.

    Args:
        checkpoint_path: Float checkpoint.
        targets: Names of `export.registry.TARGETS`.
        calib_data: Folder of videos, one video, or a file that `calibrate` wrote; int8 needs it.
        calib_clips: Calibration clips wanted.
        out: Folder to write.
        qat_model: Weights of the same network that were trained for int8. Each int8 artifact is
            made of both, and the one with the higher frame-mAP on `val_data` is kept.
        val_data: Labelled clips, by a word that `open_dataset` knows, on which the frame-mAP and
            the θ of the best F1 are found; without them θ is a quantile of scores.
        val_clips: Most of these clips, evenly spread over real videos; 0 takes all.
        float_layers: Layers that int8 leaves in float32, as `choose_float_layers` takes them.
        overwrite: Replace an older bundle.
        verify_clips: Clips on which each artifact is compared with torch.
        golden_rgb: The clip (T, H, W, 3) uint8 RGB that devices test themselves with; by default
            the first of the clips.
        name: The bundle's name; by default the folder's.
        progress: Told of each step.

    Raises:
        ConfigError: A target is unknown, or `out` may not be replaced.
        CalibrationError: int8 without calibration data, or data that cannot stand for anything.
        BackendUnavailableError: A package or engine is missing here for every target.
        ArtifactError: The checkpoint cannot be loaded.
        ExportError: No target takes the model, or every artifact is too far from torch.
    """
    out = Path(out)
    chosen = _check_config(targets, calib_data, out, overwrite, verify_clips)
    _check_measuring(chosen, qat_model, val_data, float_layers)
    possible, not_made = _check_environment(chosen)
    from edge.model.checkpoint import load_checkpoint
    from quantize.graph import keep_freed_memory

    keep_freed_memory()
    checkpoint = load_checkpoint(checkpoint_path)
    trained = None if qat_model is None else _trained_weights(checkpoint, Path(qat_model))
    plain = _weights(Path(checkpoint_path), checkpoint, "post-training")
    judge = None if val_data is None else _judge(checkpoint, val_data, val_clips, plain.truth)
    frames, notes = deployment_clips(
        Path(checkpoint_path), checkpoint, calib_data, calib_clips, progress
    )
    golden = frames[0] if golden_rgb is None else golden_rgb
    clips, golden_clip = engine_clips(checkpoint, frames, golden)
    placed = choose_float_layers(checkpoint.model, float_layers, clips, progress=progress)
    session = Session(
        plain=plain,
        trained=trained,
        clips=clips,
        verify_clips=clips[:: max(1, len(clips) // verify_clips)][:verify_clips],
        golden=golden_clip,
        judge=judge,
        float_layers=placed,
        facts=partial(program_facts, checkpoint, name or out.name),
        progress=progress,
    )
    session.check_forward()
    made, failed = _make(session, possible)
    not_made |= failed
    bundle = write_bundle(
        out,
        checkpoint=checkpoint,
        name=name or out.name,
        parts=[one.part for one in made],
        golden_rgb=golden,
        not_made=not_made,
        overwrite=overwrite,
    )
    notes += [*placed.lines, *(note for one in made for note in one.notes)]
    if not checkpoint.trained:
        notes.append("the weights are untrained: detections and θ mean nothing")
    reports = tuple(
        ArtifactReport(
            artifact=one.part.artifact,
            path=out / one.part.artifact.file,
            delegation=one.delegation,
            parity=one.verified,
            seconds=one.seconds,
        )
        for one in made
    )
    return ExportReport(
        out=out, artifacts=reports, spec=bundle.spec, notes=tuple(notes), failed=tuple(failed)
    )


def _make(session: Session, targets: Sequence[Target]) -> tuple[list[Made], dict[str, str]]:
    """Make each artifact; where some hold, return why the others do not."""
    made: list[Made] = []
    failed: dict[str, EdgeError] = {}
    for number, target in enumerate(targets, 1):
        progress = _named(session.progress, f"[{number}/{len(targets)} {target.name}] ")
        try:
            made.append(replace(session, progress=progress).make(target))
        except (ExportError, CalibrationError) as error:
            failed[target.name] = error
    if not made:
        raise next(iter(failed.values()))
    return made, {name: _one_line(error) for name, error in failed.items()}


def _named(progress: Progress | None, prefix: str) -> Progress | None:
    """Return a callback that says of each step which target it is for."""
    if progress is None:
        return None
    return lambda step, done, total: progress(f"{prefix}{step}", done, total)


def _one_line(error: EdgeError) -> str:
    """Return an error's text fit for a table: tools put line ends into theirs."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(error)).split())


def _weights(path: Path, checkpoint: Checkpoint, how: str) -> Weights:
    from quantize.graph import float_outputs

    model = checkpoint.model.eval()
    return Weights(name=path.name, how=how, model=model, truth=float_outputs(model))


def _trained_weights(checkpoint: Checkpoint, path: Path) -> Weights:
    """Load weights that may take the place of a checkpoint's.

    Raises:
        ConfigError: They are of another network or of other actions.
    """
    from edge.model.bmvit import with_overrides
    from edge.model.checkpoint import load_checkpoint

    other = load_checkpoint(path)
    configs = [
        # How much was dropped in training is no part of the network.
        with_overrides(one.config, drop_path=0.0)
        if hasattr(one.config.backbone, "drop_path")
        else one.config
        for one in (checkpoint, other)
    ]
    if configs[0] != configs[1] or checkpoint.class_names != other.class_names:
        raise ConfigError(
            f"--qat-model {path} is of another network or other actions than --model; train it "
            "with --init from those weights"
        )
    return _weights(path, other, "quantization-aware")


def _judge(checkpoint: Checkpoint, val_data: str, val_clips: int, truth: ClipModel) -> Judge:

    from edge.data.cache import MemoryCache

    config = checkpoint.config
    clips, _ = judged(
        open_dataset(val_data, config.clip, limit=val_clips or None),
        val_data,
        checkpoint.class_names,
    )
    return Judge(
        MemoryCache(clips),
        config.clip,
        class_names=checkpoint.class_names,
        data=val_data,
        truth=truth,
    )


def _check_measuring(
    targets: Sequence[Target],
    qat_model: str | Path | None,
    val_data: str | None,
    float_layers: Sequence[str],
) -> None:
    int8 = any(target.precision == "int8" for target in targets)
    if (qat_model is not None or float_layers) and not int8:
        raise ConfigError("--qat-model and --float-layers are for int8; no target here is")
    if qat_model is not None and val_data is None:
        raise ConfigError(
            "--qat-model needs --val-data: weights trained for int8 are shipped only where they "
            "are measured to be better"
        )


def _check_config(
    targets: Sequence[str],
    calib_data: str | Path | None,
    out: Path,
    overwrite: bool,
    verify_clips: int,
) -> list[Target]:
    if not targets:
        raise ConfigError("no target given; choose one, such as xnnpack-int8")
    chosen = list({target.name: target for target in map(get_target, targets)}.values())
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


def _check_environment(targets: Sequence[Target]) -> tuple[list[Target], dict[str, str]]:
    """Return the targets that can be tried here, and why the others cannot.

    Raises:
        BackendUnavailableError: None can.
    """
    if importlib.util.find_spec("torch") is None:
        raise BackendUnavailableError(f"export needs torch, not installed here; run: {INSTALL}")
    possible: list[Target] = []
    missing: dict[str, BackendUnavailableError] = {}
    for target in targets:
        try:
            target.check_packages()
            possible.append(target)
        except BackendUnavailableError as error:
            missing[target.name] = error
    if not possible:
        raise next(iter(missing.values()))
    return possible, {name: _one_line(error) for name, error in missing.items()}
