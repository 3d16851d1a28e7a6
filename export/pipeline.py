"""`export_bundle`: a checkpoint becomes a bundle whose artifacts were run and compared."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edge.data.registry import open_dataset
from edge.data.remap import judged
from export.base import ExportedArtifact, Exporter
from export.bundle import check_destination, program_facts, write_bundle
from export.context import ExportContext, Weights
from export.labelled import LabelledClips
from export.quick_lowering import without_garbage_collection
from export.registry import get_target
from quantize.mixed_precision import choose_float_layers
from runtime.artifact_table import action_table, artifact_table, fit_command, guessed_threshold
from runtime.bundle_spec import BundleSpec
from runtime.errors import (
    BackendUnavailableError,
    CalibrationError,
    ConfigError,
    EdgeError,
    ExportError,
)
from runtime.preprocess import normalize
from runtime.types import ClipModel, ClipSpec, Progress

if TYPE_CHECKING:
    from edge.model.checkpoint import Checkpoint

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """A finished export.

    Attributes:
        out: The bundle's folder.
        artifacts: Those that were made.
        spec: The bundle's `bundle.json`.
        notes: What the user should know: untrained, drawn clips, few clips.
        failed: Targets that could be tried here, and failed; the bundle says why.
    """

    out: Path
    artifacts: tuple[ExportedArtifact, ...]
    spec: BundleSpec
    notes: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the report: the bundle's table, more of each artifact, notes, next commands."""
        rows = [*artifact_table(self.spec), "", *action_table(self.spec), ""]
        rows += [line for artifact in self.artifacts for line in artifact.lines()]
        rows += [f"note: {note}" for note in self.notes]
        then = f"edge run --model {self.out} --source 0"
        if not any(artifact.entry.parity["ran"] for artifact in self.artifacts):
            then += "    # on the device: nothing of this bundle runs here"
        return [*rows, "next:", f"  edge info {self.out}", f"  {then}"]


