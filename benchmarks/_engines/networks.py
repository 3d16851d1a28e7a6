"""The measured networks: a variant or a checkpoint, the textbook MViT, and the matmul ceiling."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks._engines.artifacts import digest
from benchmarks._engines.base import Floats
from edge.model.bmvit import BMViT, BMViTConfig
from edge.model.complexity import count
from edge.model.norms import settle_norms

if TYPE_CHECKING:
    from torch.fx import GraphModule

# A random network answers all tokens alike; int8 then has nothing to resolve.
_SPREAD = {"box": 4.0, "actor": 30.0, "actions": 30.0}
SEED = 20
_ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Clips:
    """The inputs of a network.

    Attributes:
        calibration: Clips (1, T, 3, H, W) that int8 takes its ranges from.
        held_out: Clips for comparing outputs, and for timing.
        origin: Where they came from, for the report.
    """

    calibration: tuple[Floats, ...]
    held_out: tuple[Floats, ...]
    origin: str


class Network:
    """A network as all engines get it: one exported graph, and the clips."""

    def __init__(self, name: str, model: nn.Module, clips: Clips, *, naive: bool = False) -> None:
        """Describe it; nothing is exported before it is needed.

        Args:
            name: For the report.
            model: A `BMViT`, or any module for which `naive` is set.
            clips: Its inputs.
            naive: Lower the module as a first try would, without rewrites.
        """
        self.name = name
        self.model = model.eval()
        self.clips = clips
        self.naive = naive
        shape = clips.held_out[0].shape
        if isinstance(model, BMViT):
            shape = model.config.clip_shape
        complexity = count(model, shape)
        self.gflop = complexity.gflops
        self.params = complexity.params

    @cached_property
    def fingerprint(self) -> str:
        """A digest of everything that decides the artifacts, but package versions."""
        config = json.dumps(asdict(self.model.config)) if isinstance(self.model, BMViT) else ""
        weights = [t.detach().numpy().tobytes() for t in self.model.state_dict().values()]
        clips = [clip.tobytes() for clip in (*self.clips.calibration, *self.clips.held_out)]
        return digest(self.name, str(self.naive), config, *weights, *clips)

    @cached_property
    def graph(self) -> GraphModule:
        """The exported graph: the device's interface, a clip (1, T, 3, H, W) in."""
        from quantize.graph import export_graph

        if not self.naive:
            assert isinstance(self.model, BMViT)
            return export_graph(self.model, self.example)
        graph = torch.export.export(self.model, (self.example,)).module()
        assert isinstance(graph, torch.fx.GraphModule)
        return graph

    @property
    def example(self) -> Tensor:
        """One input."""
        return torch.from_numpy(self.clips.held_out[0])

    def expected(self) -> list[list[Floats]]:
        """Return the model's own outputs in float32 for each held-out clip."""
        rows: list[list[Floats]] = []
        with torch.no_grad():
            for clip in self.clips.held_out:
                value = torch.from_numpy(clip)
                if isinstance(self.model, BMViT):
                    found = self.model(value.transpose(1, 2))
                    outputs = [found[k] for k in ("pred_boxes", "pred_actor", "pred_actions")]
                else:
                    outputs = list(self.model(value))
                rows.append([np.ascontiguousarray(o.numpy()) for o in outputs])
        return rows


def load_clips(
    config: BMViTConfig, *, calib_data: Path | None, count: int, held_out: int = 4
) -> Clips:
    """Read clips for a model from videos, or draw them where there are none.

    Args:
        config: The model's.
        calib_data: Folder of videos; None takes the reference data where it lies beside the
            repository (or below `EDGE_SHARED`), else drawn clips.
        count: Clips for calibration.
        held_out: Further clips, for comparing.

    Raises:
        CalibrationError: A folder was named, and gives no clip.
    """
    from calibration.calibrate import engine_clips
    from calibration.clips import choose_clips

    folder = calib_data or reference_videos()
    if folder is None:
        frames = _drawn(config, count + held_out)
        origin = f"{count} drawn clips (no videos: give --calib-data)"
    else:
        chosen = choose_clips(folder, config.clip, count=count + held_out, seed=SEED)
        frames = chosen.frames_rgb
        origin = f"{len(frames) - held_out} clips of {len(chosen.videos)} videos in {folder.name}"
    clips = tuple(np.ascontiguousarray(clip) for clip in engine_clips(frames, config))
    return Clips(calibration=clips[held_out:], held_out=clips[:held_out], origin=origin)


def reference_videos() -> Path | None:
    """Return the folder of reference videos, None where it is absent."""
    shared = Path(os.environ.get("EDGE_SHARED", _ROOT.parent / "shared"))
    folder = shared / "data" / "videos"
    return folder if folder.is_dir() else None


def _drawn(config: BMViTConfig, number: int) -> np.ndarray:
    from edge.data.clips import resize_frames
    from edge.data.demo_clip import render_frame

    period_s = config.sampling_rate / config.fps
    starts = [0.3 * index for index in range(number)]
    return np.stack(
        [
            resize_frames(
                [render_frame(start + t * period_s) for t in range(config.num_frames)],
                config.height,
                config.width,
            )
            for start in starts
        ]
    )


def settle(model: BMViT, clips: Sequence[Floats]) -> None:
    """Give random weights what a trained network has: BatchNorm statistics, spread-out answers."""
    settle_norms(model, [torch.from_numpy(clip).transpose(1, 2) for clip in clips])
    with torch.no_grad():
        for name, gain in _SPREAD.items():
            getattr(model.heads, name).last.weight.mul_(gain)


class _Stack(nn.Module):
    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(width, width) for _ in range(layers)))

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        return (self.layers(tokens),)


def ceiling(*, layers: int = 24, tokens: int = 800, width: int = 256) -> Network:
    """Return the stack of linear layers whose speed is the practical limit of the machine."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = _Stack(layers, width)
    random = np.random.default_rng(SEED)
    inputs = tuple(random.standard_normal((tokens, width)).astype(np.float32) for _ in range(2))
    clips = Clips(calibration=inputs, held_out=inputs[:1], origin="random")
    return Network("ceiling", model, clips, naive=True)
