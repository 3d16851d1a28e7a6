"""Make the picture of the README from a video: a grid of its frames with what a bundle says.

    python tools/demo_pictures.py --video vtest.avi --model BUNDLE --out docs/assets/frames.jpg

The frames are keyframes of results that hold detections, spread evenly over all of these; nobody
chooses which. A film of people walking that anybody has is OpenCV's sample `vtest.avi`, in Debian's
package opencv-doc:

    apt-get download opencv-doc && dpkg -x opencv-doc_*.deb x
    # x/usr/share/doc/opencv-doc/examples/data/vtest.avi

Its copyright file (x/usr/share/doc/opencv-doc/copyright) has no entry for the film, so the one for
all files holds: Apache-2.0 AND BSD-3-Clause.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from runtime.bundle import DEFAULT_BUNDLE  # noqa: E402
from runtime.errors import CaptureError, ConfigError, SinkError  # noqa: E402
from runtime.options import EXIT_OK, OptionParser, guarded, option  # noqa: E402
from runtime.outputs import write_atomically  # noqa: E402
from runtime.results import KeyframeResult  # noqa: E402
from runtime.runner import ClipRunner  # noqa: E402
from runtime.sinks import draw  # noqa: E402
from runtime.sources import Gap, Image, SourceConfig, open_source  # noqa: E402

GAP_PX = 6
WHITE = 255
QUALITY = 88


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureOptions:
    """Flags of this command."""

    video: str = option(dataclasses.MISSING, "video file", metavar="FILE")
    model: str = option(str(DEFAULT_BUNDLE), "bundle folder or zip", metavar="BUNDLE")
    out: str = option("docs/assets/frames.jpg", "picture to write, .jpg or .png; what is there is "
                                                "replaced", metavar="FILE")  # fmt: skip
    count: int = option(6, "frames at most")
    columns: int = option(3, "frames in a row")
    width: int = option(480, "width of a frame, px")
    conf: float | None = option(None, "threshold on p(actor), 0..1; else the artifact's own θ")
    num_threads: int = option(0, "threads of the engine; 0 = one for each processor")
    verbose: bool = option(False, "show tracebacks")

    def __post_init__(self) -> None:
        for name, most in (("count", 64), ("columns", 16), ("width", 4096)):
            if not 1 <= getattr(self, name) <= most:
                raise ConfigError(f"--{name} is {getattr(self, name)}, expected 1 to {most}")
        if not Path(self.video).is_file():
            raise ConfigError(f"--video {self.video}: no such file")
        if Path(self.out).suffix.lower() not in (".jpg", ".jpeg", ".png"):
            raise ConfigError(f"--out {self.out}: expected a name that ends in .jpg or .png")


def main(argv: Sequence[str]) -> int:
    """Run the bundle, choose frames, and write the grid."""
    options = OptionParser(prog="demo_pictures.py", description=__doc__).parse_into(
        PictureOptions, argv
    )
    with ClipRunner(options.model, conf=options.conf, num_threads=options.num_threads) as runner:
        found = [result for result in runner.stream(options.video) if len(result.detections)]
    chosen = spread(found, options.count)
    if not chosen:
        raise CaptureError(
            f"{options.video}: the bundle finds nobody in it; give another video, or lower --conf"
        )
    frames = frames_of(options.video, {result.keyframe for result in chosen})
    cells = [
        picture(frames[result.keyframe], result, options.width)
        for result in chosen
        if result.keyframe in frames
    ]
    write(Path(options.out), grid(cells, options.columns))
    at = ", ".join(f"{result.keyframe_t:.1f}" for result in chosen)
    sys.stdout.write(
        f"{options.out}: {len(cells)} of {len(found)} keyframes with detections, at {at} s\n"
    )
    return EXIT_OK


def spread(results: Sequence[KeyframeResult], count: int) -> list[KeyframeResult]:
    """Return so many of the results, the middle ones of equal shares; all where there are fewer."""
    if len(results) <= count:
        return list(results)
    return [results[int((i + 0.5) * len(results) / count)] for i in range(count)]


def frames_of(video: str, numbers: set[int]) -> dict[int, Image]:
    """Return frames of a video by their number, as the runner counts them."""
    frames: dict[int, Image] = {}
    with open_source(video, SourceConfig(keep_all=True)) as source:
        while len(frames) < len(numbers) and (item := source.read()) is not None:
            if not isinstance(item, Gap) and item.index in numbers:
                frames[item.index] = item.image_bgr
    return frames


def picture(image: Image, result: KeyframeResult, width: int) -> Image:
    """Return a frame of this width with its detections; drawn behind the scaling, to be read."""
    scale = width / image.shape[1]
    size_wh = (width, max(1, round(image.shape[0] * scale)))
    kernel = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = np.asarray(cv2.resize(image, size_wh, interpolation=kernel), np.uint8)
    found = result.detections
    xyxy = (found.xyxy * np.float32(scale)).astype(np.float32)
    result = replace(result, detections=replace(found, xyxy=xyxy), size_wh=size_wh)
    return draw(scaled, result=result, latency=False)


def grid(cells: Sequence[Image], columns: int) -> Image:
    """Put pictures of one size side by side, row by row."""
    height, width = cells[0].shape[:2]
    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    step_y, step_x = height + GAP_PX, width + GAP_PX
    sheet = np.full((rows * step_y - GAP_PX, columns * step_x - GAP_PX, 3), WHITE, np.uint8)
    for i, cell in enumerate(cells):
        y, x = (i // columns) * step_y, (i % columns) * step_x
        sheet[y : y + height, x : x + width] = cell[:height, :width]
    return sheet


def write(path: Path, image: Image) -> None:
    """Write a picture, whole or not at all.

    Raises:
        SinkError: It cannot be written.
    """
    suffix = path.suffix.lower()
    flags = [] if suffix == ".png" else [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    _, content = cv2.imencode(suffix, image, flags)
    try:
        write_atomically(path, content.tobytes())
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