def export_bundle(
    checkpoint_path: str | Path,
    *,
    targets: Sequence[str | Exporter],
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
        targets: Names of `export.registry.TARGETS`, or exporters.
        calib_data: Folder of videos, one video, or a file that `calibrate` wrote; int8 needs it.
        calib_clips: Calibration clips wanted.
        out: Folder to write.
        qat_model: Weights of the same network that were trained for int8. Each int8 artifact is
            made of those with the higher frame-mAP on `val_data`, measured in torch before anything
            is lowered.
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
    out, path = Path(out), Path(checkpoint_path)
    chosen = _check_config(targets, calib_data, out, overwrite, verify_clips)
    _check_measuring(chosen, qat_model, val_data, float_layers)
    possible, not_made = _check_environment(chosen)
    from edge.model.checkpoint import load_checkpoint
    from edge.training.memory import keep_freed_memory

    keep_freed_memory()
    checkpoint = load_checkpoint(path)
    weights = [_weights(path, checkpoint, "post-training")]
    if qat_model is not None:
        weights.append(_trained_weights(checkpoint, Path(qat_model)))
    labelled = None
    if val_data is not None:
        labelled = _labelled(checkpoint, val_data, val_clips, weights[0].truth)
    frames, notes = _deployment_clips(path, checkpoint, calib_data, calib_clips, progress)
    golden = frames[0] if golden_rgb is None else golden_rgb
    spec = checkpoint.config.clip
    clips = [normalize(clip, spec) for clip in frames]
    placed = choose_float_layers(checkpoint.model, float_layers, clips, progress=progress)
    context = ExportContext(
        weights=weights,
        clips=clips,
        verify_clips=clips[:: max(1, len(clips) // verify_clips)][:verify_clips],
        golden=normalize(golden, spec),
        labelled=labelled,
        float_layers=placed,
        facts=partial(program_facts, checkpoint, name or out.name),
        progress=progress,
    )
    context.check_forward()
    made, failed = _make(context, possible)
    bundle = write_bundle(
        out,
        checkpoint=checkpoint,
        name=name or out.name,
        artifacts=made,
        golden_rgb=golden,
        not_made=not_made | failed,
        overwrite=overwrite,
    )
    notes += [*placed.lines, *(note for artifact in made for note in artifact.notes)]
    if not checkpoint.trained:
        notes.append("the weights are untrained: detections and θ mean nothing")
    else:
        notes += [
            f"{one.stem}: {guessed}. Fit it: {fit_command(out)}"
            for one in bundle.spec.artifacts
            if (guessed := guessed_threshold(one))
        ]
    return ExportReport(
        out=out, artifacts=tuple(made), spec=bundle.spec, notes=tuple(notes), failed=tuple(failed)
    )


def drawn_clips(clip: ClipSpec, count: int) -> Frames:
    """Return clips of the drawn demo scene, (count, T, H, W, 3) uint8 RGB."""
    from edge.data.clips import resize_frames
    from edge.data.demo_clip import render_frame

    return np.stack(
        [
            resize_frames(
                [render_frame(1.0 + i + t * clip.period_s) for t in range(clip.num_frames)],
                clip.height,
                clip.width,
            )
            for i in range(count)
        ]
    )


def _deployment_clips(
    path: Path,
    checkpoint: Checkpoint,
    calib_data: str | Path | None,
    count: int,
    progress: Progress | None,
) -> tuple[Frames, list[str]]:
    """Return clips (K, T, H, W, 3) of the deployment, or drawn ones, and what to say of them."""
    from calibration.calibrate import obtain_clips

    if calib_data is None:
        note = "no --calib-data: compared with torch, and θ fitted, on drawn clips only"
        return drawn_clips(checkpoint.config.clip, 4), [note]
    clips = obtain_clips(path, checkpoint.config, calib_data, count=count, progress=progress)
    return clips.frames_rgb, clips.lines()


def _make(
    context: ExportContext, exporters: Sequence[Exporter]
) -> tuple[list[ExportedArtifact], dict[str, str]]:
    """Make each artifact; where some hold, return why the others do not."""
    made: list[ExportedArtifact] = []
    failed: dict[str, EdgeError] = {}
    for number, exporter in enumerate(exporters, 1):
        progress = _prefixed(context.progress, f"[{number}/{len(exporters)} {exporter.name}] ")
        try:
            with without_garbage_collection():
                made.append(replace(context, progress=progress).make(exporter))
        except (ExportError, CalibrationError) as error:
            failed[exporter.name] = error
    if not made:
        raise next(iter(failed.values()))
    return made, {name: _one_line(error) for name, error in failed.items()}


def _prefixed(progress: Progress | None, prefix: str) -> Progress | None:
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


def _labelled(
    checkpoint: Checkpoint, val_data: str, val_clips: int, truth: ClipModel
) -> LabelledClips:
    from edge.data.cache import MemoryCache

    clip, names = checkpoint.config.clip, checkpoint.class_names
    clips, _ = judged(open_dataset(val_data, clip, limit=val_clips or None), val_data, names)
    return LabelledClips(MemoryCache(clips), clip, class_names=names, data=val_data, truth=truth)


def _check_measuring(
    exporters: Sequence[Exporter],
    qat_model: str | Path | None,
    val_data: str | None,
    float_layers: Sequence[str],
) -> None:
    int8 = any(exporter.precision == "int8" for exporter in exporters)
    if (qat_model is not None or float_layers) and not int8:
        raise ConfigError("--qat-model and --float-layers are for int8; no target here is")
    if qat_model is not None and val_data is None:
        raise ConfigError(
            "--qat-model needs --val-data: weights trained for int8 are shipped only where they "
            "are measured to be better"
        )


def _check_config(
    targets: Sequence[str | Exporter],
    calib_data: str | Path | None,
    out: Path,
    overwrite: bool,
    verify_clips: int,
) -> list[Exporter]:
    if not targets:
        raise ConfigError("no target given; choose one, such as xnnpack-int8")
    exporters = [get_target(one) if isinstance(one, str) else one for one in targets]
    chosen = list({exporter.name: exporter for exporter in exporters}.values())
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


def _check_environment(targets: Sequence[Exporter]) -> tuple[list[Exporter], dict[str, str]]:
    """Return the targets that can be tried here, and why the others cannot.

    Raises:
        BackendUnavailableError: None can.
    """
    if importlib.util.find_spec("torch") is None:
        raise BackendUnavailableError(
            "export needs torch, not installed here; run: pip install '.[export]'"
        )
    possible: list[Exporter] = []
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
