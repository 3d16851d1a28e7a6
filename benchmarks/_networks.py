"""The measured networks with their clips: a variant, a checkpoint, the machine's limit."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from benchmarks._store import ROOT, digest
from edge.model.bmvit import BMViT, BMViTConfig
from edge.model.complexity import count
from edge.model.norms import settle_norms

Floats = npt.NDArray[np.float32]

SEED = 20
CLASSES = 8
# A random network gives all tokens nearly the same outputs; int8 then has nothing to resolve.
_SPREAD = {"box": 4.0, "actor": 30.0, "actions": 30.0}
_OUTPUTS = ("pred_boxes", "pred_actor", "pred_actions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clips:
    """The inputs of a network.

    Attributes:
        calibration: Inputs that int8 takes its ranges from, clips (1, T, 3, H, W).
        held_out: Inputs for comparing outputs, and for timing.
        videos: Folder that they are from.
        origin: The same for the report.
    """

    calibration: tuple[Floats, ...]
    held_out: tuple[Floats, ...]
    videos: Path
    origin: str


class Network:
    """A network with its clips: a `BMViT`, which `edge export` lowers, or any other module."""

    def __init__(self, name: str, model: nn.Module, clips: Clips) -> None:
        """Describe it; nothing is exported before it is needed."""
        self.name, self.model, self.clips = name, model.eval(), clips
        shape = model.config.clip_shape if isinstance(model, BMViT) else clips.held_out[0].shape
        complexity = count(model, shape)
        self.gflop, self.params = complexity.gflops, complexity.params

    @property
    def config(self) -> BMViTConfig | None:
        """The configuration of one of our networks."""
        return self.model.config if isinstance(self.model, BMViT) else None

    @cached_property
    def fingerprint(self) -> str:
        """A digest of everything that decides the artifacts, but package versions."""
        config = json.dumps(asdict(self.config)) if self.config is not None else ""
        weights = [t.detach().numpy().tobytes() for t in self.model.state_dict().values()]
        clips = [clip.tobytes() for clip in (*self.clips.calibration, *self.clips.held_out)]
        return digest(self.name, config, *weights, *clips)

    @property
    def example(self) -> Tensor:
        """One input."""
        return torch.from_numpy(self.clips.held_out[0])

    def expected(self) -> list[list[Floats]]:
        """Return the outputs of torch in float32 for each held-out clip."""
        with torch.no_grad():
            return [
                [np.ascontiguousarray(o.numpy()) for o in outputs_of(self.model, clip)]
                for clip in map(torch.from_numpy, self.clips.held_out)
            ]


def outputs_of(model: nn.Module, clip: Tensor) -> list[Tensor]:
    """Run a module on an input of the device's layout; return its outputs in their order."""
    if isinstance(model, BMViT):
        found = model(clip.transpose(1, 2))
        return [found[name] for name in _OUTPUTS]
    return list(model(clip))


def load_clips(
    config: BMViTConfig, *, calib_data: Path | None, count: int, out: Path, held_out: int = 4
) -> Clips:
    """Read clips for a model from videos.

    Args:
        config: The model's.
        calib_data: Folder of videos; None takes the reference data where it lies beside the
            repository (or below `EDGE_SHARED`), else a video that is drawn into `out`.
        count: Clips for calibration.
        out: Folder for a drawn video.
        held_out: Further clips, for comparing.

    Raises:
        CalibrationError: The folder gives no clip.
    """
    from calibration.calibrate import engine_clips
    from calibration.clips import choose_clips
    from edge.data.demo_clip import write_demo_clip

    shared = Path(os.environ.get("EDGE_SHARED", ROOT.parent / "shared")) / "data" / "videos"
    folder = calib_data or (shared if shared.is_dir() else out / "drawn")
    if folder == out / "drawn" and not folder.is_dir():
        folder.mkdir(parents=True)
        write_demo_clip(folder / "drawn.mp4", seconds=12.0)
    chosen = choose_clips(folder, config.clip, count=count + held_out, seed=SEED)
    clips = [np.ascontiguousarray(clip) for clip in engine_clips(chosen.frames_rgb, config)]
    held_out = min(held_out, len(clips) - 1)
    return Clips(
        calibration=tuple(clips[held_out:]),
        held_out=tuple(clips[:held_out]),
        videos=folder,
        origin=f"{len(clips) - held_out} clips of {len(chosen.videos)} videos in {folder.name}",
    )


def variant_network(name: str, *, calib_data: Path | None, count: int, out: Path) -> Network:
    """Return a variant with random weights, or the network of a checkpoint (`.pt`)."""
    from edge.model.checkpoint import load_checkpoint
    from edge.model.variants import build_model, with_suppression

    if name.endswith(".pt"):
        model = load_checkpoint(name).model
        clips = load_clips(model.config, calib_data=calib_data, count=count, out=out)
        path = Path(name)
        # Checkpoints of a folder for each run share their names.
        shared = path.stem in ("model", "best", "last")
        return Network(path.absolute().parent.name if shared else path.stem, model, clips)
    model = build_model(name, num_classes=CLASSES, seed=SEED)
    if model.config.heads.suppression_strength:
        # Random boxes overlap everywhere: at a trained network's strength, one int8 step more or
        # less decides which of two tokens stays, and the export refuses such a program.
        model = with_suppression(model, 1.0)
    clips = load_clips(model.config, calib_data=calib_data, count=count, out=out)
    settle(model, clips.calibration)
    return Network(name, model, clips)


def settle(model: BMViT, clips: Sequence[Floats]) -> None:
    """Give random weights what a trained network has: BatchNorm statistics, spread-out outputs."""
    settle_norms(model, [torch.from_numpy(clip).transpose(1, 2) for clip in clips])
    with torch.no_grad():
        for name, gain in _SPREAD.items():
            getattr(model.heads, name).last.weight.mul_(gain)


class _Stack(nn.Module):
    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(width, width) for _ in range(layers)))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = self.layers(tokens)
        return found, found[:, :1], found[:, 1:2]  # three outputs, as every program has here


def ceiling(*, layers: int = 24, tokens: int = 800, width: int = 256) -> Network:
    """Return the stack of linear layers whose speed is the practical limit of the machine."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = _Stack(layers, width)
    random = np.random.default_rng(SEED)
    inputs = tuple(random.standard_normal((tokens, width)).astype(np.float32) for _ in range(2))
    clips = Clips(calibration=inputs, held_out=inputs[:1], videos=Path(), origin="random")
    return Network("ceiling", model, clips)
