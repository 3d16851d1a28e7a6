"""How close int8 stays to float, part by part: `python -m benchmarks.closeness --variant nano`.

Each group of layers is quantized alone, then all of them; the outputs are compared with the float
network on clips that no range was taken from. The arithmetic is torch's simulation of int8; the
row `engine` is the whole network through the native runtime.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.errors import ConfigError
from runtime.options import EXIT_OK, OptionParser, guarded, option
from runtime.report import write_report

LIMIT = 0.98
OUTPUT_TITLES = ("boxes", "actor", "actions")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosenessOptions:
    """Flags."""

    variant: str = option("nano", "variant, with random weights")
    model: str | None = option(None, "a checkpoint instead", metavar="PT")
    calib_data: str | None = option(None, "videos; else the reference data, else drawn clips")
    calib_clips: int = option(32, "clips for the ranges")
    clips: int = option(64, "clips to compare on")
    out: str = option("runs/bench", "folder for closeness.json and closeness.md")
    verbose: bool = option(False, "show tracebacks")

    def __post_init__(self) -> None:
        for name in ("calib_clips", "clips"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 1 or more")


def run(options: ClosenessOptions) -> str:
    """Measure and return the report's text; both files are written."""
    import torch

    from benchmarks._engines.networks import Network, load_clips, settle
    from edge.model.checkpoint import load_checkpoint
    from edge.model.variants import build_model
    from export.verify import run_program
    from export.xnnpack import XnnpackTarget
    from quantize.graph import export_graph, head_output_layers
    from quantize.schemes import XNNPACK_INT8
    from quantize.sensitivity import Closeness, cosine_similarity, group_closeness

    torch.set_num_threads(1)
    if options.model is not None:
        model = load_checkpoint(options.model).model
    else:
        model = build_model(options.variant, num_classes=8, seed=20)
    folder = None if options.calib_data is None else Path(options.calib_data)
    clips = load_clips(
        model.config, calib_data=folder, count=options.calib_clips, held_out=options.clips
    )
    if options.model is None:
        settle(model, clips.calibration)
    model.eval()
    graph = export_graph(model, torch.from_numpy(clips.held_out[0]))
    rows = group_closeness(
        graph, groups=layer_groups(model), scheme=XNNPACK_INT8, calibration=clips.calibration,
        clips=clips.held_out, float_names=head_output_layers(model),
        progress=lambda what, done, of: print(f"{what} {done}/{of}", file=sys.stderr),
    )  # fmt: skip
    lowered = XnnpackTarget(name="xnnpack-int8", precision="int8").lower(model, clips.calibration)
    found = run_program(lowered.program, clips.held_out, name="closeness.pte")
    truth = [np.concatenate(o) for o in zip(*Network("", model, clips).expected(), strict=True)]
    engine = tuple(cosine_similarity(a, b) for a, b in zip(found, truth, strict=True))
    rows.append(Closeness(group="engine", operations=rows[-1].operations, cosine=engine))
    worst = min(min(row.cosine) for row in rows)
    verdict = "at least" if worst >= LIMIT else "BELOW"
    name = options.model or options.variant
    return write_report(
        Path(options.out), "closeness", title=f"int8 against float, by group: {name}",
        table=[("group", "int8 values", *OUTPUT_TITLES), *(
            (row.group, str(row.operations), *(f"{c:.5f}" for c in row.cosine)) for row in rows
        )],
        notes=["Cosine similarity, the float output's mean taken from both; "
               f"{len(found[0])} clips, ranges from {clips.origin}. "
               f"The least is {worst:.4f}, {verdict} {LIMIT}.", ""],
        command=f"python -m benchmarks.closeness --variant {options.variant} "
                f"--clips {options.clips}",
        content={"groups": [{"group": r.group, "cosine": r.cosine} for r in rows]},
    )  # fmt: skip


def layer_groups(model: object) -> dict[str, tuple[str, ...]]:
    """Return the groups of a compact model: stem, each block's attention and MLP, neck, heads."""
    from edge.model.bmvit import BMViT
    from edge.model.compact import CompactMViT
    from edge.model.stem_mvit import StemMViT

    assert isinstance(model, BMViT)
    backbone = model.backbone
    if not isinstance(backbone, CompactMViT | StemMViT):
        raise ConfigError("groups are known for pico, nano and tiny, also from scratch")
    groups: dict[str, tuple[str, ...]] = {"stem": ("model.backbone.stem*", "model.backbone.merge*")}
    if isinstance(backbone, StemMViT):
        groups = {"stem": ("model.backbone.stem*",),
                  "fusion": ("model.backbone.fusion*", "model.backbone.merge*")}  # fmt: skip
    for index in range(len(backbone.blocks)):
        base = f"model.backbone.blocks.{index}"
        # The skip and the sum behind it belong to the attention, whose branch they carry.
        groups[f"block {index} attention"] = (base, f"{base}.attention*", f"{base}.skip*")
        groups[f"block {index} MLP"] = (f"{base}.mlp*",)
    groups["neck and heads"] = ("model.backbone", "model.backbone.neck*", "model.heads.*")
    return groups


def main(argv: Sequence[str]) -> int:
    """Read the flags, measure, print the report."""
    parser = OptionParser(prog="python -m benchmarks.closeness", description=__doc__)
    print(run(parser.parse_into(ClosenessOptions, argv)))
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
