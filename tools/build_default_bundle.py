r"""Rebuild the default bundle, `runtime/models/nano`, from the reference weights: one command.

Ranges come from clips that the weights learned from, θ, the thresholds of the actions and the
stated frame-mAP from clips that they did not, through the engine that ships. The golden clip is
drawn, so that the repository holds no film of anybody. The released bundle was made by

    python tools/build_default_bundle.py --val-data jhmdb:JHMDB:split1:test-annotated \
        --val-clips 300 \
        --calib-data 'jhmdb:JHMDB:split1:train*2+synthetic-train:4096+LABELLED:train'
    edge calibrate --threshold --model runtime/models/nano --clips 1500 --ignore-people PEOPLE \
        --val-data jhmdb:JHMDB:split1:test-annotated+LABELLED:val*3+synthetic-val:800

with the folders of JHMDB-21, of the surveillance clips that `edge label` labelled, and of the
people that it found in JHMDB-21.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from edge.data.registry import open_dataset  # noqa: E402
from edge.model.checkpoint import load_checkpoint  # noqa: E402
from export.pipeline import export_bundle  # noqa: E402
from runtime.bundle import DEFAULT_BUNDLE  # noqa: E402

logger = logging.getLogger("build_default_bundle")

# Of the world's training clips, one with several people in it, and with no token so near to θ that
# rounding takes it to the other side (tests/runtime/test_self_test.py holds it).
GOLDEN = 79
MAX_BYTES = 8_000_000


def main(argv: list[str]) -> int:
    """Calibrate, export and check the size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=ROOT / "weights" / "nano" / "model.pt")
    parser.add_argument("--qat-model", type=Path, help="the same, trained for int8")
    parser.add_argument("--calib-data", default="synthetic-train:4096")
    parser.add_argument("--calib-clips", type=int, default=64)
    parser.add_argument("--val-data", default="synthetic-val:1000")
    parser.add_argument("--val-clips", type=int, default=0)
    parser.add_argument("--out", default=str(DEFAULT_BUNDLE))
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    shape = load_checkpoint(options.model).config.clip
    report = export_bundle(
        options.model,
        targets=["xnnpack-int8"],
        calib_data=options.calib_data,
        calib_clips=options.calib_clips,
        val_data=options.val_data,
        val_clips=options.val_clips,
        qat_model=options.qat_model,
        out=options.out,
        overwrite=True,
        golden_rgb=open_dataset("synthetic-train", shape)[GOLDEN].frames_rgb,
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
