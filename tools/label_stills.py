"""Find the people of photographs: the table of boxes that `stills:FOLDER:BOXES.csv` reads.

    python tools/label_stills.py --source PHOTOS --detector movenet.onnx --out boxes.csv

Also those of whom the detector is not sure get a row: the reader leaves their pictures out.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from edge.data.stills import HEADER  # noqa: E402
from edge.labelling.detectors import Detector  # noqa: E402
from edge.labelling.looks import LookPlan, find_people  # noqa: E402
from runtime.outputs import write_atomically  # noqa: E402
from runtime.sources.uri import IMAGE_SUFFIXES  # noqa: E402

PLAN = LookPlan(scales=(1.0, 1.3), flip=True, floor=0.1)


def people(root: Path, path: Path, detector: Detector) -> Iterator[list[str]]:
    """Yield a row for each person of a picture; none where it cannot be read."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        print(f"left out: {path} cannot be read as an image", file=sys.stderr)
        return
    found = find_people(detector, image, PLAN)
    shares = np.clip(found.xyxy / np.array(image.shape[1::-1] * 2, np.float32), 0.0, 1.0)
    for box, score in zip(shares.tolist(), found.scores.tolist(), strict=True):
        name = path.relative_to(root).as_posix()
        yield [name, *(f"{value:.5f}" for value in box), f"{score:.4f}"]


def main(argv: list[str]) -> int:
    """Look at every picture and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--detector", type=Path, required=True, help="person detector (ONNX)")
    parser.add_argument("--out", type=Path, required=True, help="table to write")
    parser.add_argument("--threads", type=int, default=1, help="of the detector")
    flags = parser.parse_args(argv)
    detector = Detector(flags.detector, threads=flags.threads)
    paths = sorted(p for p in flags.source.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER.split(","))
    for path in paths:
        writer.writerows(people(flags.source, path, detector))
    write_atomically(flags.out, text.getvalue())
    print(f"{len(paths)} pictures: {flags.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
