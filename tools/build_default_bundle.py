"""Rebuild the default bundle, `runtime/models/nano`: one command, the same weights each time.

The weights are untrained. A random network needs two things before it behaves like one that a
runtime will meet: BatchNorm statistics of real clips (or its activations mean nothing), and an
actor threshold that lets a few tokens of a clip pass. Both are made here, and every output of the
bundle says that it is untrained.

    python tools/build_default_bundle.py [--calib-data VIDEOS]
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from calibration.calibrate import clip_format, model_clips  # noqa: E402
from calibration.clips import choose_clips  # noqa: E402
from edge.data.demo_clip import write_demo_clip  # noqa: E402
from edge.model.bmvit import BMViT  # noqa: E402
from edge.model.checkpoint import save_checkpoint  # noqa: E402
from edge.model.compact import CompactMViT  # noqa: E402
from edge.model.norms import settle_norms  # noqa: E402
from edge.model.selection import merge_slices, select  # noqa: E402
from edge.model.variants import build_model  # noqa: E402
from export.pipeline import drawn_clips, export_bundle  # noqa: E402
from runtime.bundle import DEFAULT_BUNDLE  # noqa: E402

logger = logging.getLogger("build_default_bundle")

CLASS_NAMES = ("stand", "sit", "walk", "run", "wave", "fall", "fight", "hold")
NOTE = (
    "Untrained: seeded random weights, for trying the runtime. Its boxes, scores and actions mean "
    "nothing; fine-tune a model and export it."
)
SEED = 20
MAX_BYTES = 8_000_000
_DIRECTIONS = 40


def level_heads(model: BMViT, frames_rgb: np.ndarray) -> None:
    """Widen the heads' outputs, and make the actor score follow the place and not the scene.

    At the start of training all tokens answer almost alike, and an untrained score follows the
    scene more than the place in it: one θ would flood some clips and leave others empty. So the
    last actor layer is made blind to the directions in which whole clips differ.
    """
    with torch.no_grad():
        model.heads.box.last.weight.mul_(4.0)
        model.heads.actions.last.weight.mul_(30.0)
        hidden = torch.stack(
            [
                model.heads.actor.layers[:-1](_where(model, clip)).mean(dim=(0, 2, 3))
                for clip in model_clips(frames_rgb, model.config)
            ]
        )
        _, _, directions = torch.linalg.svd(hidden - hidden.mean(dim=0), full_matrices=False)
        blind = directions[:_DIRECTIONS]
        weight = model.heads.actor.last.weight.flatten()
        weight = weight - blind.T @ (blind @ weight)
        model.heads.actor.last.weight.copy_((weight * 20.0).view_as(model.heads.actor.last.weight))


def _where(model: BMViT, clip: torch.Tensor) -> torch.Tensor:
    """Return the features that the actor head reads."""
    backbone = model.backbone
    if not isinstance(backbone, CompactMViT):
        raise TypeError(f"the default bundle is of a compact model, not {type(backbone).__name__}")
    slices = backbone.forward_slices(clip)
    return merge_slices(select(slices, model.token_selection)[0])


def main(argv: list[str]) -> int:
    """Build, calibrate, export and check the size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calib-data", type=Path, default=ROOT.parent / "shared/data/videos",
                        help="folder of videos; a drawn one where it is absent")  # fmt: skip
    parser.add_argument("--calib-clips", type=int, default=48)
    parser.add_argument("--out", default=str(DEFAULT_BUNDLE))
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    if not options.calib_data.exists():
        options.calib_data = Path("runs") / "default-bundle" / "drawn.mp4"
        logger.info("no videos given: ranges come from the drawn %s", options.calib_data)
        write_demo_clip(options.calib_data, seconds=20.0)
    model = build_model("nano", num_classes=len(CLASS_NAMES), seed=SEED)
    chosen = choose_clips(
        options.calib_data, clip_format(model.config), count=options.calib_clips, seed=SEED
    )
    settle_norms(model, list(model_clips(chosen.frames_rgb, model.config)))
    drawn = drawn_clips(model.config, 4)
    level_heads(model, np.concatenate([chosen.frames_rgb, drawn]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "nano.pt"
        save_checkpoint(path, model, class_names=CLASS_NAMES, trained=False, note=NOTE)
        report = export_bundle(
            path,
            targets=["xnnpack-int8"],
            calib_data=options.calib_data,
            calib_clips=options.calib_clips,
            out=options.out,
            overwrite=True,
            # Drawn, not filmed: the golden clip is in the repository, and nobody's to license.
            golden_rgb=drawn[0],
            name="nano",
        )
    for line in report.lines():
        logger.info("%s", line)
    size = sum(p.stat().st_size for p in Path(options.out).iterdir())
    if size > MAX_BYTES:
        logger.error("the bundle has %d bytes, at most %d are allowed", size, MAX_BYTES)
        return 1
    logger.info("%d bytes in all", size)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
