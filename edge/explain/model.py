"""What is explained: a model, and everything that a picture shows of one clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edge.data.clips import resize_frames
from edge.evaluation.clip_metrics import DEFAULT_CONF
from edge.evaluation.options import ModelChoice
from edge.evaluation.predictors import CHECKPOINTS, Predictor, open_predictor
from runtime.bundle import Bundle
from runtime.bundle_spec import BUNDLE_FILE
from runtime.decode import Detections, decode
from runtime.errors import ArtifactMismatchError, ConfigError
from runtime.preprocess import normalize
from runtime.sources import Image
from runtime.types import ClipSpec, Frames, Outputs

if TYPE_CHECKING:
    from edge.explain.attention import LastAttention
    from edge.model.checkpoint import Checkpoint

F32 = npt.NDArray[np.float32]
STRIDES = (16, 8, 32)  # spatial strides of the output tokens that networks here have had
_SLICES = {"centre": 1, "centre_mean": 1, "halves": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One clip as a model sees it.

    Attributes:
        frames: T frames of the source, BGR, oldest first.
        keyframe: Which of them the boxes belong to.
        tokens: All output tokens, boxes in px of the frame, by falling p(actor).
        conf: The threshold; tokens above it are kept.
        actor_map: (S, H', W') p(actor) of each output position of each slice.
        attention: Where the last layer looks; None where it cannot be seen.
    """

    frames: Sequence[Image]
    keyframe: int
    tokens: Detections
    conf: float
    actor_map: F32
    attention: LastAttention | None

    @property
    def num_kept(self) -> int:
        """How many tokens are kept; they come first."""
        return int((self.tokens.actor.astype(np.float64) > self.conf).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainableModel:
    """A model that is ready to be explained.

    Attributes:
        name: What pictures call it.
        class_names: Its actions.
        shape: The clips it wants.
        trained: Whether its weights were ever trained.
        conf: Threshold on p(actor).
        no_attention_reason: One sentence where attention cannot be shown, else None.
        predictor: What is run.
        slices: Slices of tokens; None where only their number tells (a bundle with all tokens).
        device: Device of torch.
    """

    name: str
    class_names: tuple[str, ...]
    shape: ClipSpec
    trained: bool
    conf: float
    no_attention_reason: str | None
    predictor: Predictor
    slices: int | None
    device: str = "cpu"

    def explain(self, frames: Sequence[Image]) -> Explanation:
        """Run the model on one clip.

        Args:
            frames: T frames of one size, BGR, oldest first.

        Raises:
            DecodeError: The model gives values that are not finite.
        """
        rgb = resize_frames(frames, self.shape.height, self.shape.width)
        attention: LastAttention | None = None
        if self.predictor.checkpoint is None:
            outputs = self.predictor.run([rgb])[0]
        else:
            outputs, attention = self._run_torch(self.predictor.checkpoint, rgb)
        keyframe = self.shape.keyframe_index
        height, width = frames[keyframe].shape[:2]
        tokens = decode(*outputs, conf=0.0, size_wh=(width, height))
        actor = np.empty(len(tokens), np.float32)
        actor[tokens.token] = tokens.actor
        return Explanation(
            frames=frames, keyframe=keyframe, tokens=tokens, conf=self.conf,
            actor_map=actor.reshape(self.grid_of(len(tokens))), attention=attention,
        )  # fmt: skip

    def _run_torch(self, checkpoint: Checkpoint, rgb: Frames) -> tuple[Outputs, LastAttention]:
        import torch

        from edge.explain.attention import run_with_attention

        clip = torch.from_numpy(normalize(rgb, self.shape)).to(self.device).transpose(1, 2)
        outputs, attention = run_with_attention(checkpoint.model, clip)
        boxes, actor, actions = (
            outputs[name][0].float().cpu().numpy()
            for name in ("pred_boxes", "pred_actor", "pred_actions")
        )
        return Outputs(boxes, actor, actions), attention

    def grid_of(self, tokens: int) -> tuple[int, int, int]:
        """Return slices of tokens, and the rows and columns of each."""
        for stride in STRIDES:
            rows, columns = self.shape.height // stride, self.shape.width // stride
            slices = self.slices or max(1, tokens // max(1, rows * columns))
            if slices * rows * columns == tokens:
                return slices, rows, columns
        raise ConfigError(
            f"{self.name} gives {tokens} tokens in {self.slices or 'some'} slices from "
            f"{self.shape.height}x{self.shape.width} px, which is no grid of stride 8, 16 or 32"
        )


def open_model(
    model: str, *, artifact: str | None = None, conf: float | None = None, device: str = "cpu",
    num_threads: int = 0,
) -> ExplainableModel:  # fmt: skip
    """Load what is to be explained.

    Args:
        model: Checkpoint, or bundle folder or zip; a bundle's own checkpoint, where a `.pt` lies in
            its folder, is taken in place of its programs, which show no attention.
        artifact: Which program of a bundle; then its checkpoint is not looked for.
        conf: Threshold on p(actor); None takes the artifact's own, or 0.5.
        device: Device of torch.
        num_threads: Threads; 0 is the engine's choice.

    Raises:
        ConfigError: A value is out of range or does not fit the model.
        ArtifactError: The model is missing or broken.
        BackendUnavailableError: A package or engine is missing here.
    """
    if conf is not None and not 0.0 <= conf <= 1.0:
        raise ConfigError(f"conf is {conf}, expected a value in [0, 1]")
    path = Path(model)
    if path.suffix in CHECKPOINTS:
        return _checkpoint(path, artifact, conf, device, num_threads)
    inside = _own_checkpoint(path) if artifact is None else None
    if inside is not None:
        return _of_bundle(path, inside, conf, device, num_threads)
    choice = ModelChoice(model=model, artifact=artifact, device=device, num_threads=num_threads)
    return _programs(open_predictor(choice), path, conf)


def _own_checkpoint(path: Path) -> Path | None:
    """Return the checkpoint that lies in a bundle's folder."""
    if not (path / BUNDLE_FILE).is_file():
        return None
    return next(iter(sorted(p for p in path.iterdir() if p.suffix in CHECKPOINTS)), None)


def _of_bundle(
    path: Path, inside: Path, conf: float | None, device: str, num_threads: int
) -> ExplainableModel:
    """Take a bundle's checkpoint, with the threshold of its most exact program."""
    with Bundle.load(path) as bundle:
        spec = bundle.spec
    if conf is None:
        conf = min(spec.artifacts, key=lambda artifact: artifact.precision != "fp32").conf
    found = _checkpoint(inside, None, conf, device, num_threads)
    if found.class_names != spec.class_names or found.shape != spec.clip:
        raise ArtifactMismatchError(
            f"{inside} is not the model of {path}: classes or clips differ; take it out of the "
            "folder, or give it as --model"
        )
    return found


def _checkpoint(
    path: Path, artifact: str | None, conf: float | None, device: str, num_threads: int
) -> ExplainableModel:
    predictor = open_predictor(
        ModelChoice(model=str(path), artifact=artifact, device=device, num_threads=num_threads)
    )
    from edge.model.selection import num_slices

    assert predictor.checkpoint is not None
    model = predictor.checkpoint.model
    return ExplainableModel(
        name=predictor.name, class_names=predictor.class_names, shape=predictor.shape,
        trained=predictor.trained, conf=DEFAULT_CONF if conf is None else conf,
        no_attention_reason=None, predictor=predictor, device=device,
        slices=num_slices(model.token_selection, model.out_grid[0]),
    )  # fmt: skip


def _programs(predictor: Predictor, path: Path, conf: float | None) -> ExplainableModel:
    folder = path if path.is_dir() or path.suffix == ".zip" else path.parent
    with Bundle.load(folder) as bundle:
        selection = bundle.spec.token_selection
    own = DEFAULT_CONF if predictor.conf is None else predictor.conf
    return ExplainableModel(
        name=predictor.name, class_names=predictor.class_names, shape=predictor.shape,
        trained=predictor.trained, conf=own if conf is None else conf,
        no_attention_reason="no attention: a compiled program shows none, and there is no float "
        "checkpoint (.pt) in the bundle's folder; give it as --model",
        predictor=predictor, slices=_SLICES.get(selection),
    )  # fmt: skip
