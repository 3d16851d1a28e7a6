"""What is evaluated: a checkpoint in torch, or an artifact in the runtime's own engine.

Both are fed the same clips, normalised by `runtime.preprocess`, and answer in the same shapes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge.evaluation.options import ModelChoice
from runtime.bundle import Bundle, file_sha256
from runtime.bundle_spec import BUNDLE_FILE, BundleSpec
from runtime.engine import load_engine
from runtime.errors import BackendUnavailableError, ConfigError
from runtime.preprocess import normalize
from runtime.types import ClipModel, ClipSpec, Frames, Outputs

if TYPE_CHECKING:
    from edge.model.checkpoint import Checkpoint


CHECKPOINTS = (".pt", ".pth", ".ckpt")
PROGRAMS = (".pte", ".onnx", ".ir", ".engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """A model that is ready to run.

    Attributes:
        name: What reports call it.
        class_names: Its actions, in the order of its outputs.
        shape: The clips it wants.
        conf: Its own actor threshold; None where it has none yet.
        trained: Whether its weights were ever trained.
        precision: Number format of its engine.
        sha256: Of the file that holds its weights.
        run: Maps clips, each (T, H, W, 3) uint8 RGB, to outputs (N, 4), (N,), (N, C) of each.
        checkpoint: Its model in torch, where it is one.
    """

    name: str
    class_names: tuple[str, ...]
    shape: ClipSpec
    conf: float | None
    trained: bool
    precision: str
    sha256: str
    run: Callable[[Sequence[Frames]], list[Outputs]]
    checkpoint: Checkpoint | None = None


def open_predictor(choice: ModelChoice) -> Predictor:
    """Load a model of any kind, by its suffix.

    Raises:
        ConfigError: The path is of no kind that can be evaluated, or a flag does not fit its kind.
        ArtifactError: The file is missing, broken or not what its bundle says.
        BackendUnavailableError: A package or engine is missing here.
    """
    path = Path(choice.model)
    if path.suffix in CHECKPOINTS:
        if choice.artifact is not None:
            raise ConfigError(f"{path} is a checkpoint; --artifact names a program of a bundle")
        return _checkpoint(path, choice)
    if choice.device != "cpu":
        raise ConfigError(
            f"--device {choice.device} is for checkpoints; the programs of a bundle choose theirs"
        )
    if path.suffix in PROGRAMS:
        return _program(path, choice)
    return _bundle(path, choice.artifact, choice.num_threads)


def _program(path: Path, choice: ModelChoice) -> Predictor:
    if choice.artifact is not None:
        raise ConfigError(f"{path} is one program already; --artifact has nothing to choose")
    if not (path.parent / BUNDLE_FILE).is_file():
        raise ConfigError(
            f"{path} has no {BUNDLE_FILE} beside it, which says its classes, clip and preprocess; "
            "keep it in the folder that `edge export` wrote"
        )
    if path.suffix == ".onnx":
        with Bundle.load(path.parent) as bundle:
            spec = bundle.spec
        if path.name not in [artifact.file for artifact in spec.artifacts]:
            return _beside(path, spec, choice.num_threads)
    return _bundle(path.parent, path.name, choice.num_threads)


def _beside(path: Path, spec: BundleSpec, num_threads: int) -> Predictor:
    """Load a graph of a bundle's model that the bundle does not list."""
    from edge.evaluation.onnx_model import open_beside

    return _of_spec(
        spec, open_beside(path, spec, num_threads=num_threads), stem=path.stem, conf=None,
        precision="as the file has it", sha256=file_sha256(path),
    )  # fmt: skip


def _bundle(path: Path, artifact: str | None, num_threads: int) -> Predictor:
    with Bundle.load(path) as bundle:
        engine = load_engine(bundle, artifact=artifact, num_threads=num_threads)
        spec = bundle.spec
    chosen = engine.artifact
    return _of_spec(
        spec, engine, stem=chosen.stem, conf=chosen.conf, precision=chosen.precision,
        sha256=chosen.sha256,
    )  # fmt: skip


def _of_spec(
    spec: BundleSpec, model: ClipModel, *, stem: str, conf: float | None, precision: str,
    sha256: str,
) -> Predictor:  # fmt: skip
    def run(clips: Sequence[Frames]) -> list[Outputs]:
        return [model(normalize(clip, spec.clip)).of(0) for clip in clips]

    return Predictor(
        name=f"{spec.name}/{stem}", class_names=spec.class_names, shape=spec.clip, conf=conf,
        trained=spec.trained, precision=precision, sha256=sha256, run=run,
    )  # fmt: skip


def _checkpoint(path: Path, choice: ModelChoice) -> Predictor:
    try:
        import torch

        from edge.model.checkpoint import load_checkpoint
    except ImportError as error:
        raise BackendUnavailableError(
            f"{path} is a checkpoint, which needs torch ({error}); run: "
            "pip install '.[train]', or evaluate a bundle"
        ) from error
    checkpoint = load_checkpoint(path)
    if choice.num_threads:
        torch.set_num_threads(choice.num_threads)
    try:
        checkpoint.model.to(choice.device)
    except (RuntimeError, AssertionError) as error:  # unknown, not built in, or not there
        reason = (str(error).splitlines() or [""])[0]
        raise ConfigError(f"--device {choice.device} cannot be used here: {reason}") from error
    return Predictor(
        name=path.name, class_names=checkpoint.class_names, shape=checkpoint.config.clip, conf=None,
        trained=checkpoint.trained, precision="fp32", sha256=file_sha256(path),
        run=_torch_run(checkpoint, choice.device), checkpoint=checkpoint,
    )  # fmt: skip


def _torch_run(checkpoint: Checkpoint, device: str) -> Callable[[Sequence[Frames]], list[Outputs]]:
    import torch

    model, spec = checkpoint.model, checkpoint.config.clip

    def run(clips: Sequence[Frames]) -> list[Outputs]:
        batch = np.concatenate([normalize(clip, spec) for clip in clips])
        with torch.inference_mode():
            outputs = model(torch.from_numpy(batch).to(device).transpose(1, 2))
        boxes, actor, actions = (
            outputs[name].float().cpu().numpy()
            for name in ("pred_boxes", "pred_actor", "pred_actions")
        )
        found = Outputs(boxes, actor, actions)
        return [found.of(index) for index in range(len(clips))]

    return run


def fingerprint(*parts: str | bytes) -> str:
    """Return one SHA-256 for several texts or arrays of bytes."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
