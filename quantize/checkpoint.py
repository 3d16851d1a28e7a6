"""A checkpoint in int8, held against itself in float32: outputs, accuracy, sensitivity."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from calibration.calibrate import engine_clips, obtain_clips
from edge.data.registry import open_dataset
from edge.data.remap import judged
from edge.evaluation.evaluator import Evaluator, by_engine
from edge.model.checkpoint import load_checkpoint
from edge.training.memory import keep_freed_memory
from quantize import schemes
from quantize.graph import (
    export_graph,
    float_outputs,
    graph_outputs,
    head_output_layers,
    quiet_tools,
)
from quantize.mixed_precision import choose_float_layers
from quantize.ptq import int8_graphs
from quantize.sensitivity import (
    Closeness,
    LayerCost,
    cosine_similarity,
    group_closeness,
    layer_groups,
    rank_layers,
)
from runtime.bundle_spec import OUTPUTS
from runtime.errors import CalibrationError, ExportError
from runtime.types import Progress

_COMPARED = 8  # clips; the order of sensitivities settles after a few
_SHOWN = 10  # layers


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeReport:
    """What int8 does to a checkpoint, as torch computes it.

    Attributes:
        scheme: Name of the int8 scheme.
        clips: Clips of the ranges, and other ones that were compared.
        mean_abs: Mean error of each output.
        cosine: Cosine similarity of each output, after taking the float output's mean from both.
        float_layers: Layers that stay in float32 beside those of the scheme.
        accuracy: Frame-mAP@0.5 and actor AP@0.5 of `float` and `int8`, `data` and `clips`.
        groups: What each part of the network in int8 alone does, `all` last.
        layers: The same of each layer, the costliest first.
    """

    scheme: str
    clips: tuple[int, int]
    mean_abs: dict[str, float]
    cosine: dict[str, float]
    float_layers: tuple[str, ...] = ()
    accuracy: dict[str, Any] | None = None
    groups: tuple[Closeness, ...] = ()
    layers: tuple[LayerCost, ...] = ()

    def record(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    def tables(self) -> list[list[list[str]]]:
        """Return the tables of the report; the first row of each is its header."""
        tables = [[["output", "mean error", "cosine"]]]
        tables[0] += [[name, f"{self.mean_abs[name]:.3g}", f"{self.cosine[name]:.5f}"]
                      for name in OUTPUTS]  # fmt: skip
        if self.accuracy is not None:
            rows = [["accuracy", "frame-mAP@0.5", "actor AP@0.5"]]
            for how in ("float", "int8"):
                found = self.accuracy[how]
                rows.append([how, *("-" if v is None else f"{v:.4f}" for v in found.values())])
            tables.append(rows)
        if self.groups:
            rows = [["group in int8 alone", "int8 values", *OUTPUTS]]
            rows += [[g.group, str(g.operations), *(f"{c:.5f}" for c in g.cosine)]
                     for g in self.groups]  # fmt: skip
            tables.append(rows)
        if self.layers:
            rows = [["layer in int8 alone", "1 - cosine"]]
            tables.append(rows + [[one.layer, f"{one.cost:.2g}"] for one in self.layers[:_SHOWN]])
        return tables

    def lines(self) -> list[str]:
        """Return the report."""
        lines = [f"{self.scheme}: ranges of {self.clips[0]} clips, compared on {self.clips[1]}"]
        if self.float_layers:
            lines.append(f"in float32: {', '.join(self.float_layers)}")
        for table in self.tables():
            widths = [max(map(len, column)) for column in zip(*table, strict=True)]
            lines.append("")
            lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
                      .rstrip() for row in table]  # fmt: skip
        if self.accuracy is not None:
            lines += ["", f"accuracy on {self.accuracy['clips']} clips of {self.accuracy['data']}"]
        return lines


def quantize_checkpoint(
    checkpoint_path: str | Path,
    calib_data: str | Path,
    *,
    calib_clips: int = 256,
    engine: str = "xnnpack",
    float_layers: Sequence[str] = (),
    val_data: str | None = None,
    val_clips: int = 100,
    sensitivity: bool = False,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> QuantizeReport:
    """Quantize a checkpoint after training, and measure what that does to it.

    Args:
        checkpoint_path: Float checkpoint.
        calib_data: Folder of videos, one video, a data set, or a file that `calibrate` wrote. Every
            fourth clip is kept from the ranges, to compare on.
        calib_clips: Calibration clips wanted.
        engine: Whose int8 scheme: `xnnpack` or `tensorrt`.
        float_layers: Layers that stay in float32, as `choose_float_layers` takes them.
        val_data: Labelled clips for the accuracy, by a word that `open_dataset` knows.
        val_clips: Most of these clips.
        sensitivity: Quantize each group and each layer alone as well.
        out: File for the int8 program of torch, which `torch.export.load` reads.
        progress: Told of each step.

    Raises:
        CalibrationError: There are not two calibration clips.
        ConfigError: A layer or the data set is unknown.
        ExportError: torch cannot export the model, or the file cannot be written.
    """
    keep_freed_memory()
    path = Path(checkpoint_path)
    checkpoint = load_checkpoint(path)
    model, config = checkpoint.model.eval(), checkpoint.config
    scheme = getattr(schemes, f"{engine.upper()}_INT8")
    chosen = obtain_clips(path, config, calib_data, count=calib_clips, progress=progress)
    clips = list(engine_clips(chosen.frames_rgb, config))
    held_out, ranges = clips[3::4] or clips[1:], [c for i, c in enumerate(clips) if i % 4 != 3]
    if not held_out:
        raise CalibrationError(f"{calib_data} gives {len(clips)} clips; give at least 2")
    placed = choose_float_layers(model, float_layers, ranges, progress=progress)
    with quiet_tools():
        example = torch.from_numpy(ranges[0])
        graph = export_graph(model, example)
        (quantized,) = int8_graphs(
            [copy.deepcopy(graph)],
            model,
            ranges,
            scheme,
            float_layers=placed.names,
            progress=progress,
        )
    truth, int8 = float_outputs(model), graph_outputs(quantized)
    pairs = [
        tuple(np.concatenate(arrays) for arrays in zip(*map(run, held_out), strict=True))
        for run in (int8, truth)
    ]
    by_output = list(zip(OUTPUTS, *pairs, strict=True))
    accuracy = None
    if val_data is not None:
        data, _ = judged(
            open_dataset(val_data, config.clip, limit=val_clips), val_data, checkpoint.class_names
        )
        accuracy = {"data": val_data, "clips": min(val_clips, len(data))}
        for how, run in (("float", truth), ("int8", int8)):
            evaluator = Evaluator(data, checkpoint.class_names)
            found = evaluator.run(
                by_engine(run, config.clip), limit=val_clips, step=f"measuring {how}",
                progress=progress,
            ).result()  # fmt: skip
            accuracy[how] = {"frame_map_50": found["frame_map"], "actor_ap_50": found["actor_ap"]}
    groups: list[Closeness] = []
    layers: list[LayerCost] = []
    if sensitivity:
        some, kept = ranges[:_COMPARED], head_output_layers(model) | placed.names
        groups = group_closeness(
            graph, groups=layer_groups(model), scheme=scheme, calibration=some,
            clips=held_out[:_COMPARED], float_names=kept, progress=progress,
        )  # fmt: skip
        if scheme is schemes.XNNPACK_INT8:
            layers = rank_layers(
                graph, scheme=scheme, clips=some, float_names=kept, progress=progress
            )
    if out is not None:
        _save(quantized, example, Path(out))
    return QuantizeReport(
        scheme=scheme.name,
        clips=(len(ranges), len(held_out)),
        mean_abs={name: float(np.abs(a - b).mean()) for name, a, b in by_output},
        cosine={name: cosine_similarity(a, b) for name, a, b in by_output},
        float_layers=tuple(sorted(placed.names)),
        accuracy=accuracy,
        groups=tuple(groups),
        layers=tuple(layers),
    )


def _save(graph: torch.fx.GraphModule, example: torch.Tensor, out: Path) -> None:
    try:
        with quiet_tools():
            torch.export.save(torch.export.export(graph, (example,)), out)
    except OSError as error:
        raise ExportError(f"cannot write {out}: {error.strerror or error}") from error
